"""Score files of ASVspoof 2019, 2021 and 5: written, read, joined with their key and judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plastsearch.errors import DataError
from plastsearch.scores.keys import IN_SCORES, Key, is_header, key_of, key_of_columns, large_order
from plastsearch.scores.metrics import eer
from plastsearch.scores.rows import Mistakes, is_large, numbers, of_width, once, read_rows
from plastsearch.scores.summary import Summary, summary
from plastsearch.scores.tdcf import VerifierErrors, min_tdcf_2019, min_tdcf_2021

Edition = Literal["2019", "2021", "5"]
HEADER = "filename\tcm-score"
FEW = 10  # different scores: fewer look like decisions


@dataclass(frozen=True)
class Scores:
    """What a detector said of each clip; a 2019 file brings its own key."""

    source: Path
    ids: Sequence[str]
    lines: Sequence[int]
    values: NDArray[np.float64]
    key: Key | None = None


def write_scores(
    path: Path,
    ids: Sequence[str],
    scores: ArrayLike,
    edition: Edition = "2021",
    is_bona: ArrayLike | None = None,
    attacks: Sequence[str] | None = None,
) -> None:
    """One line for each clip, every digit kept; the 2019 form also holds attack and key."""
    values = [repr(float(value)) for value in np.asarray(scores, dtype=np.float64).ravel()]
    if len(values) != len(ids):
        raise DataError(f"{len(ids)} clips but {len(values)} scores: a score file needs one for each")
    if edition == "2019":
        if is_bona is None or attacks is None:
            raise DataError("a 2019 score file also holds the attack and the key of each clip; give both")
        words = ["bonafide" if bona else "spoof" for bona in np.asarray(is_bona)]
        lines = [" ".join(row) for row in zip(ids, attacks, words, values, strict=True)]
    elif edition == "5":
        lines = [HEADER, *(f"{name}\t{value}" for name, value in zip(ids, values, strict=True))]
    else:
        lines = [f"{name} {value}" for name, value in zip(ids, values, strict=True)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_scores(path: Path) -> Scores:
    """A score file of any edition, told apart by its header and columns."""
    if is_large(path) and (found := _by_columns(Path(path))) is not None:
        return found
    rows = read_rows(path)
    if rows and is_header(rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise DataError(f"{path}: no scores in it; expected lines like `LA_E_2834763 -1.25`")
    width = len(rows[0][1])
    if width not in (2, 4):
        what = "a score file has 2 (clip, score) or 4 (clip, attack, key, score)"
        raise DataError(f"{path}:{rows[0][0]}: {width} columns; {what}")
    mistakes = Mistakes()
    rows = of_width(path, rows, width, "LA_E_2834763 -1.25" if width == 2 else IN_SCORES.example, mistakes)
    values = numbers(path, rows, width - 1, mistakes)
    once(path, rows, 0, mistakes)
    mistakes.raise_any()
    return Scores(
        source=Path(path),
        ids=tuple(words[0] for _, words in rows),
        lines=tuple(line for line, _ in rows),
        values=np.array(values),
        key=key_of(path, rows, IN_SCORES) if width == 4 else None,
    )


def _by_columns(path: Path) -> Scores | None:
    from plastsearch.scores.large import Order, columns_of, first_words

    first = first_words(path)
    width = len(first)
    if width not in (2, 4):
        return None
    columns = columns_of(path, first, Order(2, 0, number=1) if width == 2 else large_order(IN_SCORES, number=3))
    key = None if columns is None or width == 2 else key_of_columns(path, columns, IN_SCORES)
    if columns is None or (width == 4 and key is None):
        return None
    return Scores(path, columns.words(0), columns.lines, columns.numbers(width - 1), key)


def joined(scores: Scores, key: Key) -> NDArray[np.float64]:
    """Scores in the key's order: every clip of the key has one, and none is left over."""
    if is_large(scores.source) and is_large(key.source):
        from plastsearch.scores.large import Words, places

        if isinstance(scores.ids, Words) and isinstance(key.ids, Words):
            found = places(key.ids, scores.ids, key.elsewhere)
            if found is not None:
                return scores.values[found]
    mistakes = Mistakes()
    position = {name: n for n, name in enumerate(scores.ids)}
    if not any(name in position for name in key.ids):
        raise DataError(
            f"none of the {len(key.ids):,} clips of {key.source} (the first is {key.ids[0]}) has a score in "
            f"{scores.source} (the first is {scores.ids[0]}); is that the protocol of these scores?"
        )
    for name, line in zip(key.ids, key.lines, strict=True):
        if name not in position:
            mistakes.add(f"{key.source}:{line}", f"{name} has no score in {scores.source}")
    known = {*key.ids, *key.elsewhere}
    for name, line in zip(scores.ids, scores.lines, strict=True):
        if name not in known:
            mistakes.add(f"{scores.source}:{line}", f"{name} is not in {key.source}")
    mistakes.raise_any()
    return scores.values[[position[name] for name in key.ids]]


@dataclass(frozen=True)
class Judgement:
    """What a score file is worth, and what looks wrong about it."""

    summary: Summary
    warnings: tuple[str, ...]
    min_tdcf_2019: float | None = None  # None without a verifier
    min_tdcf_2021: float | None = None

    def plain(self) -> dict[str, object]:
        """By name, as it is printed."""
        tandem = {"min_tdcf_2019": self.min_tdcf_2019, "min_tdcf_2021": self.min_tdcf_2021}
        known = {name: value for name, value in tandem.items() if value is not None}
        return {**self.summary.plain(), **known, "warnings": list(self.warnings)}


def judge(
    scores: Scores, key: Key | None, verifier: VerifierErrors | None = None, replicates: int = 1000, seed: int = 0
) -> Judgement:
    """Every metric of a score file, pooled and per attack, with what looks wrong about it."""
    key = key or scores.key
    if key is None:
        raise DataError(f"{scores.source}: its lines hold no key, so the protocol must be given (--protocol)")
    values = joined(scores, key)
    found = summary(values, key.is_bona, key.attacks, key.speakers, seed=seed, replicates=replicates)
    bona, spoof = values[key.is_bona], values[~key.is_bona]
    legacy = None if verifier is None else min_tdcf_2019(bona, spoof, verifier)
    revised = None if verifier is None else min_tdcf_2021(bona, spoof, verifier)
    warnings = []
    negated = eer(-bona, -spoof)[0]
    if negated < found.eer:
        warnings.append(
            f"negated scores have an EER of {negated:.2f} % instead of {found.eer:.2f} %: "
            "higher must mean bona fide; are labels or signs swapped?"
        )
    if np.unique(values).size < FEW:
        warnings.append(
            f"only {np.unique(values).size} different scores: these look like decisions, and their EER means little"
        )
    return Judgement(found, tuple(warnings), legacy, revised)
