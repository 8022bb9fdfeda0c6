"""One window of a clip of any length, and one score out of those of many; where they begin: data/windows.py."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
Aggregation = Literal["mean", "median", "min", "max", "first"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


def cut(wave: Wave, start: int, length: int) -> Wave:
    """One window; a clip that is shorter is repeated from its beginning, as in training."""
    part = wave[start : start + length]
    if len(part) == length:
        return part
    return np.resize(part, length)  # repeats


def aggregate(scores: NDArray[np.float64], how: Aggregation) -> float:
    """One score of a clip from those of its windows; `min` is the window that sounds most like a spoof."""
    match how:
        case "mean":
            return float(scores.mean())
        case "median":
            return float(np.median(scores))
        case "min":
            return float(scores.min())
        case "max":
            return float(scores.max())
        case "first":
            return float(scores[0])
