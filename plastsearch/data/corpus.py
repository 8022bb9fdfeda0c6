"""Opens a corpus for training and search, and, to the holder of a key, for evaluation: manifest → decoded clips."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.cache import Decoder, Progress, decode_rows, known_audio, shards_of
from plastsearch.data.choice import choose_rows, source_of, stratified
from plastsearch.data.clips import ClipSet
from plastsearch.data.evaluation import EvaluationKey, require
from plastsearch.data.manifest import SAME_AUDIO, Manifest, note_rows
from plastsearch.data.sources import DataRequest, read_source
from plastsearch.errors import DataError

Opened = TypeVar("Opened")
MOST = 4  # of a process; a search may vary the corpus
_everything: "list[Forgetful]" = []


class Forgetful(Protocol):
    """What begins anew in a new process."""

    def forget(self) -> None: ...


class Remembered(Generic[Opened]):
    """What a process opened last, so that the next of many trials does not list and hash every file again.

    It is opened anew once a protocol, a folder of clips or a shard of decoded ones has another time of change. A clip
    that is rewritten in place is not noticed: what was decoded of it is read, as by the trials before.
    """

    def __init__(self, most: int = MOST) -> None:
        _everything.append(self)
        self._most = most
        self._opened: OrderedDict[Hashable, tuple[Opened, list[str], list[int]]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], tuple[Opened, Iterable[str]]]) -> Opened:
        """What was opened under that key; `make` opens it and names the files and folders that it rests on."""
        found = self._opened.pop(key, None)
        if found is None or _times(found[1]) != found[2]:
            opened, places = make()
            listed = list(dict.fromkeys(places))
            found = (opened, listed, _times(listed))
        self._opened[key] = found  # at the end: what was not asked for longest goes first
        while len(self._opened) > self._most:
            self._opened.popitem(last=False)
        return found[0]

    def forget(self) -> None:
        """As in a new process."""
        self._opened.clear()


def places_of(manifest: Manifest, clips: pa.Table, shards: Sequence[str]) -> list[str]:
    """What clips rest on: the list that names them, the folders of their files, their decoded samples."""
    # folders, not files: a look at a million files is what is to be saved; a file added or taken away shows there
    folders = pc.unique(pc.replace_substring_regex(clips["path"], "(^|/)[^/]*$", "")).to_pylist()
    below = [os.path.join(manifest.root, folder) for folder in folders]  # noqa: PTH118 - may be many
    return [*manifest.sources.values(), *below, *shards]


def name_of(data: DataRequest, cache: Path) -> Hashable:
    """All of a request that changes which clips are found; how they are cut and changed does not."""
    other = data.search_dev
    scored = (other.policy, other.attacks, other.corpus, other.root, other.variant, other.manifest)
    return source_of(data), scored, data.rate_hz, data.storage, data.on_bad, str(cache.absolute())


def forget_corpora() -> None:
    """List all files anew at the next opening, as a new process does."""
    for remembered in _everything:
        remembered.forget()


def _times(places: Iterable[str]) -> list[int]:
    """-1 for what is gone."""
    return [_time(place) for place in places]


def _time(place: str) -> int:
    try:
        return os.stat(place).st_mtime_ns  # noqa: PTH116
    except OSError:
        return -1


OnWait = Callable[[str], None]
WhileWaiting = Callable[[], None]


@dataclass(frozen=True)
class OpenCorpus:
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
        """At most n training clips (but one of each attack), attacks and bona fide in their proportions."""
        rows = np.arange(len(self.train), dtype=np.int64)
        table = pa.table({"attack": self.train.table["attack"], "row": pa.array(rows)})
        return self.train.select(stratified(table, n, seed)["row"].to_numpy())


_corpora: Remembered[OpenCorpus] = Remembered()
_evaluations: Remembered[ClipSet] = Remembered()  # reached with the key alone


def open_corpus(
    data: DataRequest,
    cache: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    on_wait: OnWait | None = None,
    while_waiting: WhileWaiting | None = None,
) -> OpenCorpus:
    """The training clips and the clips the search may score on, decoded once and shared; raises DataError.

    A process lists the files once, see `Remembered`. `while_waiting` is asked again and again while clips are decoded
    here or elsewhere; it may raise to give up.
    """
    decoder = Decoder(Path(cache), workers, progress, on_wait, while_waiting)
    return _corpora.get(name_of(data, cache), lambda: _open_corpus(data, decoder))


def _open_corpus(data: DataRequest, decoder: Decoder) -> tuple[OpenCorpus, list[str]]:
    chosen = choose_rows(data, decoder)
    main, other = chosen.main, chosen.other
    train = _clips(data, decoder, main, "train", chosen.train)
    scored = _clips(data, decoder, other, "dev", chosen.scored)
    scored = _without(scored, train.hashes(), other, "train")  # also of another corpus, which may share recordings
    if other is not main:
        main.problems.extend(other.problems)
    places = places_of(main, train.table, train.shards) + places_of(other, scored.table, scored.shards)
    return _opened(data, main, train, scored), places


def open_evaluation(
    data: DataRequest,
    cache: Path,
    key: EvaluationKey,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    on_wait: OnWait | None = None,
    while_waiting: WhileWaiting | None = None,
) -> ClipSet:
    """All clips of the evaluation split, for the finalists step alone; raises EvaluationClosedError for others."""
    require("eval", key)
    decoder = Decoder(Path(cache), workers, progress, on_wait, while_waiting)
    return _evaluations.get(name_of(data, cache), lambda: _open_evaluation(data, decoder, key))


def _open_evaluation(data: DataRequest, decoder: Decoder, key: EvaluationKey) -> tuple[ClipSet, list[str]]:
    manifest = read_source(source_of(data), decoder, needed=("eval",))
    clips = _clips(data, decoder, manifest, "eval", manifest.splits["eval"], key)
    for split in ("train", "dev"):
        if split in manifest.splits:
            known = known_audio(manifest, split, data.rate_hz, data.storage, decoder)
            clips = _without(clips, known, manifest, split)
    _check(data, manifest, [clips])
    clips.bad_clips = len(manifest.problems)
    return clips, places_of(manifest, clips.table, clips.shards)


def _clips(
    data: DataRequest,
    decoder: Decoder,
    manifest: Manifest,
    split: str,
    table: pa.Table,
    key: EvaluationKey | None = None,
) -> ClipSet:
    """The usable clips of these rows, decoded if need be; whatever is wrong goes to the manifest's problems."""
    require(split, key)  # before anything is read: who has no key decodes nothing, either
    shards = shards_of(manifest, split, data.rate_hz, data.storage)
    usable, keys, index = decode_rows(manifest, split, table, shards, decoder)
    return ClipSet(split, usable, index.locate(keys, key), data.rate_hz, data.storage, key)


