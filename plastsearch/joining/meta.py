"""One number from several sweeps: a random-effects mean, whose interval says how it would go in one more of them.

DerSimonian and Laird's variance between sweeps; the interval by Hartung, Knapp, Sidik and Jonkman, which holds its
level with few of them, and never narrower than the plain one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from plastsearch.analysis.paired import Estimate, student_reach

NORMAL = 1.959964


@dataclass(frozen=True)
class Pooled:
    """The mean over sweeps."""

    value: float
    low: float | None  # None: of a single sweep
    high: float | None
    sweeps: int
    between: float | None = None  # standard deviation between sweeps, their own luck taken off
    weighted: bool = False  # by how sure each is; else each counts alike


def pooled(values: Sequence[Estimate]) -> Pooled | None:
    """Weighted where every sweep's own interval is known, else the plain mean with Student's t."""
    if not values:
        return None
    points = [one.value for one in values]
    if len(values) == 1:
        return Pooled(points[0], values[0].low, values[0].high, 1)
    variances = [_variance(one) for one in values]
    known = [one for one in variances if one is not None and one > 0]
    count = len(values)
    if len(known) < count:
        reach = student_reach(count - 1) * stdev(points) / math.sqrt(count)
        mean = fmean(points)
        return Pooled(mean, mean - reach, mean + reach, count)
    between = _between(points, known)
    weights = [1 / (variance + between) for variance in known]
    total = sum(weights)
    mean = sum(weight * value for weight, value in zip(weights, points, strict=True)) / total
    scatter = sum(weight * (value - mean) ** 2 for weight, value in zip(weights, points, strict=True))
    error = math.sqrt(max(1.0, scatter / (count - 1)) / total)
    reach = student_reach(count - 1) * error
    return Pooled(mean, mean - reach, mean + reach, count, math.sqrt(between), weighted=True)


def _variance(one: Estimate) -> float | None:
    return None if one.low is None or one.high is None else ((one.high - one.low) / 2 / NORMAL) ** 2


def _between(points: Sequence[float], variances: Sequence[float]) -> float:
    """The variance between sweeps, zero where they scatter no more than each does by itself."""
    weights = [1 / variance for variance in variances]
    total = sum(weights)
    mean = sum(weight * value for weight, value in zip(weights, points, strict=True)) / total
    q = sum(weight * (value - mean) ** 2 for weight, value in zip(weights, points, strict=True))
    scale = total - sum(weight**2 for weight in weights) / total
    return max(0.0, (q - (len(points) - 1)) / scale) if scale > 0 else 0.0
