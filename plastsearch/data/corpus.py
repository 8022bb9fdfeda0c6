"""Opens a corpus for training and search, and, to the holder of a key, for evaluation: manifest → decoded clips."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.audio import Storage
from plastsearch.data.cache import Located, PoolId, Progress, clip_keys, prepare, stat_all
from plastsearch.data.clips import ClipSet
from plastsearch.data.corpora import EVALUATION_ONLY
from plastsearch.data.evaluation import EvaluationKey, require
from plastsearch.data.manifest import Manifest, keep, note_rows
from plastsearch.data.policy import dev_rows, held_out_rows, stratified, training_rows
from plastsearch.data.problems import Problem
from plastsearch.data.request import DataRequest, Source
from plastsearch.data.sources import read_source, second_source
from plastsearch.errors import DataError


@dataclass(frozen=True)
class CorpusView:
    """What training and the search may see of a corpus."""

    train: ClipSet
    search_dev: ClipSet
    bad_clips: int  # left out under `on_bad: skip`
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A hash over the content of both sets."""
        return hashlib.sha256(f"{self.train.fingerprint} {self.search_dev.fingerprint}".encode()).hexdigest()[:32]

    def calibration(self, n: int, seed: int) -> ClipSet:
        """About n training clips, each attack and bona fide in their proportions."""
        rows = np.arange(len(self.train), dtype=np.int64)
        table = pa.table({"attack": pa.array(self.train.attacks.tolist()), "row": pa.array(rows)})
        return self.train.select(stratified(table, n, seed)["row"].to_numpy())


@dataclass(frozen=True)
class Opener:
    """Where decoded clips go and who hears about it."""

    cache: Path
    rate_hz: int
    storage: Storage
    workers: int | None = None
    progress: Progress | None = None
    on_wait: Callable[[str], None] | None = None

    def clips(self, manifest: Manifest, split: str, table: pa.Table, key: EvaluationKey | None = None) -> ClipSet:
        """The usable clips of these rows, decoded if need be; whatever is wrong goes to the manifest's problems."""
        require(split, key)
        table, located = self.decode(manifest, split, table)
        return ClipSet(split, table, located, self.rate_hz, self.storage)

    def decode(self, manifest: Manifest, split: str, table: pa.Table) -> tuple[pa.Table, Located]:
        """Decode what the cache lacks; returns the usable rows and where their samples lie."""
        sizes, times = stat_all(manifest.root, table["path"])
        missing, empty = sizes < 0, sizes == 0
        note_rows(manifest, split, table, missing, "missing file", lambda i: str(manifest.root / table["path"][i].as_py()))
        note_rows(manifest, split, table, empty, "empty file", lambda i: table["path"][i].as_py())
        if missing.all():
            first = manifest.root / table["path"][0].as_py()
            raise DataError(f"{manifest.corpus}: none of the {len(table):,} {split} clips of {manifest.sources[split]} exists "
                            f"(the first would be {first}); check `data.root`")  # fmt: skip
        there = ~(missing | empty)
        table, sizes, times = keep(table, there), sizes[there], times[there]
        pool = PoolId(manifest.corpus, split, self.rate_hz, self.storage, manifest.variant or "")
        keys = clip_keys(table["path"], sizes, times)
        at = prepare(
            pool, self.cache, manifest.root, table["path"], keys, self.workers, self.progress, self.on_wait
        )
        bad = np.asarray(pc.is_valid(at.kinds))
        if bad.any():
            _note_bad(manifest, split, table, bad, at)
            table, at = keep(table, ~bad), take(at, np.flatnonzero(~bad))
        return table, at


def take(at: Located, rows: np.ndarray) -> Located:
    """The places of some of the rows."""
    chosen = pa.array(rows)
    return Located(at.shards, at.shard[rows], at.position[rows], at.length[rows], at.scale[rows],
                   at.audio.take(chosen), at.kinds.take(chosen), at.details.take(chosen))  # fmt: skip


