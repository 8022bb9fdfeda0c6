"""A clip of any length as windows of one length, and one score out of theirs."""

import torch
from torch import Tensor

AGGREGATIONS = ("mean", "median", "min", "max", "first")


def starts(n_samples: int, length: int, hop: int) -> list[int]:
    """Where windows begin: every hop, and one more that ends with the clip where the last one does not."""
    if n_samples <= length:
        return [0]
    hop = min(hop, length)  # of models with short windows: nothing goes unheard between two
    found = list(range(0, n_samples - length + 1, hop))
    if found[-1] + length < n_samples:
        found.append(n_samples - length)
    return found


def cut(wave: Tensor, start: int, length: int) -> Tensor:
    """One window; a clip that is shorter is repeated from its beginning, as in training."""
    part = wave[start : start + length]
    return part if len(part) == length else part.repeat(-(-length // len(part)))[:length]


def aggregate(scores: Tensor, how: str) -> float:
    """One score of a clip from those of its windows; `min` is the window that sounds most like a spoof."""
    if how == "median":
        return float(torch.quantile(scores, 0.5))
    return float({"mean": scores.mean(), "min": scores.min(), "max": scores.max(), "first": scores[0]}[how])
