"""How new neurons got on while they were trained: their gradients beside those of old ones, and what they add."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.documents import Block, Heading, Table, Text
from plastsearch.spec.methods import for_newborns

EXPLAINED = (
    "Looked at on a few training clips at every evaluation of `retrain`. *Gradient*: the norm of what a new neuron's "
    "connections get, over that of an old neuron of the same layer; below 1 new neurons are heard less in the backward "
    "pass than the old ones (in the frozen regime old ones do not follow theirs). *Share of output*: of the squared "
    "output that the next layer gets from the site; by their number alone it would be about the share of neurons. "
    "Medians over trials."
)
LEFT = frozenset({"site", "regime", "new neurons got"})
NOTHING = "nothing of their own"
STEPS = 3  # looks that a table shows: at first, half way, at the end


@dataclass(frozen=True)
class Look:
    """One site at one evaluation."""

    step: int
    gradient: float | None
    share: float
    units: float


def newborns(results: Results) -> list[Block]:
    """The section of the report; nothing where no trial looked."""
    groups: dict[tuple[str, str, str], list[list[Look]]] = {}
    for row in results.every:
        got = ", ".join(for_newborns(row.config)) or NOTHING
        for site, looks in looked(row).items():
            groups.setdefault((site, row.config.regime, got), []).append(looks)
    if not groups:
        return []
    rows: tuple[tuple[str, ...], ...] = tuple(
        (*key, str(len(groups[key])), *_cells(groups[key])) for key in sorted(groups)
    )
    columns: tuple[str, ...] = (
        "site", "regime", "new neurons got", "trials", "share of neurons", "gradient at first", "half way",
        "at the end", "share of output at the end",
    )  # fmt: skip
    if all(got == NOTHING for _, _, got in groups):
        rows = tuple((*row[:2], *row[3:]) for row in rows)
        columns = (*columns[:2], *columns[3:])
    return [Heading("Newborns"), Text(EXPLAINED), Table(columns, rows, LEFT)]


def of_trial(row: TrialRow) -> list[Block]:
    """The same of one trial, evaluation by evaluation."""
    found = [
        (site, str(look.step), _number(look.gradient), f"{look.share:.1%}", f"{look.units:.1%}")
        for site, looks in looked(row).items()
        for look in looks
    ]
    columns = ("site", "step of retrain", "gradient over that of an old neuron", "share of output", "share of neurons")
    return [Heading("Newborns"), Table(columns, tuple(found), LEFT)] if found else []


def looked(row: TrialRow) -> dict[str, list[Look]]:
    """What a trial's `retrain` saw at each site, in order; of several the last."""
    found: dict[str, list[Look]] = {}
    for stage in row.record.details.get("stages") or []:
        looks: Sequence[dict[str, Any]] = stage.get("newborns") or []
        if looks:
            found = dict(_sites(looks))
    return found


def _sites(looks: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[Look]]]:
    for site in looks[-1]["sites"]:
        yield site, [Look(one["step"], **one["sites"][site]) for one in looks if site in one["sites"]]


def _cells(trials: Sequence[Sequence[Look]]) -> list[str]:
    at = [[looks[round(k * (len(looks) - 1) / (STEPS - 1))] for looks in trials] for k in range(STEPS)]
    gradients = [[one.gradient for one in each if one.gradient is not None] for each in at]
    return [
        f"{median(one.units for one in at[-1]):.1%}",
        *(_number(median(each) if each else None) for each in gradients),
        f"{median(one.share for one in at[-1]):.1%}",
    ]


def _number(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
