"""Decoded clips: decoded once per content, shared by every epoch, trial and process that can see the folder.

A folder holds the shards of one split of one corpus at one rate and storage. Each clip is found by a key over its path
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
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.audio import Storage
from plastsearch.cores import usable_cores
from plastsearch.data.decoding import decode_all
from plastsearch.data.index import ClipIndex, read_clip_index
from plastsearch.data.manifest import KEPT, Manifest, Problem, keep, note_rows
from plastsearch.data.shards import FORMAT, KEY_BYTES, Job
from plastsearch.errors import DataError
from plastsearch.files import drafts_of
from plastsearch.lock import hold

CLIPS_PER_SHARD = 1024  # one job of one worker; an interruption loses at most this much per worker
SMALLEST_JOB = 32
WORTH_A_CHILD = 16e6  # bytes of files: another interpreter takes longer to start than fewer take to decode
STAT_THREADS = 16  # network file systems answer many questions at once

Progress = Callable[[str, int, int], None]  # what, done, total


@dataclass(frozen=True)
class Shards:
    """What the decoded clips of a folder have in common."""

    corpus: str
    split: str
    rate_hz: int
    storage: Storage
    variant: str = ""

    def folder(self, cache: Path) -> Path:
        """The folder's place below the cache folder."""
        # the words in front are for people; what tells two folders apart is the digest
        content = json.dumps([FORMAT, self.corpus, self.variant, self.split, self.rate_hz, self.storage])
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        return cache / "clips" / f"{self.corpus}-{self.split}-{digest}"


@dataclass(frozen=True)
class Decoder:
    """Where decoded clips go, who makes them and who hears about it."""

    cache: Path
    workers: int | None = None  # None: every core this process may use
    progress: Progress | None = None
    on_wait: Callable[[str], None] | None = None
    while_waiting: Callable[[], None] | None = None  # asked again and again, while others or our workers decode

    def hold(self, lock: Path, purpose: str) -> AbstractContextManager[None]:
        """The only one of all processes to do this."""
        return hold(lock, purpose, self.on_wait, self.while_waiting)

    def go_on(self) -> None:
        """Raises whatever ends the waiting."""
        if self.while_waiting is not None:
            self.while_waiting()

    def say(self, what: str, done: int, total: int) -> None:
        """Tell whoever hears."""
        if self.progress is not None:
            self.progress(what, done, total)


