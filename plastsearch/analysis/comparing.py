"""The questions a sweep answers: the best trial that grew against each control of its own, and their finalists.

Each is put to the scores that the trials kept of every clip (scores/clip_scores.py); the statistics stand in paired.py.
Where scores are missing, or are not those of the trial, nothing is guessed: the comparison says why it has no answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from plastsearch.analysis.paired import Difference, Finding, Pair, difference, holm
from plastsearch.errors import DataError
from plastsearch.scores.clip_scores import FOLDER, ClipScores, Split, read_clip_scores
from plastsearch.scores.metrics import eer
from plastsearch.spec.methods import CONTROLS, METHODS, Control

if TYPE_CHECKING:
    from plastsearch.analysis.results import Finalist, Results, Row

METRICS: dict[Split, str] = {"search_dev": "dev_eer", "evaluation": "eval_eer"}
SAME = 1e-6  # percent: scores and the recorded EER agree to rounding


@dataclass(frozen=True)
class Comparison:
    """The trial `subject` against one control, on one split; without an answer, `missing` says why."""

    subject: int
    control: Control
    runs: Literal["trials", "finalists"]  # one run of each, as searched; or again with fresh seeds
    split: Split
    answer: Difference | None = None
    missing: str | None = None
    p_corrected: float | None = None  # over all comparisons on this split
    asked: int = 1  # of how many seeds each was to be run with
    family: int = 1  # how many comparisons share the correction

    @property
    def finding(self) -> Finding | None:
        """better, worse, or no difference shown; None without an answer."""
        return None if self.answer is None or self.p_corrected is None else self.answer.finding(self.p_corrected)


class NoAnswerError(Exception):
    """Why two arms cannot be compared."""


def compare(results: "Results") -> tuple[Comparison, ...]:
    """Every comparison that the sweep was asked for, those on each split corrected together."""
    subject = results.winner
    if subject is None:
        return ()
    asked: Sequence[Control] = results.spec.get("controls") or ()
    found = [_trials(results, subject, name) for name in asked]
    again = finalists_of(results)
    for name in asked:
        if again is not None and CONTROLS[name].finalist:
            found += [_finalists(results, again, name, split) for split in METRICS]
    return tuple(_corrected(found))


def finalists_of(results: "Results") -> "Finalist | None":
    """The finalist that the search would have named: to choose by evaluation scores would be a search on them."""
    sign, best = -1 if results.objectives[0].goal == "max" else 1, results.winner
    rows = {row.number: row for row in results.rows if row.allowed and METHODS[row.config.method].grows}
    grown = [one for one in results.finalists if one.of in rows and rows[one.of].record.role == "search"]
    rank = {one.of: (best is None or one.of != best.number, sign * rows[one.of].values[0], one.of) for one in grown}
    return min(grown, key=lambda one: rank[one.of], default=None)


def _trials(results: "Results", subject: "Row", name: Control) -> Comparison:
    plain = Comparison(subject.number, name, "trials", "search_dev")
    control = results.control(name, of=subject.number)
    if control is None:
        whose = f" of {subject.label}" if CONTROLS[name].of_winner else ""
        return replace(plain, missing=f"no run of that control{whose} has finished")
    return _answered(results, plain, [(subject, control)])


def _finalists(results: "Results", one: "Finalist", name: Control, split: Split) -> Comparison:
    """Seed against seed; one that failed, or that the other was not run with, is no seed."""
    plain = Comparison(one.of, name, "finalists", split)
    control = results.control(name)
    other = next((f for f in results.finalists if control is not None and f.of == control.number), None)
    if other is None:
        return replace(plain, missing="that control was not run again with the finalists")
    mine, its = (
        {row.config.seed: row for row in f.rows if row.record.state == "done" and METRICS[split] in row.metrics}
        for f in (one, other)
    )
    pairs = [(mine[seed], its[seed]) for seed in sorted(mine.keys() & its.keys())]
    plain = replace(plain, asked=max(len(one.rows), len(other.rows)))
    if not pairs:
        return replace(plain, missing="no seed has finished for both")
    return _answered(results, plain, pairs)


def _answered(results: "Results", plain: Comparison, pairs: "Sequence[tuple[Row, Row]]") -> Comparison:
    try:
        read = [tuple(_scores(results, row, plain.split) for row in pair) for pair in pairs]
        return replace(plain, answer=_difference(read))
    except NoAnswerError as error:
        return replace(plain, missing=str(error))


def _scores(results: "Results", row: "Row", split: Split) -> ClipScores:
    """The scores a trial kept, if they are still there and are its own."""
    kept: dict[str, Any] = row.record.details.get("scores") or {}
    if split not in kept:
        raise NoAnswerError(f"{row.label} kept no scores of single clips")
    path = Path(kept[split])
    if not path.is_file():  # another machine, or a folder that was moved: the store usually lies beside the sweeps
        path = results.folder.parent / "store" / FOLDER / path.name
    try:
        found = _read(path, path.stat().st_mtime_ns)
    except (OSError, DataError):
        raise NoAnswerError(f"the scores of {row.label} are gone ({kept[split]})") from None
    own = eer(found.scores[found.is_bona], found.scores[~found.is_bona])[0]
    if not math.isclose(own, row.metrics[METRICS[split]], rel_tol=0, abs_tol=SAME):
        raise NoAnswerError(f"the scores in {path.name} are not those of {row.label}: their EER is {own:.2f} %")
    return found


@lru_cache(maxsize=8)
def _read(path: Path, _changed: int) -> ClipScores:
    return read_clip_scores(path)


def _difference(pairs: Sequence[tuple[ClipScores, ...]]) -> Difference:
    """In the order of the first file; clips pair by name."""
    first = pairs[0][0]
    columns = []
    for pair in pairs:
        arms = []
        for arm in pair:
            place = {name: at for at, name in enumerate(arm.ids)}
            if place.keys() != set(first.ids):
                raise NoAnswerError("the two were not scored on the same clips")
            order = np.array([place[name] for name in first.ids])
            if not np.array_equal(arm.is_bona[order], first.is_bona):
                raise NoAnswerError("the two disagree on which clips are bona fide")
            arms.append(arm.scores[order])
        columns.append(Pair(*arms))
    return difference(columns, first.is_bona, first.speakers)


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """Holm's correction over the comparisons on each split: each is one more chance to find something by chance."""
    corrected = list(found)
    for split in METRICS:
        at = [n for n, one in enumerate(found) if one.split == split and one.answer is not None]
        values = holm([one.answer.p for n in at if (one := found[n]).answer is not None])
        for n, value in zip(at, values, strict=True):
            corrected[n] = replace(found[n], p_corrected=value, family=len(at))
    return corrected
