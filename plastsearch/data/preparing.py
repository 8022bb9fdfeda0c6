"""Decodes whole splits ahead of trials (`data prepare`, sweeps), the evaluation split included, without opening it."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.audio import Storage
from plastsearch.data.cache import Decoder
from plastsearch.data.choice import source_of
from plastsearch.data.decoded import decode_rows, known_audio, pool_of
from plastsearch.data.manifest import Manifest, note_rows
from plastsearch.data.pool import read_pool
from plastsearch.data.problems import SAME_AUDIO
from plastsearch.data.sources import DataRequest, read_source
from plastsearch.data.views import CachedPrefix, name_of, places_of
from plastsearch.errors import DataError


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
        pool = pool_of(manifest, split, rate_hz, storage)
        table, keys, index = decode_rows(manifest, split, listed, pool, decoder)
        hashes = index.audio(keys)
        for earlier, others in seen.items():
            leaked = np.asarray(pc.is_in(hashes, value_set=others))
            note_rows(manifest, split, table, leaked, SAME_AUDIO, partial(_also_in, earlier))
        seen[split] = hashes
        samples = index.samples(keys)
        size = samples * (2 if storage == "int16" else 4) / 1e6
        folder = str(pool.folder(decoder.cache))
        result.append(Prepared(split, len(table), len(listed), samples / rate_hz / 3600, size, folder))
    return result


def kept(manifest: Manifest, splits: Collection[str], rate_hz: int, storage: Storage, cache: Path) -> tuple[int, int]:
    """How many clips of these splits the cache holds, and how many there are; for a preparation that was stopped."""
    pools = [pool_of(manifest, split, rate_hz, storage).folder(cache) for split in splits]
    listed = [len(manifest.splits[split]) for split in splits]
    held = [min(len(read_pool(pool).keys), n) for pool, n in zip(pools, listed, strict=True)]
    return sum(held), sum(listed)


def prepare_evaluation(data: DataRequest, decoder: Decoder) -> int:
    """Decode the evaluation split without opening it, so that nothing about it fails after a long search.

    Returns how many of its clips cannot be used; raises DataError if there are any, unless `on_bad` says to skip them.
    """
    return _prepare_evaluation(data, decoder)[0]


def check_evaluation(data: DataRequest, decoder: Decoder) -> None:
    """The same ahead of a trial's training, once per process (see kept.py), saying what these clips are needed for."""
    try:
        _looked.get(name_of(data, decoder.cache), lambda: _prepare_evaluation(data, decoder))
    except DataError as error:
        reason = (
            "finalists are scored on the evaluation split, so it is looked at before training (`finalists.top: 0`: not)"
        )
        raise DataError(f"{reason}:\n{error}") from None


_looked: CachedPrefix[int] = CachedPrefix()


def _prepare_evaluation(data: DataRequest, decoder: Decoder) -> tuple[int, list[str]]:
    manifest = read_source(source_of(data), decoder, needed=("eval",))
    pool = pool_of(manifest, "eval", data.rate_hz, data.storage)
    table, keys, index = decode_rows(manifest, "eval", manifest.splits["eval"], pool, decoder)
    hashes = index.audio(keys)
    leaking = np.zeros(len(table), bool)
    for split in ("train", "dev"):
        if split in manifest.splits:
            known = known_audio(manifest, split, data.rate_hz, data.storage, decoder)
            leaked = np.asarray(pc.is_in(hashes, value_set=known))
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
