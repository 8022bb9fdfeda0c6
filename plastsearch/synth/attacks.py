"""Spoofing attacks: each takes genuine speech apart and puts it together again, leaving the traces its kind leaves.

`strength` runs from 0 (traces hardly there) to 1; attack ids follow ASVspoof2019 LA.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from plastsearch.synth.spectra import (
    Singles,
    banded,
    from_reflections,
    griffin_lim,
    istft,
    linear_prediction,
    stft,
    to_reflections,
    triangles,
    unbanded,
)
from plastsearch.synth.speech import Speaker, Utterance, filter_by_blocks, glottal_pulses

Floats = NDArray[np.float64]
SIZE, HOP = 512, 128


@dataclass(frozen=True)
class Material:
    """What an attacker has: the speech to imitate, a second recording of the same voice, and chance."""

    target: Utterance
    other: Callable[[], Utterance]  # made when asked for
    speaker: Speaker
    rate_hz: int
    rng: np.random.Generator

    @property
    def n_samples(self) -> int:
        return len(self.target.wave)


Attack = Callable[[Material, float], Floats | Singles]


def mel_vocoder(given: Material, strength: float) -> Singles:
    """Mel bands forget the fine structure, Griffin-Lim invents the phase."""
    bank = triangles(SIZE // 2 + 1, _between(96, 24, strength), given.rate_hz)
    magnitude = np.abs(stft(given.target.wave, SIZE, HOP))
    rounds = _between(12, 2, strength)
    return griffin_lim(unbanded(banded(magnitude, bank), bank), SIZE, HOP, given.n_samples, rounds, given.rng)


def flat_lpc(given: Material, strength: float) -> Floats:
    """Linear prediction excited by pulses that are too even, on a flattened pitch."""
    f0_T, voicing_T = given.target.f0, given.target.voicing
    steady = max(0.0, 1 - 1.3 * strength)
    flat_T = f0_T.mean() + (f0_T - f0_T.mean()) * steady
    jitter, shimmer = given.speaker.jitter * steady, given.speaker.shimmer * steady
    pulses_T, _ = glottal_pulses(flat_T, given.rng, jitter, shimmer, given.speaker.open_quotient, given.rate_hz)
    voiced_T = np.clip(3 * voicing_T, 0, 1)
    source_T = voiced_T * _whitened(pulses_T) + (1 - 0.9 * voiced_T) * given.rng.standard_normal(given.n_samples)
    size = _between(320, 640, strength)
    poles, gain = linear_prediction(given.target.wave, _between(24, 12, strength), size, 80)
    return filter_by_blocks(source_T, poles, gain, 80)


def quantised_vocoder(given: Material, strength: float) -> Floats:
    """Ten reflection coefficients, pitch, gain and voicing on coarse scales, held for a frame: a low-rate codec."""
    hop = _between(160, 360, strength)
    poles, gain = linear_prediction(given.target.wave, _between(16, 10, strength), 2 * hop, hop)
    levels = _between(48, 8, strength)
    reflections = from_reflections(np.sin(np.round(np.arcsin(to_reflections(poles)) * levels) / levels))
    step_db = 1 + 5 * strength
    gain = 10 ** (np.round(20 * np.log10(gain + 1e-6) / step_db) * step_db / 20)
    frames_T = np.minimum(np.arange(given.n_samples) // hop, len(gain) - 1)
    at = np.minimum(np.arange(len(gain)) * hop, given.n_samples - 1)
    pitch_T = (np.round(given.target.f0[at] / 8) * 8)[frames_T]
    voiced_T = (given.target.voicing[at] > 0.1)[frames_T]
    pulses_T, _ = glottal_pulses(pitch_T, given.rng, 0.0, 0.0, 0.6, given.rate_hz)
    source_T = np.where(voiced_T, _whitened(pulses_T), given.rng.standard_normal(given.n_samples))
    return filter_by_blocks(source_T, reflections, gain, hop)


def concatenation(given: Material, strength: float) -> Floats:
    """Units of two recordings of a voice, joined with hardly any cross-fade."""
    out = given.target.wave.copy()
    unit = int(given.rate_hz * (0.16 - 0.10 * strength))
    fade = _between(64, 4, strength)
    ramp = np.linspace(0, 1, fade)
    other = given.other()
    for start in range(unit // 2, len(out) - unit, unit):
        if given.rng.random() > 0.3 + 0.6 * strength:
            continue
        source = other.wave if given.rng.random() < 0.5 else given.target.wave
        at = int(given.rng.integers(0, len(source) - unit))
        piece = source[at : at + unit] * _rms(out[start : start + unit]) / (_rms(source[at : at + unit]) + 1e-9)
        mask = np.concatenate([ramp, np.ones(unit - 2 * fade), ramp[::-1]])
        out[start : start + unit] += mask * (piece - out[start : start + unit])
    return out


def over_smooth(given: Material, strength: float) -> Singles:
    """Spectral envelopes averaged over neighbouring frames, as statistical models predict them, on a simple source."""
    bank = triangles(SIZE // 2 + 1, 40, given.rate_hz)
    log_bands = np.log(banded(np.abs(stft(given.target.wave, SIZE, HOP)), bank) + np.float32(1e-6))
    smooth = gaussian_filter1d(gaussian_filter1d(log_bands, 0.5 + 4.5 * strength, axis=0), 0.3 + strength, axis=1)
    envelope = unbanded(np.exp(smooth), bank)
    pulses_T, _ = glottal_pulses(given.target.f0, given.rng, 0.0, 0.0, given.speaker.open_quotient, given.rate_hz)
    voiced_T = np.clip(3 * given.target.voicing, 0, 1)
    noise_T = given.rng.standard_normal(given.n_samples)
    source_T = voiced_T * _whitened(pulses_T) + (1 - (0.9 - 0.3 * strength) * voiced_T) * noise_T
    return istft(stft(source_T, SIZE, HOP) * envelope, SIZE, HOP, given.n_samples)


def conversion(given: Material, strength: float) -> Floats:
    """Formants shifted by resampling, the time axis repaired by overlapping windows."""
    factor = 1 + given.rng.choice([-1, 1]) * (0.05 + 0.2 * strength)
    at = np.arange(0, given.n_samples - 1, factor)
    shifted = np.interp(at, np.arange(given.n_samples), given.target.wave)
    size = _between(800, 240, strength)
    hop = size // 2
    out = np.zeros(given.n_samples + size)
    window = np.hanning(size + 1)[:-1]
    for start in range(0, given.n_samples, hop):
        source = min(int(start / factor), len(shifted) - size)
        out[start : start + size] += window * shifted[source : source + size]
    return out[: given.n_samples]


def scattered_phase(given: Material, strength: float) -> Singles:
    """Phases perturbed more and more towards high frequencies, as neural vocoders do."""
    spectrum = stft(given.target.wave, SIZE, HOP)
    spread = np.linspace(0.3, 1.0, spectrum.shape[1]) * (0.5 + 3 * strength)
    noise = given.rng.standard_normal(spectrum.shape) * spread
    return istft((spectrum * np.exp(1j * noise)).astype(np.complex64), SIZE, HOP, given.n_samples)


def sinusoids(given: Material, strength: float) -> Singles:
    """A sum of partials: peaks kept, the noise between them lowered."""
    spectrum = stft(given.target.wave, SIZE, HOP)
    level_db = 20 * np.log10(np.abs(spectrum) + np.float32(1e-6))
    detail = level_db - gaussian_filter1d(level_db, 4.0, axis=1)
    return _with_level(spectrum, level_db + (0.3 + 1.2 * strength) * detail, given.n_samples)


def coarse_samples(given: Material, strength: float) -> Floats:
    """Companded to few levels, the error shaped by a first-order loop, as early sample-by-sample networks sound."""
    wave_T = given.target.wave
    peak = np.abs(wave_T).max() + 1e-9
    levels = 2.0 ** _between(7, 3, strength)
    companded = np.sign(wave_T) * np.log1p(255 * np.abs(wave_T) / peak) / np.log(256)
    coarse = np.round((companded * levels) + given.rng.uniform(-0.5, 0.5, len(wave_T))) / levels
    return np.asarray(np.sign(coarse) * np.expm1(np.abs(coarse) * np.log(256)) / 255 * peak)


def smooth_mel_vocoder(given: Material, strength: float) -> Singles:
    """Over-smooth mel bands through Griffin-Lim: a statistical model with a simple vocoder."""
    bank = triangles(SIZE // 2 + 1, _between(128, 64, strength), given.rate_hz)
    log_bands = np.log(banded(np.abs(stft(given.target.wave, SIZE, HOP)), bank) + np.float32(1e-6))
    smooth = np.exp(gaussian_filter1d(log_bands, 0.5 + 1.5 * strength, axis=0))
    rounds = _between(20, 5, strength)
    return griffin_lim(unbanded(smooth, bank), SIZE, HOP, given.n_samples, rounds, given.rng)


def breathy_lpc(given: Material, strength: float) -> Floats:
    """Linear prediction excited by pulses and noise in equal parts."""
    noise_T = given.rng.standard_normal(given.n_samples)
    poles, gain = linear_prediction(given.target.wave, 18, 400, 80)
    buzz_T = flat_lpc(given, 0.5 * strength)
    share = 0.2 + 0.5 * strength
    return (1 - share) * buzz_T + share * filter_by_blocks(noise_T, poles, gain, 80)


def folded_band(given: Material, strength: float) -> Singles:
    """The upper band's fine structure copied from the lower one, as bandwidth extension does."""
    spectrum = stft(given.target.wave, SIZE, HOP)
    cut = _between(150, 64, strength)
    magnitude = np.abs(spectrum)
    envelope = gaussian_filter1d(magnitude, 6.0, axis=1) + np.float32(1e-6)
    fine = spectrum / envelope
    upper = np.arange(cut, spectrum.shape[1])
    mirrored = np.abs((upper - cut) % (2 * cut) - cut)
    spectrum[:, cut:] = np.conj(fine[:, mirrored]) * envelope[:, cut:]
    return istft(spectrum, SIZE, HOP, given.n_samples)


