"""Which points open a sweep that was told of earlier ones: those that together most likely dominate most.

An earlier front is made of lucky trials and of the few points that happened to be tried. So each earlier sweep's
trials are smoothed over the space (pareto/surface.py), what points may truly be worth is drawn many times, and the
points are taken one by one whose volume beyond those taken before is largest on average; of a small space also such
as nobody tried.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import JsonValue

from plastsearch.pareto.front import rank
from plastsearch.pareto.likeness import LEAST
from plastsearch.pareto.surface import Floats, Smooth, heard
from plastsearch.search.parameters import flat
from plastsearch.search.space import Space
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.earlier import Earlier, EarlierTrial, Opening

SHARE = 2  # one of so many trials at most is an opening that earlier sweeps found
MOST = 20
_DRAWS = 64
_PROBES = 256  # points of each draw's box: the share of them that is dominated is the volume
_WHOLE = 600  # a space of no more points is looked at whole
_TRIED = 240  # of a larger one at most


def openings(earlier: Earlier, spec: SweepSpec, space: Space) -> list[Opening]:
    """Points that open a search, from what each earlier sweep knows in turn, each configuration once."""
    count = min(MOST, max(1, spec.search.trials // SHARE))
    rng = np.random.default_rng([spec.search.seed, 6])
    pool = _pool(earlier, space, rng)
    if not pool:  # every trial exceeds a limit
        return []
    rows = earlier.rows(pool)
    sources = [_Source(earlier, at, rows, rng) for at in range(len(earlier.sweeps))]
    found: dict[str, Opening] = {}
    while len(found) < count and any(one.open for one in sources):
        for at, source in enumerate(sources):
            if source.open and len(found) < count:
                place = source.best()
                found.setdefault(space.config(flat(pool[place])).trial_id(), Opening(params=pool[place], of=at))
                for one in sources:
                    one.take(place)
    return list(found.values())


def _pool(earlier: Earlier, space: Space, rng: Generator) -> list[dict[str, JsonValue]]:
    """The points that may open: all of a small space; of a larger one the best that were tried."""
    # In a large space whatever nobody tried may be anything, and would be taken for that: on landscapes of 24 sites the
    # first ten openings then dominated 0.75 to 0.84 of what they do so.
    best = [_best(earlier, sweep.trials) for sweep in earlier.sweeps]
    found = [one.params for some in best for one in some[: _TRIED // len(best)]]
    if space.size is not None and space.size <= _WHOLE:
        whole: list[dict[str, JsonValue]] = [{**space.flat(point, rng)} for point in space.points()]
        return [*found, *whole]
    return found


def _best(earlier: Earlier, trials: Sequence[EarlierTrial]) -> list[EarlierTrial]:
    """Within the limits, front after front."""
    allowed = [one for one in trials if one.excess <= 0]
    if not allowed:
        return []
    losses = earlier.losses([one.values for one in allowed])
    ranks = rank(losses, ["min"] * losses.shape[1])
    return [allowed[at] for at in np.argsort(ranks, kind="stable")]


class _Source:
    """An earlier sweep: of each point of the pool which parts of the volume it would win, draw by draw."""

    def __init__(self, earlier: Earlier, at: int, pool: Floats, rng: Generator) -> None:
        trials = earlier.sweeps[at].trials
        trials = [trials[one] for one in heard(earlier.losses([trial.values for trial in trials]))]
        allowed = np.array([one.excess <= 0 for one in trials])
        rows = earlier.rows([one.params for one in trials])
        losses = earlier.losses([one.values for one in trials])
        columns = [form.column for form in earlier.parameters.values()]
        models = [Smooth(columns, rows, column) for column in losses.T]
        drawn = np.stack([model.draws(pool, _DRAWS, rng) for model in models], axis=-1)
        may = np.ones(len(pool), dtype=np.bool_)
        if not allowed.all():  # a point is left out where more of its neighbours than not broke a limit
            may = Smooth(columns, rows, 1.0 - allowed).of(pool) < 0.5
        known = {row.tobytes(): bool(fine) for row, fine in zip(rows, allowed, strict=True)}
        # So few trials say nothing of points that were not tried.
        elsewhere = len(trials) >= LEAST
        may &= np.array([known.get(row.tobytes(), elsewhere) for row in pool])
        self._wins = self._won(drawn, losses[allowed], may, rng)

    @property
    def open(self) -> bool:
        """Whether any point is left that may win something."""
        return bool(self._wins.any())

    def best(self) -> int:
        """The point that wins most on average."""
        return int(self._wins.sum(axis=0).argmax())

    def take(self, place: int) -> None:
        """What that point wins nobody else does."""
        self._wins = self._wins[~self._wins[:, place]]
        self._wins[:, place] = False

    @staticmethod
    def _won(drawn: Floats, losses: Floats, may: NDArray[np.bool_], rng: Generator) -> NDArray[np.bool_]:
        """[probes, points]: which points dominate which probes, spread over each draw's box."""
        if not may.any() or not len(losses):
            return np.zeros((0, len(may)), dtype=np.bool_)
        low = drawn[:, may].min(axis=1, keepdims=True)
        high = np.maximum(losses.max(axis=0), low)
        probes = low + rng.random((len(drawn), _PROBES, drawn.shape[2])) * (high - low)
        wins = np.ones((len(drawn), _PROBES, drawn.shape[1]), dtype=np.bool_)
        for objective in range(drawn.shape[2]):
            wins &= drawn[:, None, :, objective] <= probes[:, :, None, objective]
        wins &= may
        flat_: NDArray[np.bool_] = wins.reshape(-1, len(may))
        return flat_[flat_.any(axis=1)]
