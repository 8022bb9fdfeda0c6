"""`data prepare`: decodes whole splits ahead of any sweep, the evaluation split included, without opening it."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.audio import Storage
from plastsearch.data.cache import Decoder
from plastsearch.data.decoded import decode_rows, pool_of
from plastsearch.data.manifest import Manifest, note_rows
from plastsearch.data.problems import SAME_AUDIO


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


def _also_in(split: str, row: int) -> str:
    del row  # the same for every clip
    return f"also in {split}"