def _without(later: ClipSet, hashes: pa.Array, manifest: Manifest, earlier: str) -> ClipSet:
    """The later set without clips whose audio is also in the earlier split; each is noted as a problem."""
    leaked = np.asarray(pc.is_in(later.hashes(), value_set=hashes))
    if not leaked.any():
        return later
    note_rows(manifest, later.split, later.table, leaked, SAME_AUDIO, lambda _: f"also in {earlier}")
    return later.select(np.flatnonzero(~leaked))


def _check(data: DataRequest, manifest: Manifest, sets: list[ClipSet]) -> None:
    if data.on_bad == "refuse":
        manifest.problems.refuse(manifest.corpus)
    for clips in sets:
        if len(np.unique(clips.labels)) < 2:
            raise DataError(
                f"{manifest.corpus}: not both classes are left in {clips.split}:\n{manifest.problems.text()}"
            )


def _opened(data: DataRequest, manifest: Manifest, train: ClipSet, scored: ClipSet) -> OpenCorpus:
    _check(data, manifest, [train, scored])
    listed = tuple(map(str, manifest.problems.entries))
    return OpenCorpus(train, scored, len(manifest.problems), listed, tuple(manifest.notes))


IN_2019 = "ASVspoof2019_*_asv_scores/ASVspoof2019.*.asv.eval.gi.trl.scores.txt"


def verifier_scores(data: DataRequest, cache: Path, key: EvaluationKey) -> Path | None:
    """The file of the corpus that is evaluated, or None if it comes with none."""
    require("eval", key)
    if data.corpus != "synthetic" and not data.corpus.startswith("asvspoof2019"):
        return None
    manifest = read_source(source_of(data), Decoder(Path(cache)), needed=("eval",))
    return next(iter(sorted(manifest.root.glob(IN_2019))), None)
