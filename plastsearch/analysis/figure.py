"""What the figure of a front shows, free of any drawing library: axes, groups of points, borders, bands, hover text.

page.py draws it as a page and picture.py as a picture; they also draw site_panels.py.
"""

import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.pareto.attainment import BANDS, Corners
from plastsearch.pareto.attainment import bands as areas
from plastsearch.pareto.front import Goal
from plastsearch.spec.methods import METHODS, reads

TITLES = {
    "dev_eer": "dev EER (%)", "eval_eer": "eval EER (%)", "backward_ratio": "backward time ÷ full fine-tuning",
    "backward_ms": "backward time (ms)", "backward_gflop": "backward work (GFLOP)",
    "params_total": "parameters, largest", "params_final": "parameters, final",
    "params_trainable": "trainable parameters", "params_added": "added parameters",
    "dev_min_dcf": "dev minDCF", "dev_act_dcf": "dev actDCF", "dev_cllr": "dev Cllr (bits)",
    "dev_auc": "dev AUC", "dev_eer_smooth": "dev EER, smoothed",
    "eval_min_tdcf": "eval min t-DCF",
    "peak_memory_mb": "peak memory (MB)",
}  # fmt: skip
COLUMNS = {
    "dev_eer": "dev EER %", "eval_eer": "eval EER %", "backward_ratio": "backward ratio", "params_total": "parameters",
}  # fmt: skip
BUTTONS = {"dev_eer": "EER", "backward_ratio": "backward", "params_total": "parameters"}  # where room is scarce
# Okabe-Ito: told apart by people with any colour vision, and by symbol as well.
COLOURS = {"front": "#D55E00", "baseline": "#0072B2", "lora": "#009E73", "adalora": "#E69F00", "random": "#CC79A7",
           "other": "#56B4E9"}  # fmt: skip
SYMBOLS = {"baseline": "star", "lora": "diamond", "adalora": "cross", "random": "x", "other": "square"}
DESCRIBED = {"regime": "regime", "criterion": "criterion", "rank": "rank", "lora_share": "LoRA share",
             "last_k": "last layers", "truncate_to": "layers kept"}  # fmt: skip
WIDE = 8.0  # a range of values beyond this factor reads better on a logarithmic axis


@dataclass(frozen=True)
class AxisPair:
    """One pair of objectives; the third, if there is one, colours the points."""

    x: int
    y: int
    colour: int | None
    log_x: bool
    log_y: bool


@dataclass(frozen=True)
class Group:
    """Trials that are drawn alike and share an entry of the legend."""

    kind: Literal["trials", "refused", "front", "probable", "control"]
    name: str
    rows: list[TrialRow]
    look: str = ""  # of a control: its key in COLOURS and SYMBOLS


def groups(results: Results) -> list[Group]:
    """Every finished trial once, those that matter most last, so that they are drawn on top."""
    rows = results.plotted
    search = [row for row in rows if row.record.role == "search"]
    found = [
        Group("trials", "trials", [row for row in search if row.allowed and not row.in_front]),
        Group("refused", "break a constraint", [row for row in search if not row.allowed]),
        *_members([row for row in search if row.in_front], results.repeated),
    ]
    for name in sorted({row.record.control or "other" for row in results.controls}):
        of_kind = [row for row in rows if row.record.role == "control" and row.record.control == name]
        if of_kind:
            found.append(Group("control", of_kind[0].label, of_kind, name if name in SYMBOLS else "other"))
    return found


def _members(rows: list[TrialRow], repeated: bool) -> list[Group]:
    """Who is surely in the front has another shape than who probably is; with one run each nobody can tell."""
    if not repeated:
        return [Group("front", "front", rows)]
    return [
        Group("probable", "front, probable", [row for row in rows if not row.certain]),
        Group("front", "front, certain", [row for row in rows if row.certain]),
    ]


def title(metric: str) -> str:
    """A metric as an axis or column names it."""
    return TITLES.get(metric, metric.replace("_", " "))


def column(metric: str) -> str:
    """A metric as a table names it."""
    return COLUMNS.get(metric, title(metric))


