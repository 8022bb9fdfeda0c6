"""Short-time spectra, mel bands and linear prediction in numpy, free of BLAS so that thread counts change no bit."""

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Spectrum = NDArray[np.complex64]


def stft(wave_T: Floats | Singles, size: int, hop: int) -> Spectrum:
    """Frames x bins; frame k is centred on sample k * hop."""
    padded = _mirrored(np.asarray(wave_T, np.float32), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return np.asarray(rfft(frames * _window(size), axis=1), np.complex64)


def istft(spectrum: Spectrum, size: int, hop: int, n_samples: int) -> Singles:
    """The waveform whose short-time spectrum is nearest to the given one (least squares)."""
    window = _window(size)
    frames = irfft(spectrum, n=size, axis=1).astype(np.float32) * window
    total = _overlap_add(frames, hop)
    wave = (total / _weight(len(frames), size, hop))[size // 2 : size // 2 + n_samples]
    return wave if len(wave) == n_samples else np.pad(wave, (0, n_samples - len(wave)))


def griffin_lim(
    magnitude: Singles, size: int, hop: int, n_samples: int, rounds: int, rng: np.random.Generator
) -> Singles:
    """A waveform for magnitudes without phase, by alternating projections with momentum."""
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape, dtype=np.float32)).astype(np.complex64)
    before = np.zeros_like(phase)
    for _ in range(rounds):
        now = stft(istft(magnitude * phase, size, hop, n_samples), size, hop)
        fast = now + np.float32(0.9) * (now - before)
        phase, before = fast / np.maximum(np.abs(fast), np.float32(1e-8)), now
    return istft(magnitude * phase, size, hop, n_samples)


@cache  # a corpus asks for some forty of them, thousands of times
def triangles(n_bins: int, n_bands: int, rate_hz: int, mel: bool = True) -> csr_array:
    """Triangular bands x bins, equally spaced in mel (or hertz), each of unit sum."""
    top = rate_hz / 2
    edges = np.linspace(0, to_mel(top), n_bands + 2) if mel else np.linspace(0, top, n_bands + 2)
    edges = to_hertz(edges) if mel else edges
    bins = np.linspace(0, top, n_bins)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    bank = np.maximum(0, np.minimum(rise, fall))
    empty = bank.sum(axis=1) == 0  # a band narrower than a bin takes the bin nearest to it
    bank[empty, np.abs(bins - edges[1:-1][empty, None]).argmin(axis=1)] = 1
    return csr_array((bank / bank.sum(axis=1, keepdims=True)).astype(np.float32))


def banded(values: Singles, bank: csr_array) -> Singles:
    """Frames x bins → frames x bands."""
    return np.ascontiguousarray((bank @ values.T).T)


def unbanded(bands: Singles, bank: csr_array) -> Singles:
    """Frames x bands → frames x bins: every bin takes the weighted mean of the bands that cover it."""
    cover = np.asarray(bank.sum(axis=0)).ravel()
    back = (bank.T @ bands.T).T / np.maximum(cover, 1e-6)
    bare = np.flatnonzero(cover == 0)
    if len(bare):
        known = np.flatnonzero(cover > 0)
        back[:, bare] = back[:, known[np.abs(known[:, None] - bare).argmin(axis=0)]]
    return np.ascontiguousarray(back)


def to_mel(hertz: Floats | float) -> Floats:
    return np.asarray(2595 * np.log10(1 + np.asarray(hertz) / 700))


def to_hertz(mel: Floats) -> Floats:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))


def linear_prediction(wave_T: Floats | Singles, order: int, size: int, hop: int) -> tuple[Floats, Floats]:
    """Per frame the predictor polynomial [frames, order + 1] and the gain of its residual."""
    padded = np.pad(np.asarray(wave_T, np.float64), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * _window(size)
    power = np.abs(rfft(frames, n=2 * size, axis=1)) ** 2
    lags = irfft(power, axis=1)[:, : order + 1]
    lags[:, 0] = lags[:, 0] * 1.0001 + 1e-9
    poly, error = np.zeros((len(lags), order + 1)), lags[:, 0].copy()
    poly[:, 0] = 1
    for k in range(1, order + 1):  # Levinson's recursion, all frames at once
        reflection = -(poly[:, :k] * lags[:, k:0:-1]).sum(axis=1) / error
        poly[:, 1 : k + 1] += reflection[:, None] * poly[:, k - 1 :: -1][:, :k]
        error *= 1 - reflection**2
    return poly, np.sqrt(error / (_window(size) ** 2).sum())


def to_reflections(poly: Floats) -> Floats:
    """Predictor polynomials [frames, order + 1] → reflection coefficients [frames, order], all within -1..1."""
    poly, order = poly.copy(), poly.shape[1] - 1
    out = np.zeros((len(poly), order))
    for k in range(order, 0, -1):
        last = np.clip(poly[:, k], -0.9999, 0.9999)
        out[:, k - 1] = last
        poly[:, :k] = (poly[:, :k] - last[:, None] * poly[:, k:0:-1]) / (1 - last**2)[:, None]
    return out


def from_reflections(reflections: Floats) -> Floats:
    """The stable predictor polynomials of given reflection coefficients."""
    poly = np.zeros((len(reflections), reflections.shape[1] + 1))
    poly[:, 0] = 1
    for k in range(1, poly.shape[1]):
        last = np.clip(reflections[:, k - 1], -0.995, 0.995)
        poly[:, 1 : k + 1] += last[:, None] * poly[:, k - 1 :: -1][:, :k]
    return poly


@cache
def _window(size: int) -> Singles:
    window = np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size), np.float32)
    window.flags.writeable = False
    return window


@lru_cache(maxsize=64)  # where clips differ in length, few are met again
def _weight(count: int, size: int, hop: int) -> Singles:
    """How often overlapping windows have counted each sample."""
    weight = np.maximum(_overlap_add(np.broadcast_to(_window(size) ** 2, (count, size)), hop), 1e-3)
    weight.flags.writeable = False
    return weight


def _mirrored(wave_T: Singles, more: int) -> Singles:
    """As numpy's pad does by reflection, which takes five times as long."""
    if len(wave_T) <= more:
        return np.pad(wave_T, more, mode="reflect")
    return np.concatenate([wave_T[more:0:-1], wave_T, wave_T[-2 : -more - 2 : -1]])


def _overlap_add(frames: Singles, hop: int) -> Singles:
    count, size = frames.shape
    total = np.zeros((count - 1) * hop + size, np.float32)
    for k in range(0, size, hop):
        part = frames[:, k : k + hop]
        total[k : k + count * hop].reshape(count, hop)[:] += part
    return total
