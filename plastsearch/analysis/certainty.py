"""How far a sweep's numbers hold: draws of what its trials are worth, by seeds and by clips, and intervals of means.

A draw is one possible truth. Each trial's mean is pulled towards what trials of equal cost reach, the more the less it
is known (pareto/truths.py), for the best of many noisy values is also the luckiest. What other clips would do to
all trials alike moves the whole front; what they do to a single one is luck like that of seeds. So the band drawn of
these is about the front's place, not about the noise of one more sweep.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plastsearch.analysis.comparing import METRICS, NoAnswerError, in_order_of, kept_scores
from plastsearch.analysis.paired import drawn_eers, student_reach
from plastsearch.analysis.rows import TrialRow
from plastsearch.pareto.attainment import gain
from plastsearch.pareto.front import Goal, rank
from plastsearch.pareto.noise import Noise
from plastsearch.pareto.truths import truths
from plastsearch.spec.sweep import Objective

DRAWS = 400
READ = 60  # files of scores at most: of the baseline, of the front, of the fronts behind it
Floats = NDArray[np.float64]
Clips = Literal["scores", "intervals"]


@dataclass(frozen=True)
class Scatter:
    """What a metric's values scatter by: standard deviations, in its unit; zero where nothing is known of a source."""

    rest: float = 0.0  # of one run, seeds common to all
    freedom: int = 0
    seeds: float = 0.0  # of what a seed does to all alike
    count: int = 1  # seeds that were run


@dataclass(frozen=True)
class Certainty:
    """Possible truths of the trials in the figure."""

    rows: tuple[TrialRow, ...]
    objectives: tuple[Objective, ...]
    scatter: tuple[Scatter, ...]  # of each objective
    clips: Clips | None  # where the scatter by clips comes from
    common: Floats  # how far clips move each trial's EER in step with all others
    own: Floats  # and, as a standard deviation, apart from them

    @property
    def seeds(self) -> bool:
        """Whether it is known how far runs scatter."""
        return any(one.freedom for one in self.scatter)

    @property
    def sources(self) -> str:
        """In words, what the draws hold."""
        of_clips = {"scores": "clips", "intervals": "clips (by recorded intervals)", None: ""}[self.clips]
        return " and ".join(part for part in ("seeds" if self.seeds else "", of_clips) if part)

    @cached_property
    def draws(self) -> Floats:
        """Objectives of every row in every possible truth [draws, rows, objectives]."""
        rng = np.random.default_rng(0)
        values = np.array([row.values for row in self.rows], dtype=np.float64).reshape(len(self.rows), -1)
        lucks = np.stack([self._luck(at) for at in range(len(self.objectives))], axis=1)
        costs = values[:, (lucks <= 0).all(axis=0)]
        together = rng.standard_normal(DRAWS)  # what the drawn clips do to all
        found = np.empty((DRAWS, *values.shape))
        for at, (one, scatter) in enumerate(zip(self.objectives, self.scatter, strict=True)):
            seeds = rng.standard_normal(DRAWS) * scatter.seeds / math.sqrt(scatter.count)
            moved = truths(values[:, at], lucks[:, at], costs, DRAWS, scatter.freedom, rng) + seeds[:, None]
            if one.metric == METRICS["search_dev"]:
                moved = moved + np.outer(together, self.common)
            found[:, :, at] = moved if (values[:, at] < 0).any() else np.maximum(moved, 0.0)
        return found

    @cached_property
    def _places(self) -> dict[int, int]:
        return {row.number: at for at, row in enumerate(self.rows)}

    def _luck(self, at: int) -> Floats:
        """The variance of each row's mean that is its own."""
        runs = np.array([len(row.runs) for row in self.rows])
        of_seeds = self.scatter[at].rest ** 2 / runs
        own = self.own**2 if self.objectives[at].metric == METRICS["search_dev"] else np.zeros(len(runs))
        return np.asarray(of_seeds + own)

    def gains(self) -> Floats | None:
        """In each draw what the search gains over the baseline; None where a reference is not known."""
        corner = [one.reference for one in self.objectives]
        known = [value for value in corner if value is not None]
        searched = [n for n, row in enumerate(self.rows) if row.allowed and row.record.role == "search"]
        own = next((n for n, row in enumerate(self.rows) if row.record.yardstick), None)
        goals: list[Goal] = [one.goal for one in self.objectives]
        if len(known) < len(corner) or not searched:
            return None
        found = [
            gain(values[searched], None if own is None else values[own].tolist(), goals, known) for values in self.draws
        ]
        numbers = [value for value in found if value is not None]
        return np.array(numbers) if len(numbers) == len(found) else None

    def interval(self, row: TrialRow, objective: int) -> tuple[float, float] | None:
        """95 % of the mean that stands in the table, by seeds and clips; of exact numbers none."""
        one, scatter = self.objectives[objective], self.scatter[objective]
        at = self._places[row.number]
        parts = [
            (scatter.rest**2 / len(row.runs), scatter.freedom),
            (scatter.seeds**2 / scatter.count, scatter.count - 1),
        ]
        if one.metric == METRICS["search_dev"]:
            parts.append((float(self.common[at] ** 2 + self.own[at] ** 2), 1000))
        variance = sum(part for part, _ in parts)
        if variance <= 0:
            return None
        # Satterthwaite: what is known by few runs widens the tails.
        freedom = variance**2 / sum(part**2 / max(1, known) for part, known in parts if part > 0)
        reach = student_reach(freedom) * math.sqrt(variance)
        low, high = row.values[objective] - reach, row.values[objective] + reach
        top = 100.0 if one.metric.endswith("eer") else math.inf
        return (max(0.0, low) if row.values[objective] >= 0 else low), min(top, high)


