"""What changes of whole batches are made of: random numbers that each clip has to itself, and filters for all at once.

Axes: B clips, T samples, N filters of a cascade, K taps, J overlapping blocks, F bins of a block.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


class Draws:
    """One generator per clip; every method returns a tensor whose first axis is the clip."""

    def __init__(self, seeds_B: Tensor, stream: int, device: torch.device) -> None:
        self.device = device
        # SFC64 is numpy's fastest source of normal deviates in bulk.
        self._each = [np.random.Generator(np.random.SFC64([seed, stream])) for seed in seeds_B.tolist()]

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Evenly between two values, float32."""
        return self._stack(lambda rng: rng.random(shape, dtype=np.float32)) * (high - low) + low

    def normal(self, n: int) -> Tensor:
        """Standard normal deviates, float32."""
        return self._stack(lambda rng: rng.standard_normal(n, dtype=np.float32))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high - 1."""
        return self._stack(lambda rng: rng.integers(low, high, shape))

    def chance(self, probability: float) -> Tensor:
        """True with this probability, one per clip."""
        return self.uniform(0, 1, 1)[:, 0] < probability

    def _stack(self, draw: Callable[[np.random.Generator], np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack([draw(rng) for rng in self._each])).to(self.device)


BLOCK = 2048


def band_stops(low_hz_BN: Tensor, high_hz_BN: Tensor, taps_BN: Tensor, longest: int, rate_hz: int) -> Tensor:
    """Hamming-windowed band-stop filters [B, N, longest], centred, each with its own odd number of taps."""
    return _delta(longest, low_hz_BN.device) - _band_pass(low_hz_BN, high_hz_BN, taps_BN, longest, rate_hz)


def band_passes(low_hz_BN: Tensor, high_hz_BN: Tensor, taps: int, rate_hz: int) -> Tensor:
    """Hamming-windowed band-pass filters [B, N, taps], centred."""
    return _band_pass(low_hz_BN, high_hz_BN, torch.full_like(low_hz_BN, taps), taps, rate_hz)


def response(filters_BNK: Tensor) -> Tensor:
    """The filters of each clip in cascade, as zero-phase values on the bins of a block [B, F]."""
    # A symmetric filter is a sum of cosines, and one product of matrices is quicker than transforms of padded filters.
    right_BNK = filters_BNK[..., filters_BNK.shape[-1] // 2 :]
    values_BF: Tensor = (right_BNK @ _cosines(right_BNK.shape[-1], right_BNK.device)).prod(dim=1)
    return values_BF


@lru_cache(maxsize=4)
def _cosines(taps: int, device: torch.device) -> Tensor:
    """From the centre and the right half of a symmetric filter to its values on the bins of a block [K, F]."""
    turns_KF = torch.arange(taps)[:, None] * torch.arange(BLOCK // 2 + 1) % BLOCK
    each_KF = torch.cos(2 * torch.pi * turns_KF.double() / BLOCK)
    each_KF[1:] *= 2
    return each_KF.float().to(device)


def convolve(wave_BT: Tensor, response_BF: Tensor, reach: int) -> Tensor:
    """The waves through centred filters that reach `reach` samples to either side; as long as before."""
    spectra_BJF = torch.fft.rfft(blocks(wave_BT, reach))
    return back_from_blocks(filter_(spectra_BJF, response_BF), reach, wave_BT.shape[-1])


def blocks(wave_BT: Tensor, reach: int) -> Tensor:
    """Overlapping blocks [B, J, BLOCK] of the waves, a view of a padded copy."""
    n_samples, step = wave_BT.shape[-1], BLOCK - 2 * reach
    padded = torch.nn.functional.pad(wave_BT, (reach, reach + -(-n_samples // step) * step - n_samples))
    return padded.unfold(-1, BLOCK, step)


def filter_(spectra_BJF: Tensor, response_BF: Tensor) -> Tensor:
    """Spectra of blocks times the real response of their clip, in place."""
    _parts(spectra_BJF).mul_(_twice(response_BF))
    return spectra_BJF


def add_filtered_(total_BJF: Tensor, spectra_BJF: Tensor, response_BF: Tensor) -> Tensor:
    """The total plus spectra of blocks times the real response of their clip, in place."""
    _parts(total_BJF).addcmul_(_parts(spectra_BJF), _twice(response_BF))
    return total_BJF


def back_from_blocks(spectra_BJF: Tensor, reach: int, n_samples: int) -> Tensor:
    """The waves of filtered blocks; the ends that a circular convolution wraps around are left out."""
    out_BJT: Tensor = torch.fft.irfft(spectra_BJF, n=BLOCK)
    return out_BJT[..., reach : BLOCK - reach].flatten(-2)[..., :n_samples]


def _parts(spectra_BJF: Tensor) -> Tensor:
    """Real and imaginary parts side by side: torch multiplies complex by real numbers by way of a complex copy."""
    return torch.view_as_real(spectra_BJF).flatten(-2)


def _twice(response_BF: Tensor) -> Tensor:
    return response_BF.repeat_interleave(2, dim=-1)[:, None]


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