def upsampled(make: Attack, period: int) -> Attack:
    """The attack with the checkerboard of a generator's last upsampling layer: gains that repeat every period."""

    def attack(given: Material, strength: float) -> Floats:
        made = np.asarray(make(given, strength), np.float64)
        # The pattern belongs to the generator, not to the clip.
        pattern = np.random.default_rng(period).standard_normal(period)
        gain = 1 + (0.1 + 0.4 * strength) * (pattern - pattern.mean()) / pattern.std()
        return made * np.resize(gain, given.n_samples)

    return attack


KNOWN: dict[str, Attack] = {
    "A01": upsampled(mel_vocoder, 16),
    "A02": flat_lpc,
    "A03": quantised_vocoder,
    "A04": concatenation,
    "A05": upsampled(over_smooth, 20),
    "A06": upsampled(conversion, 32),
}
# As in the real corpus two attacks of the evaluation are known ones under new names.
UNKNOWN: dict[str, Attack] = {
    "A07": upsampled(scattered_phase, 16),
    "A08": upsampled(sinusoids, 40),
    "A09": coarse_samples,
    "A10": upsampled(smooth_mel_vocoder, 20),
    "A11": breathy_lpc,
    "A12": upsampled(folded_band, 32),
    "A16": concatenation,
    "A19": upsampled(conversion, 32),
}


def _whitened(pulses_T: Floats) -> Floats:
    """Glottal pulses with their fall towards high frequencies taken out, about as strong as unit noise."""
    return np.asarray(lfilter([1, -0.9], [1.0], pulses_T) * 3)


def _between(weak: float, strong: float, strength: float) -> int:
    return round(weak + (strong - weak) * strength)


def _with_level(spectrum: NDArray[np.complex64], level_db: Singles, n_samples: int) -> Singles:
    phase = spectrum / np.maximum(np.abs(spectrum), np.float32(1e-8))
    return istft(phase * np.float32(10) ** (level_db / np.float32(20)), SIZE, HOP, n_samples)


def _rms(wave_T: Floats) -> float:
    return float(np.sqrt(np.mean(wave_T**2)))
