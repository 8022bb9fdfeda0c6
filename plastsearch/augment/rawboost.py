"""RawBoost (Tak, Kamble, Patino, Todisco and Evans, 2022) for whole batches: three kinds of noise, eight mixtures.

Parameters are the published ones; the filters are designed and applied for all clips at once (batches.py).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from plastsearch.augment import batches
from plastsearch.augment.batches import Draws

NOTCHES = 5
POWERS = 5  # orders of the non-linearity, the linear one included
WIDTHS_HZ = (100.0, 1000.0)
TAPS = (10, 100)
WEAKER_DB = (5.0, 20.0)  # how far the non-linear orders lie below the linear one
IMPULSE_SHARE = 0.10
IMPULSE_GAIN = 2.0
SNR_DB = (10.0, 40.0)

LONGEST = TAPS[1] + 1
REACH = NOTCHES * (LONGEST // 2)


def convolutive(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """1: powers of the signal, each through its own notches: microphones, amplifiers, transmission."""
    first_BJT = batches.blocks(wave_BT, REACH).contiguous()
    power_BJT = first_BJT.clone()
    total_BJF = batches.filter_(torch.fft.rfft(first_BJT), _notches(draws, rate_hz))
    for _ in range(2, POWERS + 1):
        spectra_BJF = torch.fft.rfft(power_BJT.mul_(first_BJT))
        response_BF = _notches(draws, rate_hz) * _amplitude(-draws.uniform(*WEAKER_DB, 1))
        batches.add_filtered_(total_BJF, spectra_BJF, response_BF)
    out_BT = batches.back_from_blocks(total_BJF, REACH, wave_BT.shape[1])
    return _unclipped_(out_BT.sub_(out_BT.mean(dim=1, keepdim=True)))


def impulsive(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """2: single samples scaled at random: clicks that follow the signal."""
    del rate_hz  # the same at any rate
    # One candidate in every ten samples, at a random place of its ten: no sample is drawn twice, few draws are needed.
    stride = round(1 / IMPULSE_SHARE)
    count = wave_BT.shape[1] // stride
    hit_BK = draws.uniform(0, IMPULSE_SHARE, 1) > draws.uniform(0, IMPULSE_SHARE, count)
    at_BK = torch.arange(count, device=wave_BT.device) * stride + draws.integers(0, stride, count)
    size_BK = draws.uniform(-1, 1, count) * draws.uniform(-1, 1, count)
    factor_BK = torch.where(hit_BK, 1 + IMPULSE_GAIN * size_BK, 1.0)
    return _unclipped_(wave_BT.scatter(1, at_BK, wave_BT.gather(1, at_BK) * factor_BK))


def stationary(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """3: coloured noise at a random ratio to the signal."""
    noise_BT = batches.convolve(draws.normal(wave_BT.shape[1]), _notches(draws, rate_hz), REACH)
    snr_db = draws.uniform(*SNR_DB, 1)
    scale_B1 = _norm(wave_BT) / _norm(noise_BT).clamp_min(1e-12) * _amplitude(-snr_db)
    return torch.addcmul(wave_BT, noise_BT, scale_B1)


def parallel(wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
    """8: the sum of 1 and 2 rather than one after the other."""
    return _unclipped_(convolutive(wave_BT, draws, rate_hz).add_(impulsive(wave_BT, draws, rate_hz)))


Step = Callable[[Tensor, Draws, int], Tensor]
ALGORITHMS: dict[int, tuple[Step, ...]] = {
    1: (convolutive,),
    2: (impulsive,),
    3: (stationary,),
    4: (convolutive, impulsive, stationary),
    5: (convolutive, impulsive),
    6: (convolutive, stationary),
    7: (impulsive, stationary),
    8: (parallel,),
}


def rawboost(wave_BT: Tensor, draws: Draws, rate_hz: int, algorithm: int) -> Tensor:
    """The batch through one of the eight published combinations."""
    for step in ALGORITHMS[algorithm]:
        wave_BT = step(wave_BT, draws, rate_hz)
    return wave_BT


def _notches(draws: Draws, rate_hz: int) -> Tensor:
    """Five random notches in cascade, peak response 1."""
    top_hz = rate_hz / 2
    centre_BN = draws.uniform(20.0, min(8000.0, top_hz), NOTCHES)
    half_BN = draws.uniform(*WIDTHS_HZ, NOTCHES) / 2
    taps_BN = draws.integers(TAPS[0], TAPS[1] + 1, NOTCHES) // 2 * 2 + 1
    low_BN, high_BN = (centre_BN - half_BN).clamp_min(1e-3), (centre_BN + half_BN).clamp_max(top_hz - 1e-3)
    values_BF = batches.response(batches.band_stops(low_BN, high_BN, taps_BN, LONGEST, rate_hz))
    return values_BF / values_BF.abs().amax(dim=1, keepdim=True)


def _amplitude(db: Tensor | float) -> Tensor:
    return torch.as_tensor(10.0) ** (torch.as_tensor(db) / 20)


def _norm(wave_BT: Tensor) -> Tensor:
    norm_B1: Tensor = torch.linalg.vector_norm(wave_BT, dim=1, keepdim=True)
    return norm_B1


def _unclipped_(wave_BT: Tensor) -> Tensor:
    """Scaled down where it would leave -1..1, and only there, in place: memory fresh from the system costs as much."""
    peak_B1 = torch.maximum(wave_BT.amax(dim=1, keepdim=True), -wave_BT.amin(dim=1, keepdim=True))
    return wave_BT.div_(peak_B1.clamp_min(1.0))
