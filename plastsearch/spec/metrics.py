"""The metrics of a finished trial: what may be an objective, a constraint or a halting rule's measure."""

from typing import Literal, NamedTuple

Goal = Literal["min", "max"]


class Metric(NamedTuple):
    """How a metric reads; without `final` it says nothing of the finished trial."""

    goal: Goal
    meaning: str
    exact: bool = False  # the same on every machine, for the same seed


METRICS: dict[str, Metric] = {
    "dev_eer": Metric("min", "EER of the final model on search-dev, percent", exact=True),
    "dev_eer_low": Metric("min", "lower end of its bootstrap interval, percent", exact=True),
    "dev_eer_high": Metric("min", "upper end of its bootstrap interval, percent", exact=True),
    "dev_min_dcf": Metric("min", "minimum detection cost", exact=True),
    "dev_act_dcf": Metric("min", "actual detection cost", exact=True),
    "dev_cllr": Metric("min", "cost of the log-likelihood ratios, bits", exact=True),
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
    "train_loss": Metric("min", "training loss at the end", exact=True),
    "seconds": Metric("min", "seconds of the trial"),
    "gpu_seconds": Metric("min", "GPU seconds of the trial"),
}
