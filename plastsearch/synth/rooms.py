"""Rooms, loudspeakers and channels: what happens to a voice between the mouth and the file."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from plastsearch.synth.spectra import Singles, Spectrum, banded, istft, stft, triangles, unbanded

Floats = NDArray[np.float64]
SOUND_M_S = 343.0
LONG = (1024, 256)  # frames and hops by which long-term spectra are compared


def impulse_response(rng: np.random.Generator, size_m2: float, t60_s: float, distance_m: float, rate_hz: int) -> Floats:
    """Direct sound, a few early reflections and an exponential tail, as in a small rectangular room."""
    tail_s = min(t60_s, 0.6)
    time_s = np.arange(int(tail_s * rate_hz)) / rate_hz
    side_m = np.sqrt(size_m2)
    # The direct path falls with distance while the diffuse field does not: critical distance after Sabine.
    critical_m = 0.057 * np.sqrt(size_m2 * 2.7 / t60_s)
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / t60_s)
    tail[: int(0.6 * side_m / SOUND_M_S * rate_hz)] = 0
    tail = lfilter([0.7], [1, -0.3], tail)  # walls and air take the high frequencies first
    tail *= (distance_m / critical_m) / max(np.sqrt((tail**2).sum()), 1e-9)
    response = np.asarray(tail)
    response[0] += 1.0
    for path_m in side_m * rng.uniform(0.3, 2.0, 6):
        at = int(path_m / SOUND_M_S * rate_hz)
        if 0 < at < len(response):
            response[at] += rng.choice([-1, 1]) * rng.uniform(0.3, 0.7) * distance_m / (distance_m + path_m)
    return response


def reverberate(wave_T: Floats, response: Floats) -> Floats:
    """The wave heard through a response, aligned with the original and as long."""
    return np.asarray(fftconvolve(wave_T, response)[: len(wave_T)])


def loudspeaker(wave_T: Floats, quality: str, strength: float, rng: np.random.Generator, rate_hz: int) -> Floats:
    """A device of quality A (the best), B or C: less bass, resonances, a membrane that gives way on one side first."""
    low_hz, drive, depth = {"A": (60.0, 0.5, 0.1), "B": (250.0, 1.0, 0.4), "C": (550.0, 1.6, 0.8)}[quality]
    sos = butter(2, low_hz * rng.uniform(0.8, 1.2), "highpass", fs=rate_hz, output="sos")
    wave_T = np.asarray(sosfilt(sos, wave_T))
    for centre_hz in rng.uniform(400, min(6000, 0.4 * rate_hz), 3):
        angle, radius = 2 * np.pi * centre_hz / rate_hz, rng.uniform(0.93, 0.98)
        wave_T = wave_T + depth * lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], wave_T)
    scale = drive * (0.3 + 1.4 * strength) / (np.sqrt(np.mean(wave_T**2)) + 1e-12)
    bent_T = np.tanh(scale * wave_T + 0.5) - np.tanh(0.5)
    return np.asarray(bent_T / scale)


def like(wave_T: Floats, model_T: Floats, rate_hz: int) -> Floats:
    """The wave with the loudness contour and long-term spectrum of another: their fine structure is what differs."""
    contour_T, bands = _contour(model_T, rate_hz), _bands(stft(model_T, *LONG), rate_hz)
    for _ in range(2):
        wave_T = _contour_like(wave_T, contour_T, rate_hz)
        wave_T = _spectrum_like(wave_T, bands, rate_hz)
    return wave_T


def channel(wave_T: Floats, rng: np.random.Generator, rate_hz: int, snr_db: float) -> Floats:
    """A gentle random equaliser, band limits and steady noise, the same law for every clip."""
    top = rate_hz / 2
    size, hop = 512, 256
    knots_db = rng.uniform(-4, 4, 7)
    gain = 10 ** (np.interp(np.linspace(0, 6, size // 2 + 1), np.arange(7), knots_db) / 20)
    wave_T = _filtered(wave_T, gain, size, hop)
    noise = lfilter([1.0], [1, -rng.uniform(0, 0.9)], rng.standard_normal(len(wave_T)))
    noise *= np.sqrt(np.mean(wave_T**2)) / np.sqrt(np.mean(noise**2)) * 10 ** (-snr_db / 20)
    wave_T = wave_T + noise
    low_hz, high_hz = rng.uniform(60, 140), rng.uniform(0.75, 0.97) * top
    band = np.concatenate([steep(low_hz, rate_hz, highpass=True), steep(high_hz, rate_hz, highpass=False)])
    wave_T = np.asarray(sosfilt(band, wave_T))
    return limited(wave_T, rng.uniform(3.2, 4.2), rate_hz)


def steep(hz: float, rate_hz: int, *, highpass: bool) -> Floats:
    """Two second-order sections of a Butterworth filter of order 4: scipy's `butter`, of which it is a special case.

    That one looks for poles and pairs them, which takes a tenth of a clip's time.
    """
    warped = np.tan(np.pi * hz / rate_hz)
    middle = -2.0 if highpass else 2.0
    sections = []
    for damping in (2 * np.sin(np.pi / 8), 2 * np.cos(np.pi / 8)):
        top = 1 + damping * warped + warped**2
        gain = (1.0 if highpass else warped**2) / top
        ends = (2 * (warped**2 - 1) / top, (1 - damping * warped + warped**2) / top)
        sections.append([gain, middle * gain, gain, 1.0, *ends])
    return np.array(sections)


def limited(wave_T: Floats, crest: float, rate_hz: int) -> Floats:
    """A recorder's limiter: peaks above `crest` times the effective value are turned down, without distortion."""
    width = int(0.004 * rate_hz)
    for _ in range(3):  # turning down lowers the effective value, too
        ceiling = crest * np.sqrt(np.mean(wave_T**2)) + 1e-12
        gain = np.minimum(1, ceiling / np.maximum(maximum_filter1d(np.abs(wave_T), 2 * width + 1), 1e-12))
        wave_T = np.asarray(wave_T * uniform_filter1d(gain, width))
    return wave_T


