"""Pools of decoded clips: decoded once per content, shared by every epoch, trial and process that can see the folder.

A pool holds the shards of one split of one corpus at one rate and storage. Each clip is found by a key over its path
below the root, its size and its time of change: looking is cheap (no audio is read), a changed file gets a new key,
and a copy of the corpus elsewhere is recognised if it kept its times. Whatever is missing is decoded and added;
what is there stays, so an interrupted preparation resumes and other selections of the same corpus share the clips.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.audio import Storage
from plastsearch.data.decoding import decode_all, usable_cores
from plastsearch.data.lock import hold
from plastsearch.data.shards import FORMAT, KEY_BYTES, Job, read_index
from plastsearch.errors import DataError

CLIPS_PER_SHARD = 1024  # one job of one worker; an interruption loses at most this much per worker
SMALLEST_JOB = 32
STAT_THREADS = 16  # network file systems answer many questions at once

Progress = Callable[[str, int, int], None]  # what, done, total


@dataclass(frozen=True)
class PoolId:
    """What the clips of a pool have in common."""

    corpus: str
    split: str
    rate_hz: int
    storage: Storage
    variant: str = ""

    def folder(self, cache: Path) -> Path:
        """The pool's place below the cache folder."""
        content = json.dumps([FORMAT, self.corpus, self.variant, self.split, self.rate_hz, self.storage])
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        return cache / "clips" / f"{self.corpus}-{self.split}-{digest}"


@dataclass(frozen=True)
class Located:
    """Where the clips of a request lie, row by row; rows with a `kind` cannot be used."""

    shards: tuple[str, ...]
    shard: npt.NDArray[np.int32]
    position: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float32]
    audio: pa.Array
    kinds: pa.Array
    details: pa.Array