def stat_all(root: Path, paths: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Size and time of change (ns) of each file; size -1 where there is none."""
    sizes = np.full(len(paths), -1, np.int64)
    times = np.zeros(len(paths), np.int64)
    base = str(root)

    def look(start: int) -> None:
        for i, path in enumerate(paths[start : start + 2048].to_pylist(), start):
            try:
                found = os.stat(f"{base}/{path}" if path[0] != "/" else path)  # noqa: PTH116 - a million of them
            except (
                OSError,
                ValueError,
            ):  # missing, a broken link, no name a file can have: reported by the caller with its line
                continue
            sizes[i] = found.st_size
            times[i] = found.st_mtime_ns

    with ThreadPoolExecutor(STAT_THREADS) as threads:
        list(threads.map(look, range(0, len(paths), 2048)))
    return sizes, times


def clip_keys(paths: pa.ChunkedArray, sizes: npt.NDArray[np.int64], times: npt.NDArray[np.int64]) -> pa.Array:
    """One key per clip."""
    keys = bytearray()  # one buffer for all: a million small objects would cost more than the hashing
    for start in range(0, len(paths), 4096):
        part = slice(start, start + 4096)
        for path, size, time_ns in zip(
            paths[part].to_pylist(), sizes[part].tolist(), times[part].tolist(), strict=True
        ):
            keys += hashlib.blake2b(f"{path}\0{size}\0{time_ns}".encode(), digest_size=KEY_BYTES).digest()
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(paths), [None, pa.py_buffer(bytes(keys))])


def fill(shards: Shards, decoder: Decoder, root: Path, paths: pa.ChunkedArray, keys: pa.Array) -> ClipIndex:
    """Decode what the folder lacks; one process at a time does it, the others wait and find it done."""
    folder = shards.folder(decoder.cache)
    index = read_clip_index(folder)
    if not index.lacks(keys).any():
        return index  # the usual case takes no lock, and so needs no right to write
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}; name a cache folder you may write to") from None
    with decoder.hold(folder / "lock", f"preparing {shards.corpus} {shards.split}"):
        lacking = np.flatnonzero(read_clip_index(folder).lacks(keys))  # whoever held the lock may have done the work
        if len(lacking):
            _fill(shards, decoder, root, paths, keys, lacking)
    index = read_clip_index(folder)
    if index.lacks(keys).any():
        raise DataError(f"{folder}: clips are missing after preparation; delete the folder and prepare again")
    return index


def _fill(
    shards: Shards,
    decoder: Decoder,
    root: Path,
    paths: pa.ChunkedArray,
    keys: pa.Array,
    lacking: npt.NDArray[np.int64],
) -> None:
    folder = shards.folder(decoder.cache)
    # left by a killed process or machine: we hold the lock, so nobody writes them
    for rest in (*drafts_of(folder), *read_clip_index(folder).broken):
        rest.unlink(missing_ok=True)
    mean_bytes = _check_space(folder, root, paths, lacking, shards)
    workers = min(decoder.workers or usable_cores(), 1 + int(mean_bytes * len(lacking) / WORTH_A_CHILD))
    # four jobs for each worker: none of them waits long for the last one, and shards do not get too small
    size = max(SMALLEST_JOB, min(CLIPS_PER_SHARD, -(-len(lacking) // (4 * workers))))
    jobs = [_job(shards, folder, root, paths, keys, lacking[i : i + size]) for i in range(0, len(lacking), size)]
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        decoder.say(f"decoding {shards.corpus} {shards.split}", done, len(lacking))

    advance(0)
    decode_all(jobs, workers, advance, decoder.go_on)


def _job(
    shards: Shards, folder: Path, root: Path, paths: pa.ChunkedArray, keys: pa.Array, where: npt.NDArray[np.int64]
) -> Job:
    chosen = pa.array(where)
    names = paths.take(chosen).to_pylist()
    wanted = keys.take(chosen).to_pylist()
    return Job(str(folder), str(root), names, wanted, shards.rate_hz, shards.storage)


def _check_space(
    folder: Path, root: Path, paths: pa.ChunkedArray, lacking: npt.NDArray[np.int64], shards: Shards
) -> float:
    """The mean size of a file; refuses what cannot fit, for FLAC of speech is at least a quarter of its samples."""
    # some 256 files tell the mean well enough, also where a file server is slow to answer
    sizes, _ = stat_all(root, paths.take(pa.array(lacking[:: max(1, len(lacking) // 256)])))
    mean_bytes = float(np.maximum(sizes, 0).mean())
    need = mean_bytes * len(lacking) * (1.5 if shards.storage == "int16" else 3.0)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise DataError(
            f"{folder}: {len(lacking):,} clips of {shards.corpus} need about {need / 1e9:.1f} GB, {free / 1e9:.1f} GB "
            "are free; name another cache folder, or set `data.clips` to a smaller number"
        )
    return mean_bytes


def shards_of(manifest: Manifest, split: str, rate_hz: int, storage: Storage) -> Shards:
    """Where the clips of a split belong."""
    return Shards(manifest.corpus, split, rate_hz, storage, manifest.variant or "")


def present(manifest: Manifest, table: pa.Table) -> tuple[npt.NDArray[np.bool_], pa.Array, npt.NDArray[np.int64]]:
    """Which files are there and not empty, the cache keys of those, and the size of each file (-1: missing)."""
    sizes, times = stat_all(manifest.root, table["path"])
    there = sizes > 0
    return there, clip_keys(keep(table, there)["path"], sizes[there], times[there]), sizes


def decode_rows(
    manifest: Manifest, split: str, table: pa.Table, shards: Shards, decoder: Decoder
) -> tuple[pa.Table, pa.Array, ClipIndex]:
    """Decode what the cache lacks; the usable rows, their keys and the index. All others are noted as problems."""
    table, keys = check_files(manifest, split, table)
    index = fill(shards, decoder, manifest.root, table["path"], keys)
    bad, kinds, details = index.bad(keys)
    for k, i in enumerate(bad[:KEPT].tolist()):
        line = table["line"][i].as_py()
        path = table["path"][i].as_py()
        reason = kinds[k].as_py(), details[k].as_py() or ""
        manifest.problems.add(Problem(split, manifest.sources[split], line, path, *reason))
    for entry in pc.value_counts(kinds[KEPT:]).to_pylist():
        manifest.problems.count_more(split, entry["values"], entry["counts"])
    fine = np.ones(len(table), bool)
    fine[bad] = False
    return keep(table, fine), keys.filter(pa.array(fine)), index


def known_audio(manifest: Manifest, split: str, rate_hz: int, storage: Storage, decoder: Decoder) -> pa.Array:
    """The audio hashes of a split, as far as it was ever decoded here."""
    shards = shards_of(manifest, split, rate_hz, storage)
    _, keys, _ = present(manifest, manifest.splits[split])
    return read_clip_index(shards.folder(decoder.cache)).audio(keys)


def check_files(
    manifest: Manifest, split: str, table: pa.Table, *, none_is_fine: bool = False
) -> tuple[pa.Table, pa.Array]:
    """The rows whose files are there and not empty, with their cache keys; no audio is read."""
    there, keys, sizes = present(manifest, table)
    paths = table["path"]
    if len(table) and (sizes < 0).all() and not none_is_fine:
        first = manifest.root / paths[0].as_py()
        raise DataError(
            f"{manifest.corpus}: none of the {len(table):,} {split} clips of {manifest.sources[split]} exists "
            f"(the first would be {first}); check `data.root`"
        )
    note_rows(manifest, split, table, sizes < 0, "missing file", lambda i: str(manifest.root / paths[i].as_py()))
    note_rows(manifest, split, table, sizes == 0, "empty file", lambda i: str(paths[i].as_py()))
    return keep(table, there), keys