def at_level(wave_T: Floats, rms_db: float) -> Floats:
    """The wave at a level relative to full scale, lower where it would clip."""
    wave_T = wave_T / (np.sqrt(np.mean(wave_T**2)) + 1e-12) * 10 ** (rms_db / 20)
    return np.asarray(wave_T * min(1.0, 0.98 / (np.abs(wave_T).max() + 1e-12)))


def _contour(wave_T: Floats, rate_hz: int) -> Floats:
    return np.asarray(np.sqrt(np.maximum(uniform_filter1d(wave_T**2, int(0.02 * rate_hz)), 0)))


def _contour_like(wave_T: Floats, want_T: Floats, rate_hz: int) -> Floats:
    floor = 1e-4 * want_T.max() + 1e-12
    return np.asarray(wave_T * (want_T + floor) / (_contour(wave_T, rate_hz) + floor))


def _bands(spectrum: Spectrum, rate_hz: int) -> Singles:
    """The long-term spectrum, in few bands."""
    return banded((np.abs(spectrum) ** 2).mean(axis=0)[None], triangles(spectrum.shape[1], 40, rate_hz))


def _spectrum_like(wave_T: Floats, want: Singles, rate_hz: int) -> Floats:
    spectrum = stft(wave_T, *LONG)
    have = _bands(spectrum, rate_hz)
    floor = 1e-7 * want.max() + 1e-12
    gain = unbanded(np.sqrt((want + floor) / (have + floor)), triangles(spectrum.shape[1], 40, rate_hz))
    return _shaped(spectrum, np.clip(gain, 0.05, 20), *LONG, len(wave_T))


def _filtered(wave_T: Floats, gain: Floats, size: int, hop: int) -> Floats:
    return _shaped(stft(wave_T, size, hop), gain, size, hop, len(wave_T))


def _shaped(spectrum: Spectrum, gain: Floats | Singles, size: int, hop: int, n_samples: int) -> Floats:
    return istft(spectrum * gain.astype(np.float32), size, hop, n_samples).astype(np.float64)
