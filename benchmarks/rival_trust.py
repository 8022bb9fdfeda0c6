"""Another rival: our TPE held near a member of the front, by how many parameters a proposal may differ from it.

What lies further away is moved back in parameters chosen at random. The distance grows when proposals enter the front
and shrinks when they do not, and begins anew when nothing is left of it, as trust regions for mixed spaces do. Kept out
of the product unless it wins (benchmarks/rivals.py).
"""

from collections.abc import Mapping

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler

from plastsearch.pareto.front import front
from plastsearch.search.samplers import OptunaSampler
from plastsearch.search.tpe import Memory, Tpe
from plastsearch.spec.domains import Params

GROW, SHRINK = 2, 4  # successes and failures in a row after which the distance changes
FACTOR = 1.5


class TrustSampler(OptunaSampler):
    """Ours, with the region."""

    def _inner(self, order: int) -> BaseSampler | None:
        seed = int(np.random.default_rng([self._seed, order, 1]).integers(2**31))
        return TrustTpe(seed, self._memory)


class TrustTpe(Tpe):
    """TPE whose joint proposals differ from a member of the front in few parameters."""

    def __init__(self, seed: int, memory: Memory) -> None:
        super().__init__(seed, memory)
        self._where = np.random.default_rng([seed, 9])
        self._centre: np.ndarray | None = None

    def _drawn(self, space: Mapping[str, BaseDistribution], *, several: bool) -> Params:
        if len(space) == 1:  # a parameter that hangs on others
            return super()._drawn(space, several=several)
        memory = self._memory
        if self._centre is None:
            members = np.flatnonzero(front(memory.losses, ["min"] * memory.losses.shape[1]))
            self._centre = memory.params[self._where.choice(members)]
        names = tuple(space)
        good, bad = (self._observed(rows, names) for rows in self._rows)
        if names not in self._mixtures:
            alike = np.ones(len(good[names[0]])) if several else None
            self._mixtures[names] = (self._mixture(good, space, alike), self._mixture(bad, space, None))
        below, above = self._mixtures[names]
        samples = below.sample(self._rng.rng, self._n_ei_candidates)
        self._pull(samples, names, distance(memory, len(names)))
        best = self._compare(samples, self._compute_acquisition_func(samples, below, above))
        return {name: one.to_external_repr(best[name]) for name, one in space.items()}

    def _pull(self, samples: dict[str, np.ndarray], names: tuple[str, ...], most: int) -> None:
        """Move candidates back to the centre in all but so many of the parameters in which they differ."""
        assert self._centre is not None
        centre = self._centre[[self._memory.places[name] for name in names]]
        table = np.stack([samples[name] for name in names], axis=1)
        for row in table:
            differing = np.flatnonzero((row != centre) & ~np.isnan(centre))
            if len(differing) > most:
                back = self._where.choice(differing, len(differing) - most, replace=False)
                row[back] = centre[back]
        for at, name in enumerate(names):
            samples[name] = table[:, at]


def distance(memory: Memory, dimensions: int) -> int:
    """How far proposals may go now, from the trials so far: a resumed search would come to the same."""
    start = most = max(2.0, dimensions / 2)
    wins = losses = 0
    order = np.argsort(memory.numbers)
    for at in range(10, len(order)):
        known = memory.losses[order[: at + 1]]
        dominated = ((known[:-1] <= known[-1]).all(axis=1)).any()
        wins, losses = (0, losses + 1) if dominated else (wins + 1, 0)
        if wins == GROW:
            most, wins = min(most * FACTOR, float(dimensions)), 0
        elif losses == SHRINK:
            most, losses = most / FACTOR, 0
        if most < 1:
            most = start
    return max(1, round(most))
