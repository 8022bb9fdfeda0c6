"""Speech-like signals by a source-filter model: glottal pulses and noise through moving formants.

Plain numpy and scipy, one clip at a time, so that a clip depends on its own generator and on nothing else.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from scipy.signal import butter, lfilter, sosfilt
from scipy.signal._sigtools import _linear_filter

Floats = NDArray[np.float64]

HOP_S = 0.010  # control tracks and filter coefficients change once per hop
# First three resonances of a neutral adult vocal tract, in hertz, for ten vowels.
VOWELS_HZ = np.array([
    [280, 2280, 3000], [400, 2000, 2600], [550, 1850, 2500], [680, 1750, 2450], [730, 1120, 2450],
    [580, 860, 2420], [440, 1020, 2260], [310, 880, 2240], [640, 1210, 2400], [500, 1380, 1720],
], dtype=np.float64)  # fmt: skip
UPPER_HZ = np.array([3500.0, 4400.0, 5400.0, 6400.0, 7400.0])
WIDTHS_HZ = np.array([70.0, 95.0, 130.0, 190.0, 260.0, 340.0, 430.0, 520.0])
KINDS = ("vowel", "fricative", "sonorant", "stop", "pause", "breath")
# What may follow what: a vowel leads to a consonant or a pause, everything else mostly back to a vowel.
AFTER_VOWEL = (0.10, 0.28, 0.30, 0.20, 0.09, 0.03)
AFTER_OTHER = (0.82, 0.04, 0.06, 0.04, 0.03, 0.01)
LENGTHS_S = {"vowel": (0.07, 0.22), "fricative": (0.05, 0.13), "sonorant": (0.04, 0.10), "stop": (0.05, 0.09),
             "pause": (0.08, 0.22), "breath": (0.12, 0.25)}  # fmt: skip


@dataclass(frozen=True)
class Speaker:
    """What stays the same over all utterances of one voice."""

    f0_hz: float
    tract: float  # formants are multiplied by it: short tracts have high formants
    open_quotient: float
    jitter: float  # cycle to cycle, share of the period
    shimmer: float  # cycle to cycle, share of the amplitude
    breathiness: float
    tilt: float  # pole of the low-pass that follows the glottis
    pace: float


@dataclass(frozen=True)
class Utterance:
    """A waveform together with the pitch and voicing it was made from, which vocoders need."""

    wave: Floats
    f0: Floats  # hertz at each sample, voiced or not
    voicing: Floats  # 0..1


@dataclass(frozen=True)
class _Tracks:
    """Control values per hop, later smoothed: what the articulators do."""

    f0: Floats
    voicing: Floats
    breath: Floats
    hiss: Floats
    hiss_hz: Floats
    formants: Floats  # [hops, 8]


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """One voice out of the population, low or high pitched with equal chance."""
    low = rng.random() < 0.5
    return Speaker(
        f0_hz=float(rng.uniform(90, 145) if low else rng.uniform(165, 235)),
        tract=float(rng.uniform(0.88, 1.02) if low else rng.uniform(1.0, 1.16)),
        open_quotient=float(rng.uniform(0.5, 0.75)),
        jitter=float(rng.uniform(0.006, 0.018)),
        shimmer=float(rng.uniform(0.04, 0.12)),
        breathiness=float(rng.uniform(0.02, 0.10)),
        tilt=float(rng.uniform(0.35, 0.75)),
        pace=float(rng.uniform(0.85, 1.2)),
    )


def speak(speaker: Speaker, rng: np.random.Generator, n_samples: int, rate_hz: int = 16_000) -> Utterance:
    """An utterance of random phones in this voice; its level is arbitrary."""
    tracks = _smooth(_phones(speaker, rng, n_samples, rate_hz))
    f0_T = _to_samples(tracks.f0, n_samples) * _wobble(rng, n_samples, rate_hz)
    voicing_T = _to_samples(tracks.voicing, n_samples)
    pulses_T, open_T = glottal_pulses(f0_T, rng, speaker.jitter, speaker.shimmer, speaker.open_quotient, rate_hz)
    source_T = voicing_T * lfilter([1 - speaker.tilt], [1, -speaker.tilt], pulses_T)
    noise_T = rng.standard_normal(n_samples)
    # Breath noise is strongest while the glottis is open.
    breath_T = speaker.breathiness * voicing_T * (0.3 + 0.7 * open_T)
    source_T += noise_T * (breath_T + _to_samples(tracks.breath, n_samples))
    wave_T = filter_by_formants(source_T, tracks.formants, rate_hz)
    wave_T += _hiss(tracks, rng, n_samples, rate_hz)
    # No microphone hears the slow movement of air.
    wave_T = np.asarray(sosfilt(_microphone(rate_hz), wave_T))
    return Utterance(wave_T, f0_T, voicing_T)


@cache
def _microphone(rate_hz: int) -> Floats:
    return np.asarray(butter(3, 70, "highpass", fs=rate_hz, output="sos"))


def glottal_pulses(
    f0_T: Floats, rng: np.random.Generator, jitter: float, shimmer: float, open_quotient: float, rate_hz: int
) -> tuple[Floats, Floats]:
    """The derivative of the glottal flow, cycle by cycle, and how far the glottis is open at each sample."""
    cycles_T = np.cumsum(f0_T) / rate_hz
    last = int(cycles_T[-1]) + 2
    marks = np.arange(last + 1) + np.clip(jitter * rng.standard_normal(last + 1), -0.2, 0.2)
    cycle_T = np.clip(np.searchsorted(marks, cycles_T, side="right") - 1, 0, last - 1)
    phase_T = (cycles_T - marks[cycle_T]) / (marks[cycle_T + 1] - marks[cycle_T])
    height = np.clip(1 + shimmer * rng.standard_normal(last + 1), 0.3, 1.7)[cycle_T]
    inside_T = np.clip(phase_T / open_quotient, 0, 1)
    # Flow u^2 - u^3 while open; its derivative drops to -1 at closure, which excites the formants.
    flow_T = np.where(phase_T < open_quotient, 2 * inside_T - 3 * inside_T**2, 0.0)
    return height * flow_T, np.where(phase_T < open_quotient, inside_T * (1 - inside_T) * 4, 0.0)


def filter_by_formants(source_T: Floats, formants: Floats, rate_hz: int) -> Floats:
    """Resonators in cascade whose coefficients change once per hop, states carried over."""
    radius = np.exp(-np.pi * WIDTHS_HZ / rate_hz)
    angle = 2 * np.pi * np.minimum(formants, 0.49 * rate_hz) / rate_hz
    polynomial = np.ones((len(formants), 1))
    for k in range(formants.shape[1]):
        polynomial = _times_resonator(polynomial, -2 * radius[k] * np.cos(angle[:, k]), radius[k] ** 2)
    return filter_by_blocks(source_T, polynomial, polynomial.sum(axis=1), round(HOP_S * rate_hz))


def filter_by_blocks(source_T: Floats, poles: Floats, gain: Floats, hop: int) -> Floats:
    """All-pole filter: block b of `hop` samples goes through gain[b] / poles[b]."""
    wave_T = np.empty_like(source_T)
    state = np.zeros(poles.shape[1] - 1)
    blocks = min(len(poles), -(-len(source_T) // hop))
    # Neighbouring blocks with equal coefficients are filtered in one go.
    fresh = np.any(poles[1:blocks] != poles[: blocks - 1], axis=1) | (gain[1:blocks] != gain[: blocks - 1])
    starts = [0, *(np.flatnonzero(fresh) + 1).tolist()]
    for b, end in zip(starts, [*(hop * b for b in starts[1:]), len(source_T)], strict=True):
        part = slice(b * hop, end)
        # lfilter without its looking at what it is given, which takes longer than ten milliseconds of sound.
        wave_T[part], state = _linear_filter(gain[b : b + 1], poles[b], source_T[part], -1, state)
    return wave_T


def _times_resonator(polynomial: Floats, first: Floats, second: float) -> Floats:
    out = np.zeros((len(polynomial), polynomial.shape[1] + 2))
    out[:, :-2] = polynomial
    out[:, 1:-1] += first[:, None] * polynomial
    out[:, 2:] += second * polynomial
    return out


def _phones(speaker: Speaker, rng: np.random.Generator, n_samples: int, rate_hz: int) -> _Tracks:
    hops = -(-n_samples // round(HOP_S * rate_hz)) + 1
    f0, voicing, breath, hiss = np.zeros((4, hops))
    tracks = _Tracks(f0, voicing, breath, hiss, np.full(hops, 4000.0), np.zeros((hops, 8)))
    kind, at = "pause", 0
    while at < hops:
        kind = str(rng.choice(KINDS, p=AFTER_VOWEL if kind == "vowel" else AFTER_OTHER))
        low, high = LENGTHS_S[kind]
        end = min(hops, at + max(2, round(rng.uniform(low, high) * speaker.pace / HOP_S)))
        _articulate(tracks, kind, slice(at, end), speaker, rng)
        at = end
    # The voice falls over a phrase, with an accent somewhere.
    time = np.linspace(0, 1, hops)
    accent = np.exp(-(((time - rng.uniform(0.1, 0.8)) / 0.12) ** 2))
    fall = 1 + rng.uniform(0.02, 0.12) * (0.5 - time) * 2 + rng.uniform(0.0, 0.25) * accent
    tracks.f0[:] = speaker.f0_hz * rng.uniform(0.94, 1.06) * fall
    return tracks


def _articulate(tracks: _Tracks, kind: str, at: slice, speaker: Speaker, rng: np.random.Generator) -> None:
    vowel = VOWELS_HZ[rng.integers(len(VOWELS_HZ))] * rng.uniform(0.95, 1.05, 3)
    if kind == "sonorant":
        vowel = np.array([rng.uniform(240, 340), rng.uniform(900, 1700), rng.uniform(2100, 2600)])
    tracks.formants[at] = np.concatenate([vowel, UPPER_HZ * rng.uniform(0.97, 1.03, 5)]) * speaker.tract
    loud = rng.uniform(0.6, 1.0)
    tracks.voicing[at] = {"vowel": loud, "sonorant": 0.45 * loud}.get(kind, 0.0)
    tracks.breath[at] = {"breath": 0.02 * loud, "pause": 0.0004}.get(kind, 0.001)
    if kind == "fricative":
        tracks.hiss[at] = 0.25 * loud
        tracks.hiss_hz[at] = rng.uniform(2200, 6500)
        tracks.voicing[at] = 0.3 * loud * (rng.random() < 0.3)
    elif kind == "stop":
        burst = slice(max(at.start, at.stop - 2), at.stop)
        tracks.hiss[burst] = 0.35 * loud
        tracks.hiss_hz[burst] = rng.uniform(1200, 5500)


def _smooth(tracks: _Tracks) -> _Tracks:
    slow, quick = np.hanning(9)[1:-1], np.hanning(5)[1:-1]
    return _Tracks(
        f0=tracks.f0,
        voicing=convolve1d(tracks.voicing, quick / quick.sum(), mode="nearest"),
        breath=convolve1d(tracks.breath, quick / quick.sum(), mode="nearest"),
        hiss=convolve1d(tracks.hiss, quick / quick.sum(), mode="nearest"),
        hiss_hz=tracks.hiss_hz,
        formants=convolve1d(tracks.formants, slow / slow.sum(), axis=0, mode="nearest"),
    )


def _hiss(tracks: _Tracks, rng: np.random.Generator, n_samples: int, rate_hz: int) -> Floats:
    angle = 2 * np.pi * np.minimum(tracks.hiss_hz, 0.45 * rate_hz) / rate_hz
    radius = 0.86
    poles = np.stack([np.ones_like(angle), -2 * radius * np.cos(angle), np.full_like(angle, radius**2)], axis=1)
    noise_T = rng.standard_normal(n_samples) * _to_samples(tracks.hiss, n_samples)
    return filter_by_blocks(noise_T, poles, np.full(len(poles), 0.25), round(HOP_S * rate_hz))


def _to_samples(track: Floats, n_samples: int) -> Floats:
    return np.interp(*_places(len(track), n_samples), track)


@lru_cache(maxsize=64)  # where clips differ in length, few are met again
def _places(points: int, n_samples: int) -> tuple[Floats, Floats]:
    return np.linspace(0, points - 1, n_samples), np.arange(points, dtype=np.float64)


def _wobble(rng: np.random.Generator, n_samples: int, rate_hz: int) -> Floats:
    """Slow unsteadiness of the pitch, about one percent, that no speaker is free of."""
    points = rng.standard_normal(max(4, round(n_samples / rate_hz * 12)))
    return 1 + 0.01 * _to_samples(points, n_samples)
