"""Constraints of a sweep, applied to finished trials: `backward_ratio <= 0.5`, `params_total <= 1.05 * baseline`."""

import operator
import re
from collections.abc import Callable, Mapping

from plastsearch.errors import PlastsearchError

_FORM = re.compile(
    r"\s*(?P<metric>\w+)\s*(?P<sign><=|>=|<|>)\s*(?P<bound>[\d.eE+-]+)?\s*(?P<baseline>\*?\s*baseline)?\s*"
)
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip


def meets(limit: str, metrics: Mapping[str, float], baseline: Mapping[str, float]) -> bool:
    """Whether a trial keeps within one limit; a metric that was not measured does not.

    `baseline` in a limit means the same metric of the untouched network: its size is known to every trial, all else
    comes from the control of that name.
    """
    found = _FORM.fullmatch(limit)
    if found is None or not (found["bound"] or found["baseline"]):
        raise PlastsearchError(f"constraint '{limit}': not understood; write it as 'params_total <= 1.05 * baseline'")
    metric, bound = found["metric"], float(found["bound"] or 1.0)
    if found["baseline"]:
        own = metrics.get("params_baseline") if metric.startswith("params") else None
        of_baseline = own if own is not None else baseline.get(metric)
        if of_baseline is None:
            return True  # nothing to compare with yet
        bound *= of_baseline
    value = metrics.get(metric)
    return value is not None and _SIGNS[found["sign"]](value, bound)
