"""Constraints such as `params_total <= 1.05 * baseline`: read once, and measured against a trial's metrics."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from plastsearch.spec.metrics import METRICS

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FORM = re.compile(
    rf"\s*(?P<metric>[A-Za-z_]\w*)\s*(?P<sign><=|>=)\s*"
    rf"(?:(?P<bound>{_NUMBER})\s*(?P<times>\*\s*baseline)?|(?P<bare>baseline))\s*"
)


@dataclass(frozen=True)
class Constraint:
    """A bound on one metric; `relative`: in multiples of the same metric of the untouched network."""

    metric: str
    sign: Literal["<=", ">="]
    bound: float
    relative: bool = False

    def violation(self, metrics: Mapping[str, float], baseline: Mapping[str, float]) -> float | None:
        """How far beyond the bound, as a share of it; 0 or less within it; None where something was not measured."""
        bound = self.bound
        if self.relative:
            own = metrics.get("params_baseline") if self.metric.startswith("params") else None
            untouched = own if own is not None else baseline.get(self.metric)
            if untouched is None:
                return None
            bound *= untouched
        value = metrics.get(self.metric)
        if value is None:
            return None
        beyond = value - bound if self.sign == "<=" else bound - value
        return beyond / abs(bound) if bound else beyond


def parse_constraint(text: str) -> Constraint:
    """Read one constraint; a ValueError says how it is written."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is not understood; write '<metric> <= <number>', e.g. 'params_total <= 1.05 * baseline'"
        )
    return Constraint(
        known_metric(found["metric"]),
        "<=" if found["sign"] == "<=" else ">=",
        float(found["bound"] or 1.0),
        bool(found["times"] or found["bare"]),
    )


def known_metric(name: str) -> str:
    """The name, if trials report such a metric."""
    if name not in METRICS:
        close = get_close_matches(name, METRICS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown metric {name!r}{hint}; known: {', '.join(METRICS)}")
    return name
