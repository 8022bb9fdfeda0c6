"""The questions a sweep answers: the best trial that grew against each control of its own, and their finalists.

Each is put to the scores that the trials kept of every clip (scores/clip_scores.py); the statistics stand in paired.py.
Where scores are missing, or are not those of the trial, nothing is guessed: the comparison says why it has no answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from plastsearch.analysis.paired import Difference, Estimate, Finding, Pair, difference, holm, level, reduction
from plastsearch.analysis.rows import Finalist, TrialRow
from plastsearch.errors import DataError
from plastsearch.scores.clip_scores import FOLDER, ClipScores, Split, read_clip_scores
from plastsearch.scores.metrics import Floats, eer
from plastsearch.spec.methods import CONTROLS, Control

METRICS: dict[Split, str] = {"search_dev": "dev_eer", "evaluation": "eval_eer"}
BY_ATTACK = 200  # resamples for one number of a large table
SAME = 1e-6  # percent: scores and the recorded EER agree to rounding


@dataclass(frozen=True)
class Comparison:
    """The trial `subject` against one control, on one split; without an answer, `missing` says why."""

    subject: int
    control: Control
    runs: Literal["trials", "finalists"]  # as searched, with all seeds that both have; or again with fresh seeds
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


@dataclass(frozen=True)
class Against:
    """A control that was asked for, as far as it has come."""

    name: Control
    row: TrialRow | None  # beside the search; of the subject itself where the control answers to a trial
    again: Finalist | None  # run again with the finalists


def compare(
    folder: Path, subject: TrialRow, finalist: Finalist | None, asked: Sequence[Against]
) -> tuple[Comparison, ...]:
    """Every comparison that the sweep in this folder was asked for, those on each split corrected together."""
    found = [_trials(folder, subject, one) for one in asked]
    for one in asked:
        if finalist is not None and CONTROLS[one.name].finalist:
            found += [_finalists(folder, finalist, one, split) for split in METRICS]
    return tuple(_corrected(found))


def _trials(folder: Path, subject: TrialRow, against: Against) -> Comparison:
    plain = Comparison(subject.number, against.name, "trials", "search_dev")
    if against.row is None:
        whose = f" of {subject.label}" if CONTROLS[against.name].of_winner else ""
        return replace(plain, missing=f"no run of that control{whose} has finished")
    # Runs with further seeds pair as they are; a control that ran once is compared on that seed.
    pairs = same_seeds(subject.runs, against.row.runs) or [(subject, against.row)]  # where the seed itself is searched
    return _answered(folder, replace(plain, asked=len(pairs)), pairs)


def _finalists(folder: Path, one: Finalist, against: Against, split: Split) -> Comparison:
    """Seed against seed; one that failed, or that the other was not run with, is no seed."""
    plain = Comparison(one.of, against.name, "finalists", split)
    other = against.again
    if other is None:
        return replace(plain, missing="that control was not run again with the finalists")
    pairs = same_seeds(scored(one, split), scored(other, split))
    plain = replace(plain, asked=max(one.asked, other.asked))
    if not pairs:
        return replace(plain, missing="no seed has finished for both")
    return _answered(folder, plain, pairs)


def scored(finalist: Finalist, split: Split) -> list[TrialRow]:
    """The seeds of a finalist that have an EER on a split."""
    return [row for row in finalist.rows if row.record.state == "done" and METRICS[split] in row.metrics]


def same_seeds(one: Sequence[TrialRow], other: Sequence[TrialRow]) -> list[tuple[TrialRow, TrialRow]]:
    """Runs of two arms, paired where both ran with a seed."""
    mine, its = ({run.config.seed: run for run in runs} for runs in (one, other))
    return [(mine[seed], its[seed]) for seed in sorted(mine.keys() & its.keys())]


def _answered(folder: Path, plain: Comparison, pairs: Sequence[tuple[TrialRow, TrialRow]]) -> Comparison:
    try:
        return replace(plain, answer=paired(folder, pairs, plain.split))
    except NoAnswerError as error:
        return replace(plain, missing=str(error))


def paired(folder: Path, pairs: Sequence[tuple[TrialRow, TrialRow]], split: Split = "search_dev") -> Difference:
    """The difference of two arms from the scores they kept, a pair of runs for each seed; or NoAnswerError."""
    return _difference([tuple(kept_scores(folder, row, split) for row in pair) for pair in pairs])


def reduced(folder: Path, pairs: Sequence[tuple[TrialRow, TrialRow]], split: Split) -> Estimate | None:
    """By how many percent the first arm's EER is lower than the second's; or NoAnswerError."""
    first, columns = _columns([tuple(kept_scores(folder, row, split) for row in pair) for pair in pairs])
    return reduction([Pair(*column) for column in columns], first.is_bona, first.speakers)


def mean_eer(folder: Path, runs: Sequence[TrialRow], split: Split) -> Estimate:
    """An arm's EER over its seeds by the scores they kept; or NoAnswerError."""
    first, columns = _columns([tuple(kept_scores(folder, row, split) for row in runs)])
    return level(columns[0], first.is_bona, first.speakers)


