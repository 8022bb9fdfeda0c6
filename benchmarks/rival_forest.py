"""A rival of our TPE: random forests that foretell, and a search for the largest expected gain in hypervolume.

One forest for each of two objectives, whose trees are taken for draws of what is not known: the gain of a point is the
mean over trees. The best point is looked for from members of the front and from random ones, one parameter at a time.
Openings are those of our search. Kept out of the product unless it wins (benchmarks/rivals.py).
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from plastsearch.pareto.front import front
from plastsearch.search.anchors import anchors
from plastsearch.search.space import Space
from plastsearch.spec.domains import Params

TREES = 24
STARTS, NEIGHBOURS, STEPS = 10, 12, 4
Floats = NDArray[np.float64]


class Forest:
    """Ask and tell over a space; both objectives are to be small."""

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        self._space = space
        self._seed = seed
        self._startup = min(10, max(4, trials // 4))  # as ours
        self._openings = anchors(space, max(2, trials // 3), np.random.default_rng([seed, 3]))
        self._names = {name: at for at, name in enumerate(space.parameters)}
        self._params: list[Params] = []
        self._losses: list[list[float]] = []
        self._seen: set[str] = set()

    def ask(self) -> Params:
        """The next point, never one that was asked before."""
        order = len(self._params)
        rng = np.random.default_rng([self._seed, order])
        if order < len(self._openings):
            params = self._openings[order]
        elif len(self._losses) < self._startup:
            params = self._space.draw(rng)
        else:
            params = self._best(rng)
        while self._space.config(params).trial_id() in self._seen:
            params = self._space.neighbour(params, rng)
        self._seen.add(self._space.config(params).trial_id())
        self._params.append(params)
        return params

    def tell(self, losses: list[float]) -> None:
        """What the last point came to."""
        self._losses.append(losses)

    def _best(self, rng: np.random.Generator) -> Params:
        known = np.array(self._losses)
        known = (known - known.mean(axis=0)) / np.where(known.std(axis=0) > 0, known.std(axis=0), 1.0)
        rows = np.array([self._row(params) for params in self._params])
        forests = [
            RandomForestRegressor(TREES, max_features=0.7, random_state=int(rng.integers(2**31))).fit(rows, column)
            for column in known.T
        ]
        inside = front(known, ["min", "min"])
        corner = known.max(axis=0) + 0.1
        members = [self._params[at] for at in np.flatnonzero(inside)]
        chosen = rng.permutation(len(members))[: STARTS // 2]
        points = [members[at] for at in chosen] + [self._space.draw(rng) for _ in range(STARTS - len(chosen))]
        scores = self._gains(points, forests, known[inside], corner)
        for _ in range(STEPS):  # all starts climb side by side: a forest is asked once for all neighbours
            near = [[self._space.neighbour(point, rng) for _ in range(NEIGHBOURS)] for point in points]
            gains = self._gains([one for some in near for one in some], forests, known[inside], corner)
            gains = gains.reshape(len(points), NEIGHBOURS)
            best = gains.argmax(axis=1)
            better = gains.max(axis=1) > scores
            if not better.any():
                break
            points = [near[at][best[at]] if better[at] else point for at, point in enumerate(points)]
            scores = np.where(better, gains.max(axis=1), scores)
        for at in np.argsort(-scores):
            if self._space.config(points[at]).trial_id() not in self._seen:
                return points[at]
        return points[int(np.argmax(scores))]

    def _gains(
        self, points: list[Params], forests: list[RandomForestRegressor], members: Floats, corner: Floats
    ) -> Floats:
        """The mean over trees of what a point would add to the dominated area."""
        rows = np.array([self._row(params) for params in points], dtype=np.float32)
        drawn = [np.array([tree.predict(rows) for tree in forest.estimators_]) for forest in forests]
        return gains(np.stack(drawn, axis=-1).reshape(-1, 2), members, corner).reshape(TREES, -1).mean(axis=0)

    def _row(self, params: Params) -> list[float]:
        found = [-1.0] * len(self._names)
        for name, value in params.items():
            one = self._space.parameters[name]
            if one.labels:
                found[self._names[name]] = float(one.labels.index(value))
            else:
                assert isinstance(value, int | float)
                found[self._names[name]] = float(np.log(value)) if one.log else float(value)
        return found


def gains(points: Floats, members: Floats, corner: Floats) -> Floats:
    """The area that each point alone would add to that of a front, below a corner."""
    ordered = members[np.argsort(members[:, 0])]
    lefts = np.append(ordered[:, 0], corner[0])  # strips between neighbours: from one member to the next
    heights = np.append(corner[1], ordered[:, 1])  # above the strip left of each member the area is free up to here
    edges = np.append(-np.inf, lefts)
    found = np.zeros(len(points))
    for strip, height in enumerate(heights):
        low = np.maximum(points[:, 0], edges[strip])
        width = np.clip(np.minimum(edges[strip + 1], corner[0]) - low, 0.0, None)
        found += width * np.clip(np.minimum(height, corner[1]) - points[:, 1], 0.0, None)
    return found
