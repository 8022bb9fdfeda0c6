"""Which rows train and which the search may score on; neither is ever the evaluation split."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.manifest import NONE, Manifest, keep
from plastsearch.errors import DataError


def training_rows(manifest: Manifest, held_out: Sequence[str]) -> pa.Table:
    """The train split without the held-out attacks."""
    table = _split(manifest, "train")
    if not held_out:
        return table
    kept = keep(table, ~np.asarray(pc.is_in(table["attack"], value_set=pa.array(list(held_out)))))
    if not _both_classes(kept):
        raise DataError(f"{manifest.corpus}: holding out {', '.join(held_out)} leaves no spoof to train on; "
                        f"attacks of train: {', '.join(attacks_of(table))}")  # fmt: skip
    return kept


def held_out_rows(manifest: Manifest, held_out: Sequence[str]) -> pa.Table:
    """The dev split's bona fide clips and its clips of the held-out attacks."""
    table = _split(manifest, "dev")
    if not held_out:
        raise DataError("search_dev policy held_out_attacks: `data.search_dev.attacks` names none; "
                        f"attacks of {manifest.corpus}: {', '.join(attacks_of(table))}")  # fmt: skip
    unknown = [name for name in held_out if name not in attacks_of(table)]
    if unknown:
        raise DataError(f"search_dev: no dev clip of {manifest.corpus} has attack {', '.join(unknown)}; "
                        f"known: {', '.join(attacks_of(table))}")  # fmt: skip
    return keep(table, np.asarray(pc.is_in(table["attack"], value_set=pa.array([NONE, *held_out]))))


def dev_rows(manifest: Manifest) -> pa.Table:
    """The whole dev split."""
    return _split(manifest, "dev")


def attacks_of(table: pa.Table) -> list[str]:
    """The names of the spoofing systems in a table."""
    return sorted(name for name in pc.unique(table["attack"]).to_pylist() if name != NONE)


def _split(manifest: Manifest, split: str) -> pa.Table:
    table = manifest.splits.get(split)
    if table is None or not len(table):
        raise DataError(
            f"{manifest.corpus}: it has no {split} clips (splits: {', '.join(manifest.splits)}); "
            "name another corpus, or `search_dev: {policy: second_corpus, corpus: …, root: …}` for dev"
        )
    if not _both_classes(table):
        raise DataError(f"{manifest.corpus}: the clips of {split} are all of one class ({manifest.sources[split]})")
    return table


def _both_classes(table: pa.Table) -> bool:
    return len(table) > 0 and len(pc.unique(table["label"])) == 2


def stratified(table: pa.Table, clips: int | None, seed: int) -> pa.Table:
    """At most `clips` rows, each attack and bona fide in their proportions (at least one each), the same for a seed."""
    if clips is None or clips >= len(table):
        return table
    codes = table["attack"].combine_chunks().dictionary_encode()
    names = codes.dictionary.to_pylist()
    index = codes.indices.to_numpy()
    chosen = [rows[:n] for rows, n in zip(_shuffled(index, names, seed), _quota(index, len(names), clips), strict=True)]
    return table.take(pa.array(np.sort(np.concatenate(chosen)))).combine_chunks()


def _shuffled(index: np.ndarray, names: list[str], seed: int) -> list[np.ndarray]:
    # each stratum has its own stream, so that one more attack does not change the clips of the others
    return [
        np.random.default_rng([seed, *name.encode()]).permutation(np.flatnonzero(index == k))
        for k, name in enumerate(names)
    ]


def _quota(index: np.ndarray, strata: int, clips: int) -> np.ndarray:
    """Whole numbers in proportion (largest remainders), none of them zero, with the wanted sum where it can be met."""
    exact = np.bincount(index, minlength=strata) * (clips / len(index))
    quota = np.maximum(np.floor(exact).astype(np.int64), 1)
    for k in np.argsort(-(exact - np.floor(exact)), kind="stable"):
        if quota.sum() < clips and quota[k] <= exact[k]:
            quota[k] += 1
    while quota.sum() > max(clips, strata):
        quota[np.argmax(quota)] -= 1
    result: np.ndarray = quota
    return result