def attack_eers(folder: Path, runs: Sequence[TrialRow], split: Split) -> dict[str, Estimate]:
    """The same for each attack that the clips name, with all bona fide ones; or NoAnswerError."""
    first, columns = _columns([tuple(kept_scores(folder, row, split) for row in runs)])
    found = {}
    for attack in np.unique(first.attacks[~first.is_bona]).tolist() if first.is_bona.any() else ():
        kept = first.is_bona | (first.attacks == attack)
        arms = [one[kept] for one in columns[0]]
        found[str(attack)] = level(arms, first.is_bona[kept], first.speakers[kept], replicates=BY_ATTACK)
    return found


def kept_scores(folder: Path, row: TrialRow, split: Split) -> ClipScores:
    """The scores a trial kept, if they are still there and are its own."""
    kept: dict[Split, str] = row.record.details.get("scores") or {}
    if split not in kept:
        raise NoAnswerError(f"{row.label} kept no scores of single clips")
    path = Path(kept[split])
    if not path.is_file():  # another machine, or a folder that was moved: the store usually lies beside the sweeps
        path = folder.parent / "store" / FOLDER / path.name
    try:
        # Scores are written again under the same name when a trial is repeated, so the time of writing is asked, too.
        found = _read(path, path.stat().st_mtime_ns)
    except (OSError, DataError):
        raise NoAnswerError(f"the scores of {row.label} are gone ({kept[split]})") from None
    own = eer(found.scores[found.is_bona], found.scores[~found.is_bona])[0]
    # A sweep that goes on may have replaced them: figures from two runs must not be mixed in one comparison.
    if not math.isclose(own, row.metrics[METRICS[split]], rel_tol=0, abs_tol=SAME):
        raise NoAnswerError(f"the scores in {path.name} are not those of {row.label}: their EER is {own:.2f} %")
    return found


@lru_cache(maxsize=8)
def _read(path: Path, _changed: int) -> ClipScores:
    return read_clip_scores(path)


def _difference(pairs: Sequence[tuple[ClipScores, ...]]) -> Difference:
    first, columns = _columns(pairs)
    return difference([Pair(*column) for column in columns], first.is_bona, first.speakers)


def _columns(groups: Sequence[tuple[ClipScores, ...]]) -> tuple[ClipScores, list[tuple[Floats, ...]]]:
    """The scores of all files in the order of the first, which is given, too; clips pair by name."""
    first = groups[0][0]
    if first.is_bona.size < 3:  # a spread needs one more than there are classes
        raise NoAnswerError("two clips do not show how far clips scatter")
    return first, [tuple(in_order_of(first, arm) for arm in group) for group in groups]


def in_order_of(first: ClipScores, arm: ClipScores) -> Floats:
    """The scores of an arm in the order in which another has the clips."""
    place = {name: at for at, name in enumerate(arm.ids)}
    if place.keys() != set(first.ids):
        raise NoAnswerError("the two were not scored on the same clips")
    order = np.array([place[name] for name in first.ids])
    if not np.array_equal(arm.is_bona[order], first.is_bona):
        raise NoAnswerError("the two disagree on which clips are bona fide")
    scores: Floats = arm.scores[order]
    return scores


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """Holm's correction over the comparisons on each split: each is one more chance to find something by chance."""
    corrected = list(found)
    for split in METRICS:
        at = [n for n, one in enumerate(found) if one.split == split and one.answer is not None]
        values = holm([one.answer.p for n in at if (one := found[n]).answer is not None])
        for n, value in zip(at, values, strict=True):
            corrected[n] = replace(found[n], p_corrected=value, family=len(at))
    return corrected
