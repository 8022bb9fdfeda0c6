"""What transmission does to a waveform, and masks: band limits, companding, coarse samples, lossy codecs.

Axes: B clips, T samples, N bands, M masks.
"""

import math

import numpy as np
import torch
from torch import Tensor

from plastsearch.audio import round_trip
from plastsearch.augment import batches
from plastsearch.augment.batches import Draws

TIME_MASKS = 2
TIME_MASK_SHARE = 0.08  # the longest, of the clip
BAND_MASKS = 2
BAND_MASK_SHARE = 0.12  # the widest, of the band
MASKED = 0.01  # -40 dB rather than nothing: a logarithm would turn silence into an outlier that networks latch on
EDGE_S = 0.004
SHARP_TAPS = 257
LOSSY_SHARE = 1 / 12  # of the clips; encoders are the only change that is not computed in batches
MU, A = 255.0, 87.6  # of G.711
LOSSY = (("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"))


def spec_masks(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """Spans of time and bands of frequency nearly removed: SpecAugment for any front end, the waveform included."""
    return time_masks(band_masks(wave_BT, draws, rate_hz), draws, rate_hz)


def time_masks(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """Two random spans, each up to 8 % of the clip, at -40 dB with soft edges."""
    n_samples = wave_BT.shape[1]
    length_BM = draws.uniform(0, TIME_MASK_SHARE * n_samples, TIME_MASKS)
    start_BM = draws.uniform(0, 1, TIME_MASKS) * (n_samples - length_BM)
    at_T = torch.arange(n_samples, device=wave_BT.device)
    masked_BT = torch.zeros_like(wave_BT)
    for m in range(TIME_MASKS):
        start_B1, length_B1 = start_BM[:, m : m + 1], length_BM[:, m : m + 1]
        # Distance to the outside, in edge lengths: 0 outside, 1 well inside.
        inside_BT = torch.minimum(at_T - start_B1, start_B1 + length_B1 - at_T) / (EDGE_S * rate_hz)
        masked_BT = torch.maximum(masked_BT, inside_BT.clamp(0, 1))
    return wave_BT * (1 - (1 - MASKED) * masked_BT)


def band_masks(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """Two random bands, each up to 12 % of the spectrum, at -40 dB."""
    top_hz = rate_hz / 2
    width_BN = draws.uniform(0, BAND_MASK_SHARE * top_hz, BAND_MASKS)
    low_BN = draws.uniform(0, 1, BAND_MASKS) * (top_hz - width_BN)
    passed = batches.band_passes(low_BN, low_BN + width_BN, SHARP_TAPS, rate_hz)
    stops = -(1 - MASKED) * passed
    stops[..., SHARP_TAPS // 2] += 1
    return batches.convolve(wave_BT, batches.response(stops), BAND_MASKS * (SHARP_TAPS // 2))


def band_limit(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """A random pass band, from telephone (300-3,400 Hz) to nearly all."""
    low_B1 = draws.uniform(0, 300, 1)
    high_B1 = draws.uniform(min(3400.0, 0.4 * rate_hz), 0.48 * rate_hz, 1)
    return batches.convolve(
        wave_BT, batches.response(batches.band_passes(low_B1, high_B1, SHARP_TAPS, rate_hz)), SHARP_TAPS // 2
    )


def codec(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """Each clip through one of: nothing, mu-law, A-law, 6 to 10 bit samples, or a telephone line with mu-law."""
    which_B, bits_B1 = draws.integers(0, len(CODECS) + 1, 1)[:, 0], draws.integers(6, 11, 1)
    out_BT = wave_BT.clone()
    for kind, encode in enumerate(CODECS):
        rows = torch.nonzero(which_B == kind)[:, 0]
        if len(rows):
            peak_B1 = wave_BT[rows].abs().amax(dim=1, keepdim=True).clamp_min(1e-9)
            out_BT[rows] = encode(wave_BT[rows] / peak_B1, bits_B1[rows], rate_hz) * peak_B1
    return out_BT


def lossy_codec(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """One clip in twelve through MP3 or Ogg Vorbis at a random quality."""
    chosen, kind, quality = draws.chance(LOSSY_SHARE), draws.integers(0, len(LOSSY), 1), draws.uniform(0.0, 0.6, 1)
    out_BT = wave_BT.clone()
    for b in torch.nonzero(chosen).flatten().tolist():
        wave = np.ascontiguousarray(wave_BT[b].cpu().numpy())
        container, subtype = LOSSY[int(kind[b])]
        out_BT[b] = torch.from_numpy(round_trip(wave, rate_hz, container, subtype, float(quality[b])))
    return out_BT


def _telephone(unit_BT: Tensor, bits_B1: Tensor, rate_hz: int) -> Tensor:
    low, high = (torch.full((1, 1), hz, device=unit_BT.device) for hz in (300.0, min(3400.0, 0.45 * rate_hz)))
    response = batches.response(batches.band_passes(low, high, SHARP_TAPS, rate_hz))
    return _mu_law(batches.convolve(unit_BT, response, SHARP_TAPS // 2).clamp(-1, 1), bits_B1, rate_hz)


def _mu_law(unit_BT: Tensor, bits_B1: Tensor, rate_hz: int) -> Tensor:
    del bits_B1, rate_hz
    coarse_BT = torch.round((_mu_curve(unit_BT) + 1) / 2 * MU) / MU * 2 - 1
    return coarse_BT.sign() * torch.expm1(coarse_BT.abs() * math.log1p(MU)) / MU


def _mu_curve(unit_BT: Tensor) -> Tensor:
    return unit_BT.sign() * torch.log1p(MU * unit_BT.abs()) / math.log1p(MU)


def _a_law(unit_BT: Tensor, bits_B1: Tensor, rate_hz: int) -> Tensor:
    del bits_B1, rate_hz
    size_BT, scale = unit_BT.abs(), 1 + math.log(A)
    # Linear below 1/A, logarithmic above.
    companded_BT = torch.where(size_BT < 1 / A, A * size_BT, 1 + torch.log((A * size_BT).clamp_min(1))) / scale
    coarse_BT = torch.round(companded_BT * 127) / 127 * scale
    return unit_BT.sign() * torch.where(coarse_BT < 1, coarse_BT / A, torch.exp(coarse_BT - 1) / A)


def _few_bits(unit_BT: Tensor, bits_B1: Tensor, rate_hz: int) -> Tensor:
    del rate_hz
    steps_B1 = 2.0 ** (bits_B1 - 1)
    return torch.round(unit_BT * steps_B1) / steps_B1


CODECS = (_mu_law, _a_law, _few_bits, _telephone)
