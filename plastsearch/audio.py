"""One audio file → mono samples at the wanted rate, or the reason why not; soundfile is used here and nowhere else.

What libsndfile does not open goes to torchaudio, where torchcodec is installed.
"""

import io
import os
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import soundfile
from numpy.typing import NDArray

Storage = Literal["int16", "float32"]
Samples = npt.NDArray[np.int16 | np.float32]  # one-dimensional
Room = Callable[[int], Samples]  # somewhere to put so many samples of the wanted storage
DTYPES: dict[str, type[np.int16 | np.float32]] = {"int16": np.int16, "float32": np.float32}
SUFFIXES = frozenset({".flac", ".wav", ".mp3", ".ogg", ".opus", ".aiff", ".aif", ".au"})
EXACT_INT16 = frozenset({"PCM_16", "PCM_S8", "PCM_U8"})  # 16 bits hold every value of these
COUNTED = frozenset({"FLAC", "WAV", "WAVEX", "AIFF", "AU", "RF64", "W64"})  # the header's frame count is exact
UNKNOWN_SIZE = 0x7FFFF000  # a RIFF size at or above this was written by a stream that could not seek back
LARGEST_TERM = 1000  # of a resampling ratio: beyond it the filter bank would fill the memory
LEAST_RATE_HZ, MOST_RATE_HZ = 100, 1_000_000  # of a file that is to be resampled; a damaged header says anything
MOST_FRAMES = 1 << 32  # three days at 16 kHz: a header that says more does not know
MP3_SLACK = 2 * 1152  # samples; encoders differ in whether their delay counts
MP3_START = 1 << 16  # where the header is found, even behind a tag with a small picture
PEEK = 512  # samples that nearly always show that a clip sounds


class BadAudioError(Exception):
    """A file that cannot be used; `kind` counts alike reasons together."""

    def __init__(self, kind: str, detail: str = "") -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(f"{kind}: {detail}" if detail else kind)


def decode(
    path: str | Path, rate_hz: int, storage: Storage = "int16", room: Room | None = None
) -> tuple[Samples, float]:
    """Mono samples at `rate_hz`, in the room offered if any, and the scale that turns them into values.

    `int16` keeps 16-bit mono files at their own rate bit for bit (scale 2^-15). Everything else is rounded to 16 bits;
    a peak beyond 1 (resampling, float files) widens the scale instead of clipping. Raises BadAudioError.
    """
    room = room or (lambda n: np.empty(n, DTYPES[storage]))
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:  # a name need not be valid text
            if storage == "int16" and file.subtype in EXACT_INT16 and file.channels == 1 and file.samplerate == rate_hz:
                return _sounding(_read(file, path, room)), 2.0**-15
            channels, source_hz = file.channels, file.samplerate
            if not LEAST_RATE_HZ <= source_hz <= MOST_RATE_HZ:
                raise BadAudioError("no usable sample rate", f"{source_hz} Hz in the header")
            wave = _mono(_read(file, path, lambda n: np.empty((n, channels), np.float32)))
    except soundfile.LibsndfileError as error:
        other = _by_torchaudio(path)
        if other is None:
            raise BadAudioError(*_why_unreadable(Path(path), error.error_string)) from None
        wave, source_hz = other
    except MemoryError as error:
        raise BadAudioError("too long for the memory", str(error)) from None
    if not np.isfinite(wave).all():
        raise BadAudioError("NaN or infinite samples", f"{int((~np.isfinite(wave)).sum()):,} of {len(wave):,}")
    _sounding(wave)
    if source_hz != rate_hz:
        wave = resample(wave, source_hz, rate_hz)
    stored, scale = (wave, 1.0) if storage == "float32" else to_int16(wave)
    samples = room(len(stored))
    samples[:] = stored
    return samples, scale


def _by_torchaudio(path: str | Path) -> tuple[npt.NDArray[np.float32], int] | None:
    """What torchaudio opens beyond libsndfile (AAC in .m4a, WebM), where torchcodec and FFmpeg are there."""
    if find_spec("torchcodec") is None or not Path(path).is_file() or not Path(path).stat().st_size:
        return None
    import torchaudio

    try:
        wave_CT, rate_hz = torchaudio.load(os.fsdecode(path))
    except (RuntimeError, ValueError, OSError, ImportError):
        return None  # no audio to either of them; libsndfile's words are for people
    if not wave_CT.numel():
        raise BadAudioError("no samples")
    mono: npt.NDArray[np.float32] = wave_CT.float().mean(dim=0).numpy()
    return mono, int(rate_hz)


