"""Multivariate TPE whose proposals cost the same however long the sweep is. A sampler for any Optuna study.

Up to `MOST` finished trials it is Optuna's own, number for number. Beyond, it looks at the best and at the newest: what
a bad trial of long ago has to say, later ones have said again. Which ones follows from the trials alone, so that a
resumed sweep looks at the same.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna._hypervolume import solve_hssp
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from plastsearch.pareto.front import Goal, rank

MOST = 300  # finished trials looked at
CANDIDATES = 24
_SHARE, _MOST_GOOD = 0.1, 25  # of the finished trials, how many count as good; with one objective at most so many

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class Memory:
    """Each trial of a study in numbers, read once: parameters (NaN: it has none), losses, by how much it violates."""

    def __init__(self, known: Mapping[str, BaseDistribution], goals: Sequence[Goal]) -> None:
        self.names = {name: at for at, name in enumerate(known)}
        self._known, self._goals = dict(known), list(goals)
        self.numbers: Places = np.empty(0, dtype=np.int64)
        self.params: Floats = np.empty((0, len(known)))
        self.losses: Floats = np.empty((0, len(goals)))
        self.excess: Floats = np.empty(0)
        self._open: list[int] = []
        self._seen = 0

    def read(self, study: optuna.Study, but: int) -> list[FrozenTrial]:
        """Take in what has finished; the trials that still run, without number `but`."""
        trials = study.get_trials(deepcopy=False)
        looked_at = [trials[number] for number in (*self._open, *range(self._seen, len(trials)))]
        finished = [trial for trial in looked_at if trial.state == TrialState.COMPLETE]
        running = [trial for trial in looked_at if not trial.state.is_finished()]
        self._seen, self._open = len(trials), [trial.number for trial in running]
        if finished:
            signs = np.array([-1.0 if goal == "max" else 1.0 for goal in self._goals])
            excess = [sum(max(value, 0.0) for value in trial.constraints.values()) for trial in finished]
            self.numbers = np.append(self.numbers, [trial.number for trial in finished])
            self.params = np.vstack([self.params, *(self.row(trial.params) for trial in finished)])
            self.losses = np.vstack([self.losses, *(np.array(trial.values) * signs for trial in finished)])
            self.excess = np.append(self.excess, excess)
        return [trial for trial in running if trial.number != but]

    def row(self, params: Mapping[str, Any]) -> Floats:
        """Parameters in Optuna's numbers."""
        found = np.full((1, len(self.names)), np.nan)
        for name, value in params.items():
            found[0, self.names[name]] = self._known[name].to_internal_repr(value)
        return found

    def looked_at(self) -> Places:
        """Rows of the trials that count, the oldest first."""
        by_age: Places = np.argsort(self.numbers)
        if len(by_age) <= MOST:
            return by_age
        best = np.isin(by_age, by_age[self._best(by_age, MOST // 2, spread_evenly)])
        newest = by_age[~best][-(MOST - int(best.sum())) :]
        return by_age[best | np.isin(by_age, newest)]

    def split(self, rows: Places) -> tuple[Places, Places]:
        """The good ones and the rest."""
        count = math.ceil(_SHARE * len(rows))
        good = np.zeros(len(rows), dtype=np.bool_)
        good[self._best(rows, count if len(self._goals) > 1 else min(count, _MOST_GOOD), spread_by_volume)] = True
        return rows[good], rows[~good]

    def _best(self, rows: Places, count: int, spread: "Spread") -> Places:
        """Places among `rows` of the best `count`: rank by rank, then those that violate least."""
        losses, excess = self.losses[rows], self.excess[rows]
        allowed = np.flatnonzero(excess <= 0)
        if len(allowed) <= count:
            others = np.flatnonzero(excess > 0)
            least = others[np.argsort(excess[others], kind="stable")[: count - len(allowed)]]
            return np.concatenate([allowed, least])
        if losses.shape[1] == 1:
            return allowed[np.argsort(losses[allowed, 0], kind="stable")[:count]]
        ranks = rank(losses[allowed], ["min"] * losses.shape[1])
        full = np.cumsum(np.bincount(ranks)) <= count
        last = int(full.sum())  # the first rank that does not fit as a whole
        whole, tied = allowed[ranks < last], allowed[ranks == last]
        return np.concatenate([whole, tied[spread(losses[tied], count - len(whole))]])


class Spread:
    """How a few of many equals are chosen."""

    def __call__(self, losses: Floats, count: int) -> Places: ...