def stat_all(root: Path, paths: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Size and time of change (ns) of each file; size -1 where there is none."""
    sizes = np.full(len(paths), -1, np.int64)
    times = np.zeros(len(paths), np.int64)
    base = str(root)

    def look(start: int) -> None:
        for i, path in enumerate(paths[start : start + 2048].to_pylist(), start):
            try:
                found = os.stat(os.path.join(base, path))
            except OSError:  # missing, or a broken link: reported by the caller with its line
                continue
            sizes[i], times[i] = found.st_size, found.st_mtime_ns

    with ThreadPoolExecutor(STAT_THREADS) as threads:
        list(threads.map(look, range(0, len(paths), 2048)))
    return sizes, times


def clip_keys(paths: pa.ChunkedArray, sizes: npt.NDArray[np.int64], times: npt.NDArray[np.int64]) -> pa.Array:
    """One key per clip."""
    keys = bytearray()
    for start in range(0, len(paths), 4096):
        part = slice(start, start + 4096)
        for path, size, time_ns in zip(
            paths[part].to_pylist(), sizes[part].tolist(), times[part].tolist(), strict=True
        ):
            keys += hashlib.blake2b(f"{path}\0{size}\0{time_ns}".encode(), digest_size=KEY_BYTES).digest()
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(paths), [None, pa.py_buffer(bytes(keys))])


def prepare(
    pool: PoolId,
    cache: Path,
    root: Path,
    paths: pa.ChunkedArray,
    keys: pa.Array,
    workers: int | None = None,
    progress: Progress | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Located:
    """Decode what the pool lacks, one process at a time, and say where every clip lies."""
    folder = pool.folder(cache)
    found = locate(folder, keys)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        with hold(folder / "lock", f"preparing {pool.corpus} {pool.split}", on_wait):
            found = locate(folder, keys)  # whoever held the lock may have done the work
            if found is None:
                _fill(pool, folder, root, paths, keys, workers or usable_cores(), progress)
                found = locate(folder, keys)
    if found is None:
        raise DataError(f"{folder}: clips are missing after preparation; delete the folder and prepare again")
    return found


def _fill(
    pool: PoolId,
    folder: Path,
    root: Path,
    paths: pa.ChunkedArray,
    keys: pa.Array,
    workers: int,
    progress: Progress | None,
) -> None:
    for part in folder.glob(".*.part"):  # left by a killed process: we hold the lock, so nobody writes them
        part.unlink(missing_ok=True)
    present, _ = _read_pool(folder)
    lacking = np.flatnonzero(~np.asarray(pc.is_in(keys, value_set=present)))
    _, first = np.unique(np.asarray(keys.take(pa.array(lacking)).to_numpy(zero_copy_only=False)), return_index=True)
    lacking = lacking[np.sort(first)]
    _check_space(folder, root, paths, lacking, pool)
    size = max(SMALLEST_JOB, min(CLIPS_PER_SHARD, -(-len(lacking) // (4 * workers))))
    jobs = [_job(pool, folder, root, paths, keys, lacking[i : i + size]) for i in range(0, len(lacking), size)]
    done = 0
    what = f"decoding {pool.corpus} {pool.split}"

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(what, done, len(lacking))

    decode_all(jobs, workers, advance)


def _job(
    pool: PoolId, folder: Path, root: Path, paths: pa.ChunkedArray, keys: pa.Array, where: npt.NDArray[np.int64]
) -> Job:
    chosen = pa.array(where)
    return Job(
        str(folder), str(root), paths.take(chosen).to_pylist(), keys.take(chosen).to_pylist(), pool.rate_hz, pool.storage
    )


def _check_space(
    folder: Path, root: Path, paths: pa.ChunkedArray, lacking: npt.NDArray[np.int64], pool: PoolId
) -> None:
    """Refuse early what cannot fit: FLAC of speech is at least a quarter of its 16-bit samples."""
    sample = paths.take(pa.array(lacking[:: max(1, len(lacking) // 64)])).to_pylist()
    mean = np.mean([os.path.getsize(path) if os.path.exists(path := os.path.join(root, name)) else 0 for name in sample])
    need = float(mean) * len(lacking) * (1.5 if pool.storage == "int16" else 3.0)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise DataError(
            f"{folder}: {len(lacking):,} clips of {pool.corpus} need about {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            "free; name another cache folder, or set `data.clips` to a smaller number"
        )


def _read_pool(folder: Path) -> tuple[pa.Array, list[tuple[str, int]]]:
    """All keys of a pool in shard order, and the shards with their number of rows."""
    keys, shards = [], []
    for path in sorted(folder.glob("*.arrow")):
        parts = read_index(path)
        keys += [part.keys for part in parts]
        shards.append((str(path), sum(len(part.keys) for part in parts)))
    return pa.concat_arrays(keys) if keys else pa.array([], pa.binary(KEY_BYTES)), shards


def locate(folder: Path, keys: pa.Array) -> Located | None:
    """Where the clips lie, or None if the pool lacks any of them."""
    shards = sorted(folder.glob("*.arrow")) if folder.is_dir() else []
    indexes = [(number, part) for number, path in enumerate(shards) for part in read_index(path)]
    if not indexes:
        return None if len(keys) else _nothing()
    parts = [part for _, part in indexes]
    row = pc.index_in(keys, value_set=pa.concat_arrays([part.keys for part in parts]))
    if row.null_count:
        return None
    at = row.to_numpy()
    shard = np.concatenate([np.full(len(part.keys), number, np.int32) for number, part in indexes])
    return Located(
        tuple(str(path) for path in shards),
        shard[at],
        np.concatenate([part.position for part in parts])[at],
        np.concatenate([part.length for part in parts])[at],
        np.concatenate([part.scale for part in parts])[at],
        pa.concat_arrays([part.audio for part in parts]).take(row),
        pa.concat_arrays([part.kinds for part in parts]).take(row),
        pa.concat_arrays([part.details for part in parts]).take(row),
    )


def _nothing() -> Located:
    ints = np.zeros(0, np.int64)
    text = pa.array([], pa.string())
    return Located((), ints.astype(np.int32), ints, ints, ints.astype(np.float32),
                   pa.array([], pa.binary(KEY_BYTES)), text, text)  # fmt: skip