def to_int16(wave: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int16], float]:
    """Rounded 16-bit samples and the scale that restores their values."""
    peak = float(np.abs(wave).max(initial=0.0))
    scale = 2.0**-15 if peak < 1 - 2.0**-16 else peak / 32767
    return np.rint(wave / np.float32(scale)).astype(np.int16), scale


def resample(wave: npt.NDArray[np.float32], source_hz: int, rate_hz: int) -> npt.NDArray[np.float32]:
    """Band-limited resampling; an odd ratio is replaced by the nearest one with small terms (off by < 1e-6)."""
    import torch

    ratio = Fraction(source_hz, rate_hz)
    if max(ratio.numerator, ratio.denominator) > LARGEST_TERM:
        ratio = ratio.limit_denominator(LARGEST_TERM)
    with torch.no_grad():
        result = _resampler(ratio.numerator, ratio.denominator)(torch.from_numpy(np.ascontiguousarray(wave)))
    values: npt.NDArray[np.float32] = result.numpy()
    return values


@lru_cache(maxsize=8)
def _resampler(source: int, target: int) -> Any:
    # torch costs two seconds to import, and most corpora are already at the wanted rate
    from torchaudio.transforms import Resample

    return Resample(source, target)


def _read(file: soundfile.SoundFile, path: str | Path, room: Room) -> Samples:
    expected = file.frames
    if expected == 0:
        raise BadAudioError("no samples")
    if expected > MOST_FRAMES:
        raise BadAudioError("no length in the header", "written through a pipe? encode it again, into a file")
    try:
        data: Samples = file.read(out=room(expected))
    except soundfile.LibsndfileError as error:
        raise BadAudioError("truncated or damaged", error.error_string) from None
    if len(data) < expected - MP3_SLACK and file.format == "MP3" and _counts_frames(Path(path)):
        raise BadAudioError("truncated or damaged", f"{len(data):,} of {expected:,} samples")
    if len(data) < expected and file.format in COUNTED:
        raise BadAudioError("truncated or damaged", f"{len(data):,} of {expected:,} samples")
    if not len(data):
        raise BadAudioError("no samples")
    if file.format in ("WAV", "WAVEX"):
        _check_riff(Path(path))
    return data


def _counts_frames(path: Path) -> bool:
    """Whether an MP3 says how long it is; if not, libsndfile guesses from the rate of its first frames."""
    with path.open("rb") as file:
        start = file.read(MP3_START)
    return b"Xing" in start or b"Info" in start


def _mono(frames: Samples) -> npt.NDArray[np.float32]:
    wave = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)
    return np.ascontiguousarray(wave, np.float32)


def _check_riff(path: Path) -> None:
    """A cut WAV reads without complaint, so its header is compared with the file's size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return
        position = 12
        while position + 8 <= size:
            file.seek(position)
            head = file.read(8)
            length = int.from_bytes(head[4:8], "little")
            if head[:4] == b"data":
                if length < UNKNOWN_SIZE and position + 8 + length > size:
                    raise BadAudioError("truncated or damaged", f"{size - position - 8:,} of {length:,} bytes of audio")
                return
            position += 8 + length + length % 2


def _sounding(samples: Samples) -> Samples:
    middle = len(samples) // 2
    if not samples[middle : middle + PEEK].any() and not samples.any():
        raise BadAudioError("every sample is zero")
    return samples


def _why_unreadable(path: Path, message: str) -> tuple[str, str]:
    if not path.exists():
        return "missing", ""
    if path.is_dir():
        return "not audio", "it is a folder"
    if path.stat().st_size == 0:
        return "empty file", ""
    with path.open("rb") as file:
        start = file.read(64)
    if start.isascii() and b"\0" not in start:
        return "not audio", f"text: {start[:24].decode()!r}"
    return "not audio", message.strip().rstrip(".")


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
