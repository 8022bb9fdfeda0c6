"""Samples → audio files and lossy round trips: the writing half of the door to soundfile (audio.py reads)."""

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray


def write_audio(path: Path, wave: NDArray[np.floating], rate_hz: int) -> None:
    """A mono file of 16-bit samples (or the format's own) in the format its name ends with."""
    soundfile.write(str(path), wave, rate_hz, subtype="PCM_16" if path.suffix in (".flac", ".wav") else None)


def round_trip(
    wave: NDArray[np.float32], rate_hz: int, container: str, subtype: str, quality: float
) -> NDArray[np.float32]:
    """The wave after a lossy codec, as long as before; quality 0 is the worst, 1 the best."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate_hz, 1, subtype=subtype, format=container, compression_level=1 - quality
    ) as file:
        file.write(wave)
    buffer.seek(0)
    back, _ = soundfile.read(buffer, dtype="float32")
    return np.pad(back[: len(wave)], (0, max(0, len(wave) - len(back)))).astype(np.float32)
