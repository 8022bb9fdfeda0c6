"""Which rows of which corpus a configuration trains and searches on, and whether that can work; no audio is read."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.augment.names import recordings_of
from plastsearch.data.cache import Decoder, check_files
from plastsearch.data.corpora import EVALUATION_ONLY
from plastsearch.data.manifest import Manifest, keep
from plastsearch.data.sources import (
    LAYOUTS,
    SYNTHETIC_CLIPS,
    DataRequest,
    Source,
    read_source,
    scored_clips,
    second_source,
)
from plastsearch.errors import DataError
from plastsearch.files import typed_path
from plastsearch.scores.columns import NONE


@dataclass(frozen=True)
class ChosenRows:
    """The training rows of the main corpus, and the rows that the search scores on, from it or a second one."""

    main: Manifest
    train: pa.Table
    other: Manifest
    scored: pa.Table


def choose_rows(data: DataRequest, decoder: Decoder, also: Collection[str] = ()) -> ChosenRows:
    """Read the manifests and apply search-dev policy and cap; `also` names splits that must be there, too."""
    if data.corpus in EVALUATION_ONLY:
        raise DataError(f"{data.corpus} is for evaluation only: it has no training clips")
    policy = data.search_dev.policy
    second = policy == "second_corpus"
    held_out = data.search_dev.attacks if policy == "held_out_attacks" else ()
    main = read_source(source_of(data), decoder, needed=("train", *(() if second else ("dev",)), *also))
    other = _second(data, decoder) if second else main
    train = training_rows(main, held_out)
    scored = held_out_rows(main, held_out) if policy == "held_out_attacks" else dev_rows(other)
    cap = None if data.corpus == "synthetic" else data.clips  # a generated corpus is written as large as asked
    return ChosenRows(main, stratified(train, cap, data.seed), other, stratified(scored, cap, data.seed))


def clip_counts(data: DataRequest) -> tuple[int, int]:
    """How many clips training and search-dev have, before any is looked at: bad ones are still among them."""
    if data.corpus == "synthetic":
        train = data.clips or SYNTHETIC_CLIPS
        return train, scored_clips(train)
    chosen = choose_rows(data, Decoder(Path()))
    return len(chosen.train), len(chosen.scored)


def check_data(data: DataRequest, *, evaluation: bool = False) -> None:
    """Raise DataError for what can be known to be wrong without decoding: names, protocols, files, attacks, folders.

    With `evaluation` the evaluation split's files must be there, too, so that finalists do not fail after a long
    search. A generated corpus is checked by name alone, for it would first have to be written.
    """
    recordings_of(data.augment, typed_path(data.root) if data.root else None)
    if data.corpus == "synthetic":
        if (data.variant or "la") not in LAYOUTS:
            raise DataError(f"synthetic: unknown `data.variant` '{data.variant}'; known layouts: {', '.join(LAYOUTS)}")
        if data.search_dev.policy == "held_out_attacks":
            _check_generated_attacks(data.variant or "la", data.search_dev.attacks)
        return
    chosen = choose_rows(data, Decoder(Path()), ("eval",) if evaluation else ())
    check_files(chosen.main, "train", chosen.train)
    check_files(chosen.other, "dev", chosen.scored)
    if evaluation:
        check_files(chosen.main, "eval", chosen.main.splits["eval"])
    if chosen.other is not chosen.main:
        chosen.main.problems.extend(chosen.other.problems)
    if data.on_bad == "refuse":
        chosen.main.problems.refuse(chosen.main.corpus)


def _check_generated_attacks(layout: str, held_out: Collection[str]) -> None:
    """As `held_out_rows` does for a corpus that has been written."""
    from plastsearch.synth.attacks import KNOWN
    from plastsearch.synth.layouts import REPLAYS

    known = {"la": tuple(KNOWN), "pa": tuple(REPLAYS)}.get(layout, ())
    unknown = [name for name in held_out if name not in known] if known else []
    if unknown:
        raise DataError(
            f"search_dev: no dev clip of synthetic has attack {', '.join(unknown)}; known: {', '.join(known)}"
        )


def source_of(data: DataRequest) -> Source:
    """The part of a request that names files."""
    return Source(
        data.corpus,
        data.root,
        data.variant,
        data.manifest,
        data.seed,
        data.clips,
        data.difficulty,
        data.speech_s,
        data.bona_fide_share,
    )


def _second(data: DataRequest, decoder: Decoder) -> Manifest:
    corpus = data.search_dev.corpus
    if corpus is None:
        raise DataError("search_dev policy second_corpus: `data.search_dev.corpus` is missing")
    if corpus in EVALUATION_ONLY:
        raise DataError(f"search_dev: {corpus} is for evaluation only; the search must not score on it")
    return read_source(second_source(corpus, data.search_dev, source_of(data)), decoder, needed=("dev",))


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
    # an attack that only the evaluation split has is refused here, too: the search must not learn of it
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


def _listed(manifest: Manifest) -> list[str]:
    """How many clips each split has, and where they are listed."""
    return [f"{name}: {len(table):,} in {manifest.sources[name]}" for name, table in manifest.splits.items()]


def _split(manifest: Manifest, split: str) -> pa.Table:
    table = manifest.splits.get(split)
    if table is None or not len(table):
        raise DataError(
            f"{manifest.corpus}: it has no {split} clips ({'; '.join(_listed(manifest))}); "
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
    # stable: equal remainders are served in the same order on every machine
    for k in np.argsort(-(exact - np.floor(exact)), kind="stable"):
        if quota.sum() < clips and quota[k] <= exact[k]:
            quota[k] += 1
    while quota.sum() > max(clips, strata):  # the ones that were rounded up from nothing are paid by the largest
        quota[np.argmax(quota)] -= 1
    result: np.ndarray = quota
    return result
