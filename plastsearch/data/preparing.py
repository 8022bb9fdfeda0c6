"""Decodes whole splits ahead of trials (`data prepare`, sweeps), the evaluation split included, without opening it."""

import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.audio import Storage
from plastsearch.data.cache import Decoder, decode_rows, known_audio, shards_of
from plastsearch.data.choice import source_of
from plastsearch.data.corpus import Remembered, name_of, places_of
from plastsearch.data.index import read_clip_index
from plastsearch.data.manifest import SAME_AUDIO, Manifest, note_rows
from plastsearch.data.sources import DataRequest, read_source
from plastsearch.errors import DataError

FIRST_S = 1.0  # before the first line: nothing is said of work that is over at once
EVERY_S = 5.0


class ProgressLines:
    """A line every few seconds and at the end; nothing about work that is over at once.

    Work that announces itself (0 done) cannot tell more until it is done, so its start is told, too.
    """

    def __init__(self, to: TextIO, first_s: float = FIRST_S, every_s: float = EVERY_S) -> None:
        self.to = to
        self.first_s = first_s
        self.every_s = every_s
        self.began: dict[str, float] = {}
        self.told: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        spent_s = now - self.began.setdefault(what, now)
        due = now - self.told[what] >= self.every_s if what in self.told else spent_s >= self.first_s
        if due or done == 0 or (done >= total and what in self.told):
            self.told[what] = now
            self.say(f"{what}: {done:,} of {total:,} clips, {spent_s:.0f} s")

    def say(self, text: str) -> None:
        """One line, at once."""
        self.to.write(text + "\n")
        self.to.flush()


def progress_lines() -> ProgressLines:
    """Lines on standard error."""
    return ProgressLines(sys.stderr)


@dataclass(frozen=True)
class Prepared:
    """One split after decoding."""

    split: str
    clips: int  # usable
    listed: int
    hours: float
    megabytes: float
    folder: str


def prepare_splits(
    manifest: Manifest, splits: Collection[str], rate_hz: int, storage: Storage, decoder: Decoder
) -> list[Prepared]:
    """Decode what the cache lacks of these splits; every problem found is noted in the manifest."""
    result: list[Prepared] = []
    seen: dict[str, pa.Array] = {}
    for split in splits:
        listed = manifest.splits[split]
        shards = shards_of(manifest, split, rate_hz, storage)
        table, keys, index = decode_rows(manifest, split, listed, shards, decoder)
        hashes = index.audio(keys)
        for earlier, others in seen.items():  # by samples: a copy has another name, often another container
            leaked = np.asarray(pc.is_in(hashes, value_set=others))
            note_rows(manifest, split, table, leaked, SAME_AUDIO, partial(_also_in, earlier))
        seen[split] = hashes
        samples = index.samples(keys)
        size = samples * (2 if storage == "int16" else 4) / 1e6
        folder = str(shards.folder(decoder.cache))
        result.append(Prepared(split, len(table), len(listed), samples / rate_hz / 3600, size, folder))
    return result


def kept(manifest: Manifest, splits: Collection[str], rate_hz: int, storage: Storage, cache: Path) -> tuple[int, int]:
    """How many clips of these splits the cache holds, and how many there are; for a preparation that was stopped."""
    folders = [shards_of(manifest, split, rate_hz, storage).folder(cache) for split in splits]
    listed = [len(manifest.splits[split]) for split in splits]
    held = [min(len(read_clip_index(folder).keys), n) for folder, n in zip(folders, listed, strict=True)]
    return sum(held), sum(listed)


def prepare_evaluation(data: DataRequest, decoder: Decoder) -> int:
    """Decode the evaluation split without opening it, so that nothing about it fails after a long search.

    Returns how many of its clips cannot be used; raises DataError if there are any, unless `on_bad` says to skip them.
    """
    return _prepare_evaluation(data, decoder)[0]


def check_evaluation(data: DataRequest, decoder: Decoder) -> None:
    """The same ahead of a trial's training, once per process, saying what these clips are needed for."""
    try:
        _unusable.get(name_of(data, decoder.cache), lambda: _prepare_evaluation(data, decoder))
    except DataError as error:
        reason = (
            "finalists are scored on the evaluation split, so it is looked at before training (`finalists.top: 0`: not)"
        )
        raise DataError(f"{reason}:\n{error}") from None


_unusable: Remembered[int] = Remembered()


def _prepare_evaluation(data: DataRequest, decoder: Decoder) -> tuple[int, list[str]]:
    manifest = read_source(source_of(data), decoder, needed=("eval",))
    shards = shards_of(manifest, "eval", data.rate_hz, data.storage)
    table, keys, index = decode_rows(manifest, "eval", manifest.splits["eval"], shards, decoder)
    hashes = index.audio(keys)
    leaking = np.zeros(len(table), bool)
    for split in ("train", "dev"):
        if split in manifest.splits:
            known = known_audio(manifest, split, data.rate_hz, data.storage, decoder)
            leaked = np.asarray(pc.is_in(hashes, value_set=known))
            # a clip that is in both counts once, as it would when the split is opened
            note_rows(manifest, "eval", table, leaked & ~leaking, SAME_AUDIO, partial(_also_in, split))
            leaking |= leaked
    if data.on_bad == "refuse":
        manifest.problems.refuse(manifest.corpus)
    if len(np.unique(table["label"].to_numpy()[~leaking])) < 2:
        raise DataError(f"{manifest.corpus}: not both classes are left in eval:\n{manifest.problems.text()}")
    return len(manifest.problems), places_of(manifest, table, index.shards)


def _also_in(split: str, row: int) -> str:
    del row  # the same for every clip
    return f"also in {split}"
