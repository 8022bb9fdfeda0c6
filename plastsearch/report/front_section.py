"""The report's section on the front: its table, how sure its members are, what it gains, the best within a budget."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from plastsearch.analysis.figure import column, main_settings, number, standing, tick, title
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.documents import Block, Heading, Table, Text
from plastsearch.errors import PlastsearchError
from plastsearch.pareto.front import Goal
from plastsearch.pareto.truths import CERTAIN
from plastsearch.spec.constraints import known_metric
from plastsearch.spec.methods import YARDSTICK

WORDS = frozenset({"trial", "layers", "criterion", "regime", "method", "reason", "which"})
GAIN = (
    "It is the volume that the search dominates beyond the baseline, as a share of all that the baseline leaves up to "
    "an error of zero at no cost: 0 % is no better than the baseline."
)
GAIN_ALONE = (
    "It is the share that the search dominates of the room between the references and an error of zero at no cost."
)
MOST = 4  # budgets of one cost
LEFT = frozenset({"within", "trial", "place"})


def front_table(results: Results, rows: list[TrialRow] | None = None) -> Table:
    """The front, best in the first objective first; other rows may be given."""
    members = results.front if rows is None else rows
    texts = [_cells(results, row) for row in members]
    names = [name for name in _columns(results) if any(text.get(name) for text in texts) or name == "trial"]
    return Table(tuple(names), tuple(tuple(text.get(name, "") for name in names) for text in texts), WORDS)


def _columns(results: Results) -> list[str]:
    known = [
        "trial",
        "method",
        "layers",
        "neurons",
        "kernel",
        "criterion",
        "regime",
        "rank",
        "last layers",
        "layers kept",
    ]
    return [*known, *(column(one.metric) for one in results.objectives), "runs", "membership"]


def _cells(results: Results, row: TrialRow) -> dict[str, str]:
    found = {"trial": row.label, **main_settings(row)}
    if results.knee is not None and row.number == results.knee.number:
        found["trial"] += " (knee)"
    for at, (one, value) in enumerate(zip(results.objectives, row.values, strict=True)):
        within = results.interval(row, at)
        spread = f" [{number(within[0], one.metric)}, {number(within[1], one.metric)}]" if within else ""
        found[column(one.metric)] = number(value, one.metric) + spread
    if results.repeated:
        found["runs"] = str(len(row.runs))
        if row.membership is not None:
            found["membership"] = f"{row.membership:.2f}" + (" certain" if row.certain else "")
    return found


def front_section(results: Results, under: Sequence[tuple[str, float]]) -> list[Block]:
    """Members, what they gain over the baseline, and who is best within a budget."""
    head = Heading("Pareto front")
    if not results.front:
        return [head, Text("No trial has finished with every objective measured, so there is no front.")]
    goals = ", ".join(f"{title(one.metric)} ({one.goal})" for one in results.objectives)
    notes = f"{len(results.front)} of {len(results.plotted)} finished trials are not dominated in {goals}."
    if results.repeated:
        sure = sum(row.certain for row in results.front)
        notes += f" Certain (two runs or more, in the front with at least {100 * CERTAIN:.0f} %): {sure} of them."
    refused = [row for row in results.plotted if not row.allowed]
    if refused:
        notes += f" {len(refused)} finished trials break a constraint and are left out."
    after = [Text(note) for note in (brackets(results), gain_words(results)) if note]
    return [head, Text(notes), front_table(results), *after, *budget_blocks(results, under)]


def gain_words(results: Results) -> str:
    """How far the front is beyond the baseline, and what that number means."""
    if results.gain is None:
        return ""
    of = "the baseline" if results.control(YARDSTICK) is not None else "the references"
    text = f"Gain over {of}: {percent(results.gain)} as measured"
    likely = results.likely_gain
    if likely is not None and results.certainty is not None:
        middle, low, high = likely
        text += (
            f"; {percent(middle)} [{percent(low)}, {percent(high)}] allowing for luck of {results.certainty.sources}"
        )
    return f"{text}. {GAIN if of == 'the baseline' else GAIN_ALONE}"


def brackets(results: Results) -> str:
    """What the intervals in the table hold."""
    if results.repeated:
        sources = results.certainty.sources if results.certainty is not None else "clips"
        return (
            "Numbers are means over each trial's runs, as if all had run with the same seeds; brackets hold 95 % "
            f"intervals of these by {sources}."
        )
    alone = "" if results.certainty is None or results.certainty.seeds else " How far seeds scatter is not known."
    return f"Brackets hold 95 % intervals over clips, of one run each.{alone}"


def percent(share: float) -> str:
    """A share as percent, with one digit behind the point where it is small."""
    return f"{100 * share:.1f} %" if share < 0.995 else "100 %"


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
    """The nearest number of three digits that still lets this trial in."""
    if value <= 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    steps = math.ceil(value / unit - 1e-9) if goal == "min" else math.floor(value / unit + 1e-9)
    return round(steps * unit, 12)


def budget_blocks(results: Results, asked: Sequence[tuple[str, float]] = ()) -> list[Block]:
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
