"""Many short filters at once: windowed-sinc designs and block convolution, one filter per clip.

Axes: B clips, T samples, N bands, K taps, F bins, J blocks.
"""

import torch
from torch import Tensor

BLOCK = 2048


def band_stops(low_hz_BN: Tensor, high_hz_BN: Tensor, taps_BN: Tensor, longest: int, rate_hz: int) -> Tensor:
    """Hamming-windowed band-stop filters [B, N, longest], centred, each with its own odd number of taps."""
    return _delta(longest, low_hz_BN.device) - _band_pass(low_hz_BN, high_hz_BN, taps_BN, longest, rate_hz)


def band_passes(low_hz_BN: Tensor, high_hz_BN: Tensor, taps: int, rate_hz: int) -> Tensor:
    """Hamming-windowed band-pass filters [B, N, taps], centred."""
    return _band_pass(low_hz_BN, high_hz_BN, torch.full_like(low_hz_BN, taps), taps, rate_hz)


def response(filters_BNK: Tensor) -> Tensor:
    """The filters of each clip in cascade, as zero-phase values on the bins of a block [B, F]."""
    shift = filters_BNK.shape[-1] // 2
    padded = torch.nn.functional.pad(filters_BNK, (0, BLOCK - filters_BNK.shape[-1]))
    # Symmetric filters rolled to the origin have a real spectrum.
    values_BF: Tensor = torch.fft.rfft(torch.roll(padded, -shift, dims=-1)).real.prod(dim=1)
    return values_BF


def convolve(wave_BT: Tensor, response_BF: Tensor, reach: int) -> Tensor:
    """The waves through centred filters that reach `reach` samples to either side; as long as before."""
    return back_from_blocks(blocks(wave_BT, reach) * response_BF[:, None], reach, wave_BT.shape[-1])


def blocks(wave_BT: Tensor, reach: int) -> Tensor:
    """Spectra [B, J, F] of overlapping blocks, to be multiplied by responses and, if need be, summed."""
    n_samples, step = wave_BT.shape[-1], BLOCK - 2 * reach
    padded = torch.nn.functional.pad(wave_BT, (reach, reach + -(-n_samples // step) * step - n_samples))
    spectra_BJF: Tensor = torch.fft.rfft(padded.unfold(-1, BLOCK, step))
    return spectra_BJF


def back_from_blocks(spectra_BJF: Tensor, reach: int, n_samples: int) -> Tensor:
    """The waves of filtered blocks; the ends that a circular convolution wraps around are left out."""
    out_BJT: Tensor = torch.fft.irfft(spectra_BJF, n=BLOCK)
    return out_BJT[..., reach : BLOCK - reach].flatten(-2)[..., :n_samples]


def _band_pass(low_hz_BN: Tensor, high_hz_BN: Tensor, taps_BN: Tensor, longest: int, rate_hz: int) -> Tensor:
    at_K = torch.arange(longest, device=low_hz_BN.device) - longest // 2
    ideal = _sinc(high_hz_BN, at_K, rate_hz) - _sinc(low_hz_BN, at_K, rate_hz)
    half = (taps_BN[..., None] - 1) / 2
    window = 0.54 + 0.46 * torch.cos(torch.pi * at_K / half.clamp_min(1))
    return ideal * torch.where(at_K.abs() <= half, window, 0.0)


def _sinc(cut_hz_BN: Tensor, at_K: Tensor, rate_hz: int) -> Tensor:
    width = 2 * cut_hz_BN[..., None] / rate_hz
    return width * torch.sinc(width * at_K)


def _delta(longest: int, device: torch.device) -> Tensor:
    delta = torch.zeros(longest, device=device)
    delta[longest // 2] = 1
    return delta
