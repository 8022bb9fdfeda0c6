"""What the figures of an ablation and of importances show, free of any drawing library: steps as bars, and dots.

why_page.py draws it as a page and picture.py as a picture.
"""

from dataclasses import dataclass
from typing import Literal

from plastsearch.analysis.ablations import Ablation, Step, Way
from plastsearch.analysis.figure import COLOURS, number, short, title
from plastsearch.analysis.importance import FEW, Importance, Importances

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
LONGEST = 60  # of a label, beyond which it would leave no room for the bars


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
    if not others:
        return f"{sign} grow at {short(places)}"
    return f"{sign} {' and '.join(others)}" + (f" at {short(places)}" if places else "")


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


# importances

METHODS = ("PED-ANOVA, share (%); tick: chance", "forest, R² lost")
SHOWN = 16  # parameters of one objective: the sums, then who weighs most by either method


@dataclass(frozen=True)
class Dots:
    """One method for one objective: a dot and an interval for each parameter."""

    title: str
    axis: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    colour: str
    chance: tuple[float, ...] = ()  # a tick: beyond it a value is more than chance


def dots(one: Importance) -> tuple[Dots, Dots]:
    """Both methods side by side, parameters in one order."""
    ranked = sorted(one.weights, key=lambda weight: -max(weight.ped, weight.forest / max(one.r2, 0.05)))
    kept = [*one.sums, *ranked[: SHOWN - len(one.sums)]]
    names = tuple(f"{weight.name} (sum)" if weight in one.sums else weight.name for weight in kept)
    learnt = f"R² {one.r2:.2f}" if one.r2 > 0 else f"R² {one.r2:.2f}: nothing learnt"
    return (
        Dots(
            title(one.metric), METHODS[0], names, tuple(100 * weight.ped for weight in kept),
            tuple(100 * weight.ped_low for weight in kept), tuple(100 * weight.ped_high for weight in kept),
            COLOURS["baseline"], tuple(100 * weight.ped_chance for weight in kept),
        ),
        Dots(
            learnt, METHODS[1], names, tuple(weight.forest for weight in kept),
            tuple(weight.forest_low for weight in kept), tuple(weight.forest_high for weight in kept), COLOURS["front"],
        ),
    )  # fmt: skip


def dots_heading(found: Importances, name: str) -> str:
    """The figure's title."""
    few = " · few: mostly noise" if found.trials < FEW else ""
    return f"What mattered in {name}? {found.trials} trials{few}"
