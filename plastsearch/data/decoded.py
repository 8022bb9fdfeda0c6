"""Between a manifest and the cache: which files are there, which of them decode, and what to say about the others."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.audio import Storage
from plastsearch.data.cache import Decoder, PoolId, clip_keys, fill, stat_all
from plastsearch.data.manifest import Manifest, keep, note_rows
from plastsearch.data.pool import PoolIndex, read_pool
from plastsearch.data.problems import KEPT, Problem
from plastsearch.errors import DataError


def pool_of(manifest: Manifest, split: str, rate_hz: int, storage: Storage) -> PoolId:
    """The pool for the clips of a split."""
    return PoolId(manifest.corpus, split, rate_hz, storage, manifest.variant or "")


def present(manifest: Manifest, table: pa.Table) -> tuple[npt.NDArray[np.bool_], pa.Array, npt.NDArray[np.int64]]:
    """Which files are there and not empty, the cache keys of those, and the size of each file (-1: missing)."""
    sizes, times = stat_all(manifest.root, table["path"])
    there = sizes > 0
    return there, clip_keys(keep(table, there)["path"], sizes[there], times[there]), sizes


def decode_rows(
    manifest: Manifest, split: str, table: pa.Table, pool: PoolId, decoder: Decoder
) -> tuple[pa.Table, pa.Array, PoolIndex]:
    """Decode what the cache lacks; the usable rows, their cache keys and the pool. All others are noted as problems."""
    table, keys = check_files(manifest, split, table)
    index = fill(pool, decoder, manifest.root, table["path"], keys)
    bad, kinds, details = index.bad(keys)
    for k, i in enumerate(bad[:KEPT].tolist()):
        line, path = table["line"][i].as_py(), table["path"][i].as_py()
        reason = kinds[k].as_py(), details[k].as_py() or ""
        manifest.problems.add(Problem(split, manifest.sources[split], line, path, *reason))
    for entry in pc.value_counts(kinds[KEPT:]).to_pylist():
        manifest.problems.count_more(split, entry["values"], entry["counts"])
    fine = np.ones(len(table), bool)
    fine[bad] = False
    return keep(table, fine), keys.filter(pa.array(fine)), index


def known_audio(manifest: Manifest, split: str, rate_hz: int, storage: Storage, decoder: Decoder) -> pa.Array:
    """The audio hashes of a split, as far as it was ever decoded here."""
    pool = pool_of(manifest, split, rate_hz, storage)
    _, keys, _ = present(manifest, manifest.splits[split])
    return read_pool(pool.folder(decoder.cache)).audio(keys)


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
