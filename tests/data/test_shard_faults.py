"""A file server in trouble costs a retry, never decoded clips."""

import contextlib
import errno
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from plastsearch.data import index as clip_index
from plastsearch.data.cache import Decoder, Shards, clip_keys, fill, stat_all
from plastsearch.data.index import read_clip_index
from plastsearch.errors import StorageError
from plastsearch.execute.messages import Failed
from plastsearch.execute.worker import _failed

SHARDS = Shards("noise", "train", 16_000, "int16")


@pytest.fixture
def decoded(tmp_path: Path) -> tuple[pa.ChunkedArray, pa.Array, list[Path]]:
    """Forty clips in two shards."""
    (tmp_path / "audio").mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        soundfile.write(tmp_path / "audio" / f"{i}.flac", rng.uniform(-0.5, 0.5, 800), 16_000)
    paths = pa.chunked_array([[f"{i}.flac" for i in range(40)]])
    keys = clip_keys(paths, *stat_all(tmp_path / "audio", paths))
    fill(SHARDS, Decoder(tmp_path / "cache", 1), tmp_path / "audio", paths, keys)
    return paths, keys, sorted(SHARDS.folder(tmp_path / "cache").glob("*.arrow"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT])
def test_a_shard_that_cannot_be_read_now_is_kept_and_the_trial_may_run_again(number, decoded, tmp_path, monkeypatch):
    paths, keys, shards = decoded
    contents = [path.read_bytes() for path in shards]

    def troubled(path: Path) -> Any:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(clip_index, "read_index", troubled)
        with pytest.raises(StorageError, match=r"cannot be read now .* nothing was deleted") as raised:
            fill(SHARDS, Decoder(tmp_path / "cache", 1), tmp_path / "audio", paths, keys)
    end = _failed(raised.value, "cpu")
    assert isinstance(end, Failed)
    assert end.again
    assert [path.read_bytes() for path in shards] == contents
    decoded_again: list[int] = []
    decoder = Decoder(tmp_path / "cache", 1, progress=lambda what, done, total: decoded_again.append(total))
    fill(SHARDS, decoder, tmp_path / "audio", paths, keys)
    assert decoded_again == []


def test_trouble_between_two_looks_deletes_nothing_either(decoded, tmp_path, monkeypatch):
    """The second look is the one whose findings are deleted: while the lock is held, before decoding."""
    paths, keys, shards = decoded
    shards[0].write_bytes(shards[0].read_bytes()[:1000])  # this one is damaged indeed
    looks, read = [], clip_index.read_index

    def troubled(path: Path) -> Any:
        looks.append(path)
        if path == shards[1] and len(looks) > 4:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(clip_index, "read_index", troubled)
        with pytest.raises(StorageError, match="nothing was deleted"):
            fill(SHARDS, Decoder(tmp_path / "cache", 1), tmp_path / "audio", paths, keys)
    assert shards[1].exists()
    assert len(fill(SHARDS, Decoder(tmp_path / "cache", 1), tmp_path / "audio", paths, keys).audio(keys)) == 40


def test_too_many_open_files_are_no_damage(decoded):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    folder = decoded[2][0].parent
    listed = _Listed(list(folder.iterdir()))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(StorageError, match="Too many open files"):
            read_clip_index(listed)
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(read_clip_index(folder).shards) == 2


class _Listed:
    """A folder whose content is known without opening it."""

    def __init__(self, names: list[Path]) -> None:
        self.name = names[0].parent.name
        self._names = names

    def glob(self, _: str) -> list[Path]:
        return [path for path in self._names if path.suffix == ".arrow"]


def test_a_shard_that_another_process_has_just_taken_away_counts_as_lacking(decoded, monkeypatch):
    _, keys, shards = decoded
    read = clip_index.read_index

    def vanishing(path: Path) -> Any:
        if path == shards[0]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return read(path)

    monkeypatch.setattr(clip_index, "read_index", vanishing)
    index = read_clip_index(shards[0].parent)
    assert index.broken == ()
    assert 0 < index.lacks(keys).sum() < 40