def brief(metric: str) -> str:
    """A metric as a button names it."""
    return BUTTONS.get(metric, metric.replace("_", " "))


def axis_pairs(results: Results) -> list[AxisPair]:
    """Every pair of objectives, cost across and error up; one objective is shown against the trial number (x = -1)."""
    count = len(results.objectives)
    if count == 1:
        return [AxisPair(-1, 0, None, False, wide(results, 0))]
    pairs = [(b, a) for a, b in combinations(range(count), 2)]
    return [
        AxisPair(x, y, next((n for n in range(count) if n not in (x, y)), None), wide(results, x), wide(results, y))
        for x, y in pairs
    ]


def wide(results: Results, objective: int) -> bool:
    """Whether this objective's values ask for a logarithmic axis."""
    values = [row.values[objective] for row in results.plotted]
    return bool(values) and min(values) > 0 and max(values) / min(values) > WIDE


def round_values(low: float, high: float) -> list[float]:
    """1, 2, 5 and their tenfolds around a positive range: the ticks of a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    return [round(tick, 12) for tick in ticks if low / 2.5 <= tick <= high * 2.5]


def tick(value: float) -> str:
    """A short number for an axis: 0.05, 20, 180k, 94M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def log_ticks(results: Results, objective: int) -> list[float]:
    """Round values over the range of an objective; none where a logarithm has no place."""
    values = [place(row, objective) for row in results.plotted]
    return round_values(min(values), max(values)) if values and min(values) > 0 else []


def place(row: TrialRow, objective: int) -> float:
    """Where a trial stands on an axis; -1 is the trial number."""
    return float(row.number) if objective < 0 else row.values[objective]


def spread(results: Results, rows: Sequence[TrialRow], objective: int) -> tuple[list[float], list[float]]:
    """How far each interval reaches below and above its value; nothing where there is none."""
    within = [(row.values[objective], results.interval(row, objective)) for row in rows]
    below = [value - bounds[0] if bounds else 0.0 for value, bounds in within]
    return below, [bounds[1] - value if bounds else 0.0 for value, bounds in within]


def bands(results: Results, pair: AxisPair) -> list[tuple[float, Corners]]:
    """Share of the draws → the area where their fronts run, in one pair of objectives; none if nothing is known."""
    if pair not in results.bands:  # asked for by picture and page alike
        results.bands[pair] = _bands(results, pair)
    return results.bands[pair]


def _bands(results: Results, pair: AxisPair) -> list[tuple[float, Corners]]:
    certainty = results.certainty
    at = [n for n, row in enumerate(results.plotted) if row.allowed]
    if certainty is None or not at:
        return []
    goals = _goals(results, pair)
    columns = [
        certainty.draws[:, at, n] if n >= 0 else np.broadcast_to([float(results.plotted[m].number) for m in at],
                                                                  certainty.draws[:, at, 0].shape)
        for n in (pair.x, pair.y)
    ]  # fmt: skip
    draws = np.stack(columns, axis=2)
    worst = (_worst(results, pair.x), _worst(results, pair.y))
    return list(zip(BANDS, areas(draws, goals, BANDS, worst), strict=True))


def _worst(results: Results, objective: int) -> float:
    """The end of an axis where the worst trial stands: there a band is cut."""
    places = [place(row, objective) for row in results.plotted]
    worst_is_low = objective >= 0 and results.objectives[objective].goal == "max"
    return min(places) if worst_is_low else max(places)


def _goals(results: Results, pair: AxisPair) -> tuple[Goal, Goal]:
    first, second = ("min" if n < 0 else results.objectives[n].goal for n in (pair.x, pair.y))
    return first, second


def band_name(share: float) -> str:
    """What the legend calls it."""
    return f"{100 * share:.0f} % of fronts"


def front_line(results: Results, pair: AxisPair) -> list[tuple[float, float]]:
    """The staircase of the trials that count, controls included, in one pair of objectives."""
    points = [(place(row, pair.x), place(row, pair.y)) for row in results.plotted if row.allowed]
    return staircase(points, _goals(results, pair))


