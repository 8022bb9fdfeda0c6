"""Non-dominated layers of points that arrive one by one: what `front.rank` says, without looking at all of them."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from plastsearch.pareto.front import Goal, rank

Points = NDArray[np.float64]
_MANY = 100  # layers, above which to rank all points anew is quicker than to push points from layer to layer


class Layers:
    """Layer 0 is the front, layer 1 the front without it, and so on."""

    def __init__(self, goals: Sequence[Goal], points: Iterable[Sequence[float]] = ()) -> None:
        self._signs = np.array([-1.0 if goal == "max" else 1.0 for goal in goals])
        found = np.asarray(list(points), dtype=np.float64).reshape(-1, len(goals)) * self._signs
        ranks = rank(found, ["min"] * len(goals))
        self._layers = [found[ranks == at] for at in range(ranks.max(initial=-1) + 1)]
        self._all = found[ranks >= 0]
        self._count = len(self._all)  # rows in use: room is made ahead
        self._missing = len(found) - self._count  # with a value that is none: in no layer, and before all of them
        self._sorted = sorted(self._all[:, 0].tolist()) if len(goals) == 1 else None

    def add(self, values: Sequence[float]) -> int:
        """Take in a point; how many of the others lie in layers before its own."""
        point = np.asarray(values, dtype=np.float64) * self._signs
        if not np.isfinite(point).all():
            self._missing += 1
            return 0
        if self._sorted is not None:  # each value is a layer
            only = float(point[0])
            insort(self._sorted, only)
            return self._missing + bisect_left(self._sorted, only)
        self._keep(point)
        return self._missing + (self._layered(point) if len(self._layers) <= _MANY else self._ranked())

    def _keep(self, point: Points) -> None:
        if self._count == len(self._all):
            self._all = np.vstack([self._all, np.empty((self._count + 64, len(point)))])
        self._all[self._count] = point
        self._count += 1

    def _ranked(self) -> int:
        """Of all points, the newest last."""
        ranks = rank(self._all[: self._count], ["min"] * self._all.shape[1])
        return int((ranks < ranks[-1]).sum())

    def _layered(self, point: Points) -> int:
        own = self._first_free_of(point)
        moved = point[None]
        # Whom the newcomer dominates goes one layer down and there pushes on those that it dominates itself.
        for at in range(own, len(self._layers)):
            pushed = _dominated(self._layers[at], moved)
            rest, moving = self._layers[at][~pushed], self._layers[at][pushed]
            self._layers[at] = np.vstack([rest, moved])
            moved = moving
            if not len(moved):
                break
        else:
            self._layers.append(moved)
        return sum(len(layer) for layer in self._layers[:own])

    def _first_free_of(self, point: Points) -> int:
        """The first layer of which nobody dominates it; whoever is dominated in one layer is so in all before it."""
        low, high = 0, len(self._layers)
        while low < high:
            middle = (low + high) // 2
            if _dominated(point[None], self._layers[middle]).any():
                low = middle + 1
            else:
                high = middle
        return low


def _dominated(points: Points, by: Points) -> NDArray[np.bool_]:
    """Which of the points some other dominates."""
    no_worse = (by[:, None] <= points[None]).all(axis=2)
    better = (by[:, None] < points[None]).any(axis=2)
    return np.asarray((no_worse & better).any(axis=0))
