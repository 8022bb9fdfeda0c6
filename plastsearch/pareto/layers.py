"""Non-dominated layers of points that arrive one by one: what `front.rank` says, without looking at all of them."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plastsearch.pareto.front import Goal, rank

Points = NDArray[np.float64]


class Layers:
    """Layer 0 is the front, layer 1 the front without it, and so on."""

    def __init__(self, goals: Sequence[Goal], points: Iterable[Sequence[float]] = ()) -> None:
        self._goals = list(goals)
        self._signs = np.array([-1.0 if goal == "max" else 1.0 for goal in goals])
        found = np.asarray(list(points), dtype=np.float64).reshape(-1, len(goals))
        ranks = rank(found, goals)
        self._layers = [found[ranks == at] * self._signs for at in range(ranks.max(initial=-1) + 1)]
        self._missing = int((ranks < 0).sum())  # with a value that is none: in no layer, and before all of them

    def add(self, values: ArrayLike) -> int:
        """Take in a point; how many of the others lie in layers before its own."""
        point = np.asarray(values, dtype=np.float64) * self._signs
        if not np.isfinite(point).all():
            self._missing += 1
            return 0
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
        return self._missing + sum(len(layer) for layer in self._layers[:own])

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
