"""Audio files as the model heard its clips: mono, at its rate, rounded to 16 bits if its corpus was kept so."""

import struct
import wave as riff
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor
from torchaudio.transforms import Resample

LARGEST_TERM = 1000  # of a resampling ratio: beyond it the filter bank would fill the memory


def read_wave(path: str | Path, rate_hz: int, storage: str) -> Tensor:
    """One row of samples at the model's rate."""
    samples, source_hz = _samples(str(path))
    if not samples.numel():
        raise ValueError(f"{path}: no samples")
    if not bool(samples.isfinite().all()):
        raise ValueError(f"{path}: NaN or infinite samples")
    if not bool(samples.any()):
        raise ValueError(f"{path}: every sample is zero")
    return at_rate(samples, source_hz, rate_hz, storage)


def at_rate(samples: Tensor, source_hz: int, rate_hz: int, storage: str) -> Tensor:
    """Samples at the model's rate and in its precision."""
    if source_hz != rate_hz:
        ratio = Fraction(source_hz, rate_hz)
        if max(ratio.numerator, ratio.denominator) > LARGEST_TERM:
            ratio = ratio.limit_denominator(LARGEST_TERM)
        samples = Resample(ratio.numerator, ratio.denominator)(samples)
    return in_16_bits(samples) if storage == "int16" else samples


def in_16_bits(samples: Tensor) -> Tensor:
    """Rounded to 16 bits; a peak beyond 1 widens the steps and is not clipped."""
    peak = float(samples.abs().max())
    step = 2.0**-15 if peak < 1 - 2.0**-16 else peak / 32767
    scale = torch.tensor(step, dtype=torch.float32)
    return (samples / scale).round().to(torch.int16).to(torch.float32) * scale


def _samples(path: str) -> tuple[Tensor, int]:
    """Mono samples and their rate: soundfile reads most formats, Python alone WAV of 16 bits."""
    try:
        import soundfile
    except ImportError:
        return _plain_wav(path)
    frames, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return _mono(torch.from_numpy(frames)), int(rate_hz)


def _plain_wav(path: str) -> tuple[Tensor, int]:
    try:
        with riff.open(path, "rb") as file:
            channels, width, rate_hz = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (riff.Error, EOFError) as error:
        raise ValueError(f"{path}: {error}; to read more than WAV of 16 bits: pip install soundfile") from None
    if width != 2:
        raise ValueError(f"{path}: {8 * width} bits; to read more than WAV of 16 bits: pip install soundfile")
    whole = len(data) // (2 * channels) * channels
    values = torch.tensor(struct.unpack(f"<{whole}h", data[: 2 * whole]), dtype=torch.float32)
    return _mono(values.reshape(-1, channels) / 32768), rate_hz


def _mono(frames: Tensor) -> Tensor:
    return frames[:, 0].contiguous() if frames.shape[1] == 1 else frames.mean(1)
