"""What is decoded equals what was written, whatever the format; what cannot be decoded says why."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from plastsearch.audio import BadAudioError, decode, resample, to_int16


def tone(rate_hz: int, seconds: float = 0.5, hz: float = 440.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.float32)


def values(path: Path, storage: str = "int16", rate_hz: int = 16_000) -> np.ndarray:
    samples, scale = decode(path, rate_hz, storage)
    return samples.astype(np.float32) * np.float32(scale)


@pytest.mark.parametrize("suffix", ["flac", "wav", "aiff"])
def test_sixteen_bits_are_kept_exactly(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(16_000), 16_000, subtype="PCM_16")
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(values(path), expected)
    np.testing.assert_array_equal(values(path, "float32"), expected)


HANDLED = [
    ("wav", "PCM_U8", 16_000, 1, 0.01),
    ("wav", "PCM_24", 16_000, 1, 1e-4),
    ("wav", "FLOAT", 16_000, 1, 1e-4),
    ("wav", "PCM_16", 192_000, 1, 0.01),
    ("wav", "PCM_16", 16_000, 6, 1e-4),
    ("flac", "PCM_16", 44_100, 2, 0.01),
    ("ogg", "VORBIS", 48_000, 2, 0.05),
    ("mp3", "MPEG_LAYER_III", 44_100, 1, 0.05),
    ("wav", "PCM_16", 8_000, 1, 0.02),
    ("wav", "PCM_16", 22_257, 1, 0.02),
]


@pytest.mark.parametrize(("suffix", "subtype", "rate_hz", "channels", "tolerance"), HANDLED)
def test_any_rate_width_and_channel_count_is_handled(tmp_path, suffix, subtype, rate_hz, channels, tolerance):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.repeat(tone(rate_hz)[:, None], channels, axis=1), rate_hz, subtype=subtype)
    wave = values(path)
    expected = tone(16_000)
    assert abs(len(wave) - len(expected)) <= (1600 if suffix == "mp3" else 1)
    inner = slice(1000, 7000)
    if suffix == "mp3":  # the codec delays; its tone is compared by level alone
        assert np.sqrt((wave[inner] ** 2).mean()) == pytest.approx(0.4 / np.sqrt(2), rel=tolerance)
    else:
        assert np.abs(wave[inner] - expected[inner]).max() < tolerance


def test_float_peaks_beyond_one_are_scaled_not_clipped(tmp_path):
    path = tmp_path / "loud.wav"
    loud = 5 * tone(16_000)
    soundfile.write(path, loud, 16_000, subtype="FLOAT")
    assert np.abs(values(path) - loud).max() < 1e-4


@pytest.mark.parametrize("peak", [1.0, -1.0, 1 - 2.0**-16, 1 - 2.0**-15, 0.0])
def test_rounding_to_sixteen_bits_never_wraps(peak):
    samples, scale = to_int16(np.array([peak, -peak], np.float32))
    np.testing.assert_allclose(samples * np.float32(scale), [peak, -peak], atol=2.0**-15)


def test_an_odd_ratio_is_resampled_without_a_huge_filter():
    assert len(resample(tone(22_257, 1.0), 22_257, 16_000)) == pytest.approx(16_000, abs=2)


def spoil(path: Path, what: str) -> Path:
    soundfile.write(path.with_suffix(".flac"), tone(16_000), 16_000)
    soundfile.write(path.with_suffix(".wav"), tone(16_000), 16_000)
    flac, wav = path.with_suffix(".flac"), path.with_suffix(".wav")
    if what == "truncated flac":
        flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
        return flac
    if what == "truncated mp3":
        mp3 = path.with_suffix(".mp3")
        soundfile.write(mp3, np.tile(tone(16_000), 8), 16_000)
        mp3.write_bytes(mp3.read_bytes()[: mp3.stat().st_size // 2])
        return mp3
    if what == "truncated wav":
        wav.write_bytes(wav.read_bytes()[:4000])
    elif what == "text":
        wav.write_text("this is\nnot audio\n")
    elif what == "binary":
        wav.write_bytes(bytes(range(256)) * 8)
    elif what == "empty":
        wav.write_bytes(b"")
    elif what == "no samples":
        soundfile.write(wav, np.zeros(0), 16_000)
    elif what == "silent":
        soundfile.write(wav, np.zeros(100), 16_000)
    elif what == "nan":
        soundfile.write(wav, np.array([0.1, np.nan, np.inf], np.float32), 16_000, subtype="FLOAT")
    elif what == "missing":
        wav.unlink()
    elif what == "folder":
        wav.unlink()
        wav.mkdir()
    return wav


BAD = [
    ("truncated flac", "truncated or damaged"),
    ("truncated mp3", "truncated or damaged"),
    ("truncated wav", "truncated or damaged: 3,956 of 16,000 bytes of audio"),
    ("text", "not audio: text: 'this is"),
    ("binary", "not audio"),
    ("empty", "empty file"),
    ("no samples", "no samples"),
    ("silent", "every sample is zero"),
    ("nan", "NaN or infinite samples: 2 of 3"),
    ("missing", "missing"),
    ("folder", "not audio: it is a folder"),
]


@pytest.mark.parametrize(("what", "reason"), BAD)
def test_a_bad_file_says_why(tmp_path, what, reason):
    with pytest.raises(BadAudioError) as caught:
        decode(spoil(tmp_path / "a", what), 16_000)
    assert str(caught.value).startswith(reason)


def test_a_streamed_wav_without_a_size_is_accepted(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(16_000), 16_000)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"data") + 4
    raw[4:8] = raw[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(raw))
    assert len(decode(path, 16_000)[0]) == 8000