def staircase(points: Sequence[tuple[float, float]], goals: tuple[str, str]) -> list[tuple[float, float]]:
    """The border of what these points dominate, as the corners of a line, from left to right."""
    flip_x, flip_y = (-1 if goal == "max" else 1 for goal in goals)
    best: list[tuple[float, float]] = []
    for x, y in sorted((flip_x * x, flip_y * y) for x, y in points):
        if not best or y < best[-1][1]:
            best.append((x, y))
    corners: list[tuple[float, float]] = []
    for x, y in best:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    found = [(flip_x * x, flip_y * y) for x, y in corners]
    return found if flip_x == 1 else found[::-1]


def hover(results: Results, row: TrialRow) -> str:
    """Everything about a trial in a few escaped lines."""
    config = row.config
    lines = [f"<b>{html.escape(row.label)}</b>" + (f" · {standing(row)}" if row.in_front else "")]
    if row.record.control is not None:
        lines.append(f"control, trial {row.number}")
    if row.allowed is False:
        lines.append("breaks a constraint")
    if results.repeated:
        share = "" if row.membership is None else f", in the front with {row.membership:.0%}"
        lines.append(f"{runs(row)}{share}")
    for at, one in enumerate(results.objectives):
        within = results.interval(row, at)
        spread = f" [{number(within[0], one.metric)} – {number(within[1], one.metric)}]" if within else ""
        each = [run.metrics[one.metric] for run in row.runs if one.metric in run.metrics]
        seen = ", ".join(number(value, one.metric) for value in each)
        single = f" · single runs {seen}" if len(set(each)) > 1 else ""
        lines.append(f"{title(one.metric)}: {number(row.values[at], one.metric)}{spread}{single}")
    for name, value in main_settings(row).items():
        lines.append(f"{name}: {html.escape(value)}")
    lines.append(f"config {config.trial_id()}")
    return "<br>".join(lines)


def standing(row: TrialRow) -> str:
    """How sure its place in the front is."""
    if row.membership is None:
        return "in the front"
    return "certain member of the front" if row.certain else "probable member of the front"


def runs(row: TrialRow) -> str:
    """With how many seeds it ran."""
    return "1 run" if len(row.runs) == 1 else f"mean of {len(row.runs)} runs"


def main_settings(row: TrialRow) -> dict[str, str]:
    """What a person wants to know of a configuration, shortest first."""
    config = row.config
    found: dict[str, str] = {"method": config.method}
    grown = config.growth() if METHODS[config.method].placed else {}
    if grown:
        counts = set(grown.values())
        found["layers"] = short(grown)
        how = "kernel" if config.rings() else "neurons"
        found[how] = str(counts.pop()) if len(counts) == 1 else ", ".join(map(str, grown.values()))
    if row.record.placed:
        found["placed"] = ", ".join(f"{site} +{neurons}" for site, neurons in row.record.placed.items())
    for key, called in DESCRIBED.items():
        value = getattr(config, key) if reads(config.method, key) else None
        if key == "criterion" and config.rings():
            continue  # rings are cut without one
        if key == "regime" and not METHODS[config.method].grows:
            continue  # adapters are all that learns, whatever the growth they are matched to would do
        if value is not None:
            found[called] = str(value)
    return found


def short(sites: Iterable[str]) -> str:
    """Site names with those that differ in one number drawn together: `encoder.{0,3}.ffn`."""
    groups: dict[tuple[str, str], list[str]] = {}
    for site in sites:
        found = re.search(r"\d+", site)
        start, end = found.span() if found else (len(site), len(site))
        groups.setdefault((site[:start], site[end:]), []).append(site[start:end])
    names = []
    for (before, after), depths in groups.items():
        inside = f"{{{','.join(depths)}}}" if len(depths) > 1 else depths[0]
        names.append(f"{before}{inside}{after}")
    return ", ".join(names)


def number(value: float, metric: str = "") -> str:
    """A value with as many digits as it deserves."""
    if not math.isfinite(value):
        return "–"
    if metric.startswith("params"):
        return f"{value:,.0f}"
    if metric.endswith(("eer", "eer_low", "eer_high")):
        return f"{value:.2f}"
    if metric.endswith("ratio"):
        return f"{value:.3f}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
