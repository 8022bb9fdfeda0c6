"""Which points are not dominated, how much they dominate together, and the one where trade-offs bend. No trials here.

Goals are "min" or "max", one for each column. A row with a missing value (NaN or infinite) is never in a front.
"""

from collections.abc import Sequence
from typing import Literal

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

Goal = Literal["min", "max"]


def front(values: ArrayLike, goals: Sequence[Goal]) -> NDArray[np.bool_]:
    """True for rows that no other row beats in one column without losing in another; equal rows stay together."""
    points, whole = _minimised(values, goals)
    mask = np.zeros(len(points), dtype=np.bool_)
    if whole.any():
        # Without keep_weakly one of several equal rows would stand for all, and the others would look dominated.
        mask[whole] = moocore.is_nondominated(points[whole], keep_weakly=True)
    return mask


def rank(values: ArrayLike, goals: Sequence[Goal]) -> NDArray[np.int64]:
    """0 for the front, 1 for the front without it, and so on; -1 for rows with a missing value."""
    points, whole = _minimised(values, goals)
    ranks = np.full(len(points), -1, dtype=np.int64)
    if whole.any():
        ranks[whole] = moocore.pareto_rank(points[whole])
    return ranks


def hypervolume(values: ArrayLike, goals: Sequence[Goal], reference: Sequence[float]) -> float:
    """Volume dominated between the points and the reference; points beyond the reference add nothing."""
    points, whole = _minimised(values, goals)
    corner, _ = _minimised([list(reference)], goals)
    inside = whole & (points < corner).all(axis=1)
    return float(moocore.hypervolume(points[inside], ref=corner[0])) if inside.any() else 0.0


def knee(values: ArrayLike, goals: Sequence[Goal]) -> int | None:
    """Row of the front closest to the ideal, each objective scaled to the front's range; None without a front."""
    members = np.flatnonzero(front(values, goals))
    if members.size == 0:
        return None
    points = _minimised(values, goals)[0][members]
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled = (points - low) / np.where(span > 0, span, 1.0)
    return int(members[np.argmin(np.linalg.norm(scaled, axis=1))])


def _minimised(values: ArrayLike, goals: Sequence[Goal]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(goals))
    signs = np.array([-1.0 if goal == "max" else 1.0 for goal in goals])
    whole = np.asarray(np.isfinite(points).all(axis=1))
    return points * signs, whole
