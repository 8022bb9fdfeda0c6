"""A clip of any length as windows of one length, and one score out of many."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
Aggregation = Literal["mean", "median", "min", "max", "first"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


def starts(n_samples: int, length: int, hop: int) -> list[int]:
    """Where windows begin: every hop, and one more that ends with the clip where the last one does not."""
    if n_samples <= length:
        return [0]
    hop = min(hop, length)  # of models with short windows: nothing goes unheard between two
    found = list(range(0, n_samples - length + 1, hop))
    if found[-1] + length < n_samples:
        found.append(n_samples - length)
    return found


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
