"""What the figure of an ablation shows, free of any drawing library: two paths, a bar for each step.

why_page.py draws it as a page and why_picture.py as a picture.
"""

from dataclasses import dataclass
from typing import Literal

from plastsearch.analysis.ablations import Ablation, Step, Way
from plastsearch.analysis.figure import COLOURS, number, short, title

Kind = Literal["better", "worse", "same", "end"]

# Told apart by people with any colour vision; what was not shown to differ is pale, whatever its colour.
SHADES: dict[Kind, str] = {
    "better": COLOURS["baseline"], "worse": COLOURS["front"], "same": "#999999", "end": "#444444",
}  # fmt: skip
NAMES: dict[Kind, str] = {"better": "better", "worse": "worse", "same": "no change", "end": "measured"}
PALE = 0.45
HEADS = {
    "forward": "forward: from the baseline, add what helps most",
    "backward": "backward: from the trial, take away what costs least",
}
LONGEST = 54  # of a label, beyond which it would leave no room for the bars


@dataclass(frozen=True)
class Bar:
    """A step from one value to the next, or, where both are one, an end of the path."""

    label: str
    start: float
    end: float
    low: float | None
    high: float | None
    kind: Kind
    clear: bool
    text: str  # the change in numbers


@dataclass(frozen=True)
class Panel:
    """One direction."""

    title: str
    bars: tuple[Bar, ...]


def panels(ablation: Ablation) -> tuple[Panel, Panel]:
    """Both directions, in the order in which their steps were taken."""
    forward, backward = (_panel(ablation, way) for way in ablation.paths)
    return forward, backward


def axis(ablation: Ablation) -> str:
    """What the values are."""
    seeds = len(ablation.seeds)
    better = "less" if ablation.goal == "min" else "more"
    return f"{title(ablation.metric)} · {better} is better" + (f" · mean of {seeds} seeds" if seeds > 1 else "")


def heading(ablation: Ablation) -> str:
    """The figure's title."""
    return f"Why did trial {ablation.trial} of {ablation.sweep} win?"


def change(step: Step, metric: str) -> str:
    """After minus before, with its interval where it has one."""
    found = signed(step.points, metric)
    if step.low is None or step.high is None:
        return found
    return f"{found} [{signed(step.low, metric)}, {signed(step.high, metric)}]"


def signed(value: float, metric: str) -> str:
    """A difference with its sign."""
    text = number(abs(value), metric)
    # Rounded to nothing it has no sign.
    return text if float(text.replace(",", "") if text != "–" else 0) == 0 else f"{'+' if value > 0 else '−'}{text}"


def step_words(step: Step) -> str:
    """A step for a table or an axis, sites that differ in one number drawn together."""
    sign, _, rest = step.words.partition(" ")
    parts = rest.split(" and ")
    places = [part.removeprefix("grow at ") for part in parts if part.startswith("grow at ")]
    others = [part for part in parts if not part.startswith("grow at ")]
    return f"{sign} " + " and ".join([*others, *([f"grow at {short(places)}"] if places else [])])


def _panel(ablation: Ablation, way: Way) -> Panel:
    names = ["baseline", f"trial {ablation.trial}"]
    first, last = names if way.direction == "forward" else names[::-1]
    bars = [_end(first, way.start, ablation.metric)]
    at = way.start
    for step in way.steps:
        bars.append(_bar(ablation, step, at))
        at = step.value
    bars.append(_end(last if way.complete else "… stopped here", at, ablation.metric))
    return Panel(HEADS[way.direction], tuple(bars))


def _end(label: str, value: float, metric: str) -> Bar:
    return Bar(label, value, value, None, None, "end", True, number(value, metric))


def _bar(ablation: Ablation, step: Step, at: float) -> Bar:
    gain = step.points if ablation.goal == "max" else -step.points
    kind: Kind = "same" if gain == 0 else "better" if gain > 0 else "worse"
    low, high = (None if reach is None else at + reach for reach in (step.low, step.high))
    label = step_words(step)
    if len(label) > LONGEST:
        label = label[: LONGEST - 1] + "…"
    return Bar(label, at, step.value, low, high, kind, step.clear, change(step, ablation.metric))
