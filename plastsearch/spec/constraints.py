"""Constraints such as `params_total <= 1.05 * baseline`: read once, and measured against a trial's metrics."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, NamedTuple

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


Goal = Literal["min", "max"]


class Metric(NamedTuple):
    """How a metric reads; without `final` it says nothing of the finished trial."""

    goal: Goal
    meaning: str
    exact: bool = False  # the same on every machine, for the same seed


TIMES = ("forward_ms", "backward_ms", "optimizer_ms")  # of a step; they compare on one kind of device, used alone
SPIKES = ("spikes_per_inference", "spike_rate")  # of spiking networks alone
NEWBORNS = ("newborn_gradient", "newborn_share")  # of trials whose new neurons can be told from old ones
METRICS: dict[str, Metric] = {
    "dev_eer": Metric("min", "EER of the final model on search-dev, percent", exact=True),
    "dev_eer_low": Metric("min", "lower end of its bootstrap interval, percent", exact=True),
    "dev_eer_high": Metric("min", "upper end of its bootstrap interval, percent", exact=True),
    "dev_min_dcf": Metric("min", "minimum detection cost", exact=True),
    "dev_act_dcf": Metric("min", "actual detection cost", exact=True),
    "dev_cllr": Metric("min", "cost of the log-likelihood ratios, bits", exact=True),
    "dev_auc": Metric("max", "probability that bona fide scores above spoof", exact=True),
    "dev_eer_smooth": Metric("min", "EER of smoothed score distributions, percent", exact=True),
    "dev_eer_baseline": Metric("min", "EER before growth, percent", exact=True),
    "dev_eer_grown": Metric("min", "EER of the grown model, percent", exact=True),
    "dev_eer_pruned": Metric("min", "EER right after removal, percent", exact=True),
    "turnover": Metric("max", "share of new units among the removed", exact=True),
    "forward_ms": Metric("min", "forward time of a step, ms"),
    "backward_ms": Metric("min", "backward time of a step, ms"),
    "optimizer_ms": Metric("min", "optimiser time of a step, ms"),
    "backward_ratio": Metric("min", "backward time against full fine-tuning of the ungrown network"),
    "backward_gflop": Metric("min", "counted work of a backward pass", exact=True),
    "params_total": Metric("min", "parameters of the largest model of the trial", exact=True),
    "params_final": Metric("min", "parameters of the final model", exact=True),
    "params_trainable": Metric("min", "parameters that learn in retrain", exact=True),
    "params_added": Metric("min", "parameters that dropin added", exact=True),
    "peak_memory_mb": Metric("min", "peak memory, MB"),
    "spikes_per_inference": Metric("min", "spikes of a search-dev clip, all neurons and time steps", exact=True),
    "spike_rate": Metric("min", "share of neurons that fire at a time step", exact=True),
    "newborn_gradient": Metric("max", "gradient of a new neuron over that of an old one, after retrain", exact=True),
    "newborn_share": Metric("max", "share of new neurons in their layers' squared output, after retrain", exact=True),
    "train_loss": Metric("min", "training loss at the end", exact=True),
    "seconds": Metric("min", "seconds of the trial"),
    "gpu_seconds": Metric("min", "GPU seconds of the trial"),
}

# The same form for editors, in JSON Schema's regular expressions; a test holds it to `parse_constraint`.
CONSTRAINT_PATTERN = rf"^\s*(?:{'|'.join(METRICS)})\s*(?:<=|>=)\s*(?:{_NUMBER}\s*(?:\*\s*baseline)?|baseline)\s*$"
