"""The best trial within a budget of something it costs: for budgets along the front, or those that were asked for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from plastsearch.analysis.figure import column, number, standing, tick, title
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.documents import Block, Table, Text
from plastsearch.errors import PlastsearchError
from plastsearch.pareto.front import Goal
from plastsearch.spec.constraints import known_metric

MOST = 4  # budgets of one cost
LEFT = frozenset({"within", "trial", "place"})


@dataclass(frozen=True)
class Best:
    """Who is best by the first objective within `bound` of a metric; nobody where nobody keeps within it."""

    metric: str
    bound: float
    goal: Goal  # max: a metric that should grow, of which the bound is the least
    row: TrialRow | None

    @property
    def within(self) -> str:
        """The budget in words."""
        return f"{title(self.metric)} {'≥' if self.goal == 'max' else '≤'} {tick(self.bound)}"


def parse_budget(text: str) -> tuple[str, float]:
    """`params_total=1e6` as a metric and a number."""
    name, _, bound = text.partition("=")
    try:
        return known_metric(name.strip()), float(bound)
    except ValueError as error:
        why = str(error) if str(error).startswith("unknown metric") else f"{bound!r} is no number"
        raise PlastsearchError(f"--under {text}: {why}; write METRIC=NUMBER, e.g. --under params_total=1e6") from None


def best_under(results: Results, asked: Sequence[tuple[str, float]] = ()) -> list[Best]:
    """For each budget asked for, else for a few of each objective but the first, the best trial that counts."""
    return [_best(results, metric, bound) for metric, bound in asked or _usual(results)]


def _best(results: Results, metric: str, bound: float) -> Best:
    goal: Goal = next((one.goal for one in results.objectives if one.metric == metric), "min")
    inside = []
    for row in results.plotted:
        value = _value(results, row, metric)
        if row.allowed and value is not None and (value <= bound if goal == "min" else value >= bound):
            inside.append(row)
    sign = -1 if results.objectives[0].goal == "max" else 1
    # Of equal ones a member of the front: others pay more for the same. Means of equal runs may differ in a last digit.
    best = min(inside, key=lambda row: (round(sign * row.values[0], 9), not row.in_front, row.number), default=None)
    return Best(metric, bound, goal, best)


def _value(results: Results, row: TrialRow, metric: str) -> float | None:
    at = next((n for n, one in enumerate(results.objectives) if one.metric == metric), None)
    return row.metrics.get(metric) if at is None else row.values[at]


def _usual(results: Results) -> list[tuple[str, float]]:
    """Budgets at which another trial becomes the best: the steps of the front in that cost and the first objective."""
    found: list[tuple[str, float]] = []
    first = -1 if results.objectives[0].goal == "max" else 1
    for at, one in enumerate(results.objectives[1:], 1):
        sign = -1 if one.goal == "max" else 1
        steps: list[float] = []
        best = math.inf
        for row in sorted(results.front, key=lambda row: (sign * row.values[at], first * row.values[0])):
            if first * row.values[0] < best:
                best = first * row.values[0]
                steps.append(_rounded(row.values[at], one.goal))
        steps = list(dict.fromkeys(steps))
        if len(steps) > MOST:
            steps = [steps[round(n * (len(steps) - 1) / (MOST - 1))] for n in range(MOST)]
        found += [(one.metric, step) for step in steps]
    return found


def _rounded(value: float, goal: Goal) -> float:
    """A number to be said aloud that still lets this trial in: two digits, or three where two would double a cost."""
    if value <= 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    steps = math.ceil(value / unit - 1e-9) if goal == "min" else math.floor(value / unit + 1e-9)
    return round(steps * unit, 12)


def blocks(results: Results, asked: Sequence[tuple[str, float]] = ()) -> list[Block]:
    """The same as a table; nothing where there is a single objective and nothing was asked."""
    found = best_under(results, asked)
    if not found:
        return []
    first = results.objectives[0].metric
    rows = tuple(_line(results, one) for one in found)
    return [Text("Best within a budget:"), Table(("within", "trial", column(first), "place"), rows, LEFT)]


def _line(results: Results, one: Best) -> tuple[str, ...]:
    if one.row is None:
        return one.within, "none", "–", ""
    metric = results.objectives[0].metric
    within = results.interval(one.row, 0)
    spread = f" [{number(within[0], metric)}, {number(within[1], metric)}]" if within else ""
    place = standing(one.row) if one.row.in_front else "not in the front"
    return one.within, one.row.label, number(one.row.values[0], metric) + spread, place
