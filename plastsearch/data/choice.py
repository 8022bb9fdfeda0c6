"""Which rows of which corpus a configuration trains and searches on, and whether that can work; no audio is read."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from plastsearch.data.augment_names import recordings_of
from plastsearch.data.cache import Decoder
from plastsearch.data.corpora import EVALUATION_ONLY
from plastsearch.data.decoded import check_files
from plastsearch.data.manifest import Manifest
from plastsearch.data.policy import dev_rows, held_out_rows, stratified, training_rows
from plastsearch.data.request import DataRequest, Source
from plastsearch.data.sources import LAYOUTS, SYNTHETIC_CLIPS, read_source, scored_clips, second_source
from plastsearch.errors import DataError


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
    cap = None if data.corpus == "synthetic" else data.clips
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
    recordings_of(data.augment, Path(data.root).expanduser() if data.root else None)
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
    from plastsearch.data.attacks import KNOWN
    from plastsearch.data.layouts import REPLAYS

    known = {"la": tuple(KNOWN), "pa": tuple(REPLAYS)}.get(layout, ())
    unknown = [name for name in held_out if name not in known] if known else []
    if unknown:
        raise DataError(
            f"search_dev: no dev clip of synthetic has attack {', '.join(unknown)}; known: {', '.join(known)}"
        )


def source_of(data: DataRequest) -> Source:
    """The part of a request that names files."""
    return Source(data.corpus, data.root, data.variant, data.manifest, data.seed, data.clips, data.difficulty)


def _second(data: DataRequest, decoder: Decoder) -> Manifest:
    corpus = data.search_dev.corpus
    if corpus is None:
        raise DataError("search_dev policy second_corpus: `data.search_dev.corpus` is missing")
    if corpus in EVALUATION_ONLY:
        raise DataError(f"search_dev: {corpus} is for evaluation only; the search must not score on it")
    return read_source(second_source(corpus, data.search_dev, source_of(data)), decoder, needed=("dev",))