def certainty_of(
    folder: Path, rows: Sequence[TrialRow], objectives: tuple[Objective, ...], noise: Callable[[str], Noise | None]
) -> Certainty | None:
    """What can be said of these rows; None where neither seeds nor clips say anything."""
    seeds = {run.config.seed for row in rows for run in row.runs}
    scatter = tuple(_scatter(noise(one.metric), len(seeds)) for one in objectives)
    source, common, own = None, np.zeros(len(rows)), np.zeros(len(rows))
    if any(one.metric == METRICS["search_dev"] for one in objectives):
        source, common, own = _clips(folder, rows, objectives)
    found = Certainty(tuple(rows), objectives, scatter, source, common, own)
    return found if rows and (found.seeds or found.clips) else None


def _scatter(noise: Noise | None, seeds: int) -> Scatter:
    return Scatter() if noise is None else Scatter(noise.rest, noise.freedom, noise.seeds, max(seeds, 1))


def _clips(
    folder: Path, rows: Sequence[TrialRow], objectives: Sequence[Objective]
) -> tuple[Clips | None, Floats, Floats]:
    """How far the EER of each row moves with the clips: in step with the others, and apart from them."""
    none = np.zeros(len(rows))
    eers = np.array([row.metrics.get(METRICS["search_dev"], math.nan) for row in rows])
    binomial = np.sqrt(np.clip(eers * (100 - eers), 1e-9, None))  # how an error rate's own scatter goes with its size
    moved = _moved(folder, rows, objectives)
    if not moved:
        widths = [within for row in rows if (within := row.interval(METRICS["search_dev"])) is not None]
        if len(widths) < len(rows) or not rows:
            return None, none, none
        # How far clips move trials apart is not in the intervals of single ones: all is taken to be in step.
        return "intervals", np.array([(high - low) / 2 / 1.96 for low, high in widths]), none
    common, own = _factor(np.array(list(moved.values())))
    known = np.array(list(moved))
    share_common, share_own = (float(np.mean(part / binomial[known])) for part in (common, own))
    of_all, of_each = share_common * binomial, share_own * binomial
    of_all[known], of_each[known] = common, own
    return "scores", of_all, of_each


def _factor(moved: Floats) -> tuple[Floats, Floats]:
    """One factor that all share, and what is left: loads, and standard deviations."""
    sizes = moved.std(axis=1)
    if not sizes.any():  # without a single error
        return np.zeros(len(moved)), np.zeros(len(moved))
    shared = (moved[sizes > 0] / sizes[sizes > 0, None]).mean(axis=0)
    shared = shared / shared.std()
    loads = moved @ shared / moved.shape[1]
    return loads, np.sqrt(np.maximum(sizes**2 - loads**2, 0.0))


def _moved(folder: Path, rows: Sequence[TrialRow], objectives: Sequence[Objective]) -> Mapping[int, Floats]:
    """Place of a row → how far its EER, the mean over its runs, moves with each draw of clips; those that matter."""
    scores: list[Floats] = []
    of: list[int] = []
    first = None
    for at in _by_importance(rows, objectives):
        runs = rows[at].runs
        if len(of) + len(runs) > READ:
            break
        try:
            read = [kept_scores(folder, run, "search_dev") for run in runs]
            first = first or read[0]
            scores += [in_order_of(first, one) for one in read]
        except NoAnswerError:
            continue
        of += [at] * len(runs)
    if first is None:
        return {}
    drawn = drawn_eers(scores, first.is_bona, first.speakers, DRAWS)
    places = np.array(of)
    return {at: drawn[places == at].mean(axis=0) for at in dict.fromkeys(of)}


def _by_importance(rows: Sequence[TrialRow], objectives: Sequence[Objective]) -> list[int]:
    """The baseline, then front after front: of thousands of trials the last cannot move a band."""
    ranks = rank([row.values for row in rows], [one.goal for one in objectives]) if rows else np.zeros(0)
    return sorted(range(len(rows)), key=lambda n: (not rows[n].record.yardstick, not rows[n].allowed, ranks[n], n))
