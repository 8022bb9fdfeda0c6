"""A shard holds what was decoded, sample for sample, however the rows fell together; equal audio hashes alike."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from plastsearch.audio import decode
from plastsearch.data import shards
from plastsearch.data.cache import Decoder, Shards, clip_keys, fill, stat_all
from plastsearch.data.clips import _mapped
from plastsearch.data.shards import Rows, audio_hash

RATE = 16_000
FORMS = [
    ("flac", RATE, 1),
    ("flac", 44_100, 2),
    ("wav", 8_000, 1),
    ("wav", RATE, 6),
    ("ogg", RATE, 1),
    ("mp3", RATE, 1),
]


def write_forms(root: Path) -> list[str]:
    root.mkdir()
    rng = np.random.default_rng(1)
    names = []
    for i, (suffix, rate_hz, channels) in enumerate(FORMS * 4):
        soundfile.write(root / f"{i}.{suffix}", rng.uniform(-0.5, 0.5, (900 + 70 * i, channels)), rate_hz)
        names.append(f"{i}.{suffix}")
    (root / "bad.flac").write_bytes(b"fLaC")
    return [*names[:9], "bad.flac", *names[9:]]


@pytest.mark.parametrize("storage", ["int16", "float32"])
@pytest.mark.parametrize("samples_per_batch", [1, 5000, 1 << 24])
def test_stored_samples_are_those_of_each_file_decoded_alone(tmp_path, monkeypatch, storage, samples_per_batch):
    import pyarrow as pa

    monkeypatch.setattr(shards, "SAMPLES_PER_BATCH", samples_per_batch)
    monkeypatch.setattr(shards, "FIRST_SAMPLES", 64)  # the buffer must grow in the middle of a batch
    names = write_forms(tmp_path / "audio")
    paths = pa.chunked_array([names])
    keys = clip_keys(paths, *stat_all(tmp_path / "audio", paths))
    place = Shards("forms", "train", RATE, storage)
    index = fill(place, Decoder(tmp_path / "cache", 1), tmp_path / "audio", paths, keys)
    at = index.locate(keys)
    assert index.bad(keys)[0].tolist() == [9]
    for i in [i for i in range(len(names)) if i != 9]:
        alone, scale = decode(tmp_path / "audio" / names[i], RATE, storage)
        mapped = _mapped(at.shards[at.shard[i]])
        held = np.frombuffer(mapped, alone.dtype, int(at.length[i]), int(at.position[i]))
        np.testing.assert_array_equal(held, alone)
        assert at.scale[i] == np.float32(scale)
        assert at.audio[i].as_py() == audio_hash(alone)


def test_an_exact_file_is_decoded_into_the_room_it_is_given(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 700), RATE)
    expected, _ = soundfile.read(tmp_path / "a.flac", dtype="int16")
    room = np.zeros(1000, np.int16)
    samples, _ = decode(tmp_path / "a.flac", RATE, "int16", lambda n: room[100 : 100 + n])
    assert np.shares_memory(samples, room)
    np.testing.assert_array_equal(room[100:800], expected)
    assert not room[:100].any()
    assert not room[800:].any()


def test_equal_samples_share_a_hash_and_any_other_sample_or_length_changes_it(monkeypatch):
    rng = np.random.default_rng(3)
    clip = rng.integers(-3000, 3000, 4001).astype(np.int16)
    seen = {audio_hash(clip)}
    for i in range(0, 4001, 40):
        for change in (1, -(2**15)):
            other = clip.copy()
            other[i] ^= np.int16(change)
            seen.add(audio_hash(other))
    seen |= {audio_hash(clip[:-1]), audio_hash(clip[1:]), audio_hash(np.append(clip, np.int16(0)))}
    seen |= {audio_hash(clip[::-1].copy()), audio_hash(np.roll(clip, 8))}
    assert len(seen) == 1 + 2 * 101 + 5
    monkeypatch.setattr(shards, "HASH_STEP", 100)
    assert audio_hash(clip.copy()) in seen


def test_long_clips_make_small_batches():
    rows = Rows("int16")
    assert not rows.full
    rows._ends.append(shards.SAMPLES_PER_BATCH)
    assert rows.full


def test_a_header_without_a_length_is_named(tmp_path):
    from plastsearch.audio import BadAudioError

    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 700), RATE)
    raw = bytearray((tmp_path / "a.flac").read_bytes())
    raw[21] &= 0xF0  # 36 bits of the stream's header count the samples; an encoder that writes to a pipe leaves them 0
    raw[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(raw)
    for storage in ("int16", "float32"):
        with pytest.raises(BadAudioError, match="no length in the header: written through a pipe"):
            decode(tmp_path / "a.flac", RATE, storage)
