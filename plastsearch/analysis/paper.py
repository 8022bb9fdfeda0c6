"""The table of a paper: each method's arm with its EERs, costs, and by how much its error is lower than the baseline's.

An arm is a control, or the best trial of a method by the first objective: chosen on search-dev, as everything is. The
evaluation split is only looked up for arms that the finalists step ran again; it never decides which arm stands here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from plastsearch.analysis.comparing import METRICS, NoAnswerError, mean_eer, reduced, same_seeds, scored
from plastsearch.analysis.paired import Estimate, over_seeds
from plastsearch.analysis.placing import dev_eer, dev_interval
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import Finalist, TrialRow
from plastsearch.scores.clip_scores import Split
from plastsearch.spec.methods import CONTROLS, METHODS, YARDSTICK

Pairs = Sequence[tuple[TrialRow, TrialRow]]


@dataclass(frozen=True)
class Arm:
    """One line: an arm, and all that is known of it."""

    name: str
    row: TrialRow
    dev: Estimate | None
    evaluation: Estimate | None
    seeds: int  # on search-dev
    eval_seeds: int
    ratio: float | None
    ms: float | None
    largest: float | None  # parameters on the way
    final: float | None
    less: Estimate | None = None  # percent below the baseline's EER, search-dev
    eval_less: Estimate | None = None


@dataclass(frozen=True)
class PaperTable:
    """All arms, the baseline first, and what a reader must know of single numbers."""

    arms: tuple[Arm, ...]
    notes: tuple[str, ...]


def arms(results: Results) -> list[tuple[str, TrialRow]]:
    """Controls in the order asked for, then the best trial of each method that was searched."""
    found = []
    for row in results.controls:
        if row.allowed is None or row.superseded:
            continue
        control = CONTROLS.get(row.record.control)  # type: ignore[call-overload]
        found.append((control.label if control is not None else str(row.record.control), row))
    found.sort(key=lambda one: not one[1].record.yardstick)
    signs = [-1 if one.goal == "max" else 1 for one in results.objectives]

    def place(row: TrialRow) -> tuple[float, ...]:  # of equal ones the cheaper, which is whom the verdict is about
        return (*(sign * value for sign, value in zip(signs, row.values, strict=True)), row.number)

    best: dict[str, TrialRow] = {}
    for row in results.plotted:
        if row.record.role == "search" and row.allowed:
            other = best.get(row.config.method)
            if other is None or place(row) < place(other):
                best[row.config.method] = row
    grows = sorted(best, key=lambda method: (not METHODS[best[method].config.method].grows, method))
    return found + [(method, best[method]) for method in grows]


def paper_table(results: Results) -> PaperTable:
    """Every arm; an interval that cannot be worked out is left out, and a note says why."""
    notes: dict[str, None] = {}
    again = {one.of: one for one in results.finalists}
    base = results.control(YARDSTICK)
    found = []
    for name, row in arms(results):
        finalist = again.get(row.number)
        runs = scored(finalist, "evaluation") if finalist is not None else []
        less, eval_less = (None, None)
        if base is not None and row is not base:
            pairs = same_seeds(row.runs, base.runs) or [(row, base)]
            less = _less(results, pairs, "search_dev", notes)
            eval_less = _less(results, _eval_pairs(finalist, again.get(base.number)), "evaluation", notes)
        value, within = dev_eer(results, row), dev_interval(results, row)
        found.append(Arm(
            name, row,
            dev=Estimate(value, *(within or (None, None))) if math.isfinite(value) else None,
            evaluation=_evaluated(results, runs, notes), seeds=len(row.runs), eval_seeds=len(runs),
            ratio=_mean(row, "backward_ratio"), ms=_mean(row, "backward_ms"), largest=row.metrics.get("params_total"),
            final=row.metrics.get("params_final"), less=less, eval_less=eval_less,
        ))  # fmt: skip
    return PaperTable(tuple(found), tuple(notes))


def _mean(row: TrialRow, metric: str) -> float | None:
    values = [run.metrics[metric] for run in row.runs if metric in run.metrics]
    return fmean(values) if values else None


def _eval_pairs(one: Finalist | None, other: Finalist | None) -> Pairs:
    if one is None or other is None:
        return []
    return same_seeds(scored(one, "evaluation"), scored(other, "evaluation"))


def _evaluated(results: Results, runs: Sequence[TrialRow], notes: dict[str, None]) -> Estimate | None:
    """The mean over the finalist's seeds; by seeds and clips, by seeds alone where no scores are kept."""
    values = [run.metrics[METRICS["evaluation"]] for run in runs]
    if not values:
        return None
    try:
        return mean_eer(results.folder, runs, "evaluation")
    except NoAnswerError as error:
        notes[f"The interval of the evaluation EER of {runs[0].label} is over seeds alone: {error}."] = None
    within = over_seeds(values)
    return Estimate(fmean(values), *((None, None) if within is None else within[:2]))


def _less(results: Results, pairs: Pairs, split: Split, notes: dict[str, None]) -> Estimate | None:
    metric = METRICS[split]
    known = [(one.metrics[metric], other.metrics[metric]) for one, other in pairs
             if metric in one.metrics and metric in other.metrics]  # fmt: skip
    if not known:
        return None
    try:
        return reduced(results.folder, pairs, split)
    except NoAnswerError as error:
        notes[f"A relative reduction has no interval: {error}."] = None
    other = fmean(value for _, value in known)
    return Estimate(100 * (1 - fmean(value for value, _ in known) / other)) if other else None