def _note_bad(manifest: Manifest, split: str, table: pa.Table, bad: np.ndarray, at: Located) -> None:
    where = np.flatnonzero(bad)
    for i in where[:1000].tolist():
        manifest.problems.add(
            Problem(split, manifest.sources[split], table["line"][i].as_py(), table["path"][i].as_py(),
                    at.kinds[i].as_py(), at.details[i].as_py() or "")  # fmt: skip
        )
    for entry in pc.value_counts(at.kinds.take(pa.array(where[1000:]))).to_pylist():
        manifest.problems.count_more(entry["values"], entry["counts"])


def open_corpus(
    data: DataRequest,
    cache: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> CorpusView:
    """The training clips and the clips the search may score on, decoded once and shared; raises DataError."""
    if data.corpus in EVALUATION_ONLY:
        raise DataError(f"{data.corpus} is for evaluation only: it has no training clips")
    opener = Opener(Path(cache), data.rate_hz, data.storage, workers, progress, on_wait)
    policy = data.search_dev.policy
    held_out = data.search_dev.attacks if policy == "held_out_attacks" else ()
    needed = ("train",) if policy == "second_corpus" else ("train", "dev")
    manifest = read_source(source_of(data), opener.cache, needed=needed, on_wait=on_wait)
    cap = None if data.corpus == "synthetic" else data.clips
    train_rows = stratified(training_rows(manifest, held_out), cap, data.seed)
    other = manifest
    if policy == "second_corpus":
        other = _second(data, opener)
        scored_rows = dev_rows(other)
    else:
        scored_rows = held_out_rows(manifest, held_out) if held_out or policy == "held_out_attacks" else dev_rows(manifest)
    train = opener.clips(manifest, "train", train_rows)
    scored = opener.clips(other, "dev", stratified(scored_rows, cap, data.seed))
    scored = without_leaks(scored, train, other)
    if other is not manifest:
        manifest.problems.extend(other.problems)
    return _view(data, manifest, train, scored)


def _second(data: DataRequest, opener: Opener) -> Manifest:
    corpus = data.search_dev.corpus
    if corpus is None:
        raise DataError("search_dev policy second_corpus: `data.search_dev.corpus` is missing")
    if corpus in EVALUATION_ONLY:
        raise DataError(f"search_dev: {corpus} is for evaluation only; the search must not score on it")
    source = second_source(corpus, data.search_dev.root, data.search_dev.variant, source_of(data))
    return read_source(source, opener.cache, needed=("dev",), on_wait=opener.on_wait)


def _view(data: DataRequest, manifest: Manifest, train: ClipSet, scored: ClipSet) -> CorpusView:
    if data.on_bad == "refuse":
        manifest.problems.refuse(manifest.corpus)
    for clips in (train, scored):
        if len(np.unique(clips.labels)) < 2:
            raise DataError(f"{manifest.corpus}: of {clips.split}, clips of one class only are left:\n{manifest.problems.text()}")
    return CorpusView(train, scored, len(manifest.problems), tuple(map(str, manifest.problems.entries)), tuple(manifest.notes))


def without_leaks(later: ClipSet, earlier: ClipSet, manifest: Manifest) -> ClipSet:
    """The later set without clips whose audio is also in the earlier one; each is noted as a problem."""
    seen = pa.array(earlier.audio_hashes().tolist(), pa.binary(16))
    leaked = np.asarray(pc.is_in(pa.array(later.audio_hashes().tolist(), pa.binary(16)), value_set=seen))
    if not leaked.any():
        return later
    note_rows(manifest, later.split, later.table, leaked, "same audio in two splits", lambda i: f"also in {earlier.split}")
    return later.select(np.flatnonzero(~leaked))


def open_evaluation(
    data: DataRequest,
    cache: Path,
    key: EvaluationKey,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> ClipSet:
    """All clips of the evaluation split, for the finalists step alone; raises EvaluationClosedError for others."""
    require("eval", key)
    opener = Opener(Path(cache), data.rate_hz, data.storage, workers, progress, on_wait)
    manifest = read_source(source_of(data), opener.cache, needed=("eval",), on_wait=on_wait)
    clips = opener.clips(manifest, "eval", manifest.splits["eval"], key)
    if data.on_bad == "refuse":
        manifest.problems.refuse(manifest.corpus)
    return clips


def source_of(data: DataRequest) -> Source:
    """The part of a request that names files."""
    return Source(data.corpus, data.root, data.variant, data.manifest, data.seed, data.clips, data.difficulty)
