"""Multivariate TPE whose proposals cost the same however long the sweep is: a sampler for any Optuna study.

Up to `MOST` finished trials it proposes what Optuna's own does, number for number. Beyond, it looks at the best and at
the newest: what a bad trial of long ago has to say, later ones have said again. Which ones those are follows from the
trials alone, so that a resumed sweep looks at the same.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna._hypervolume import _solve_hssp
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import FrozenTrial, TrialState

from plastsearch.pareto.front import rank
from plastsearch.spec.domains import Params, Value

MOST = 160  # finished trials looked at: a proposal costs as much for the 1,000th trial as for the 160th
CANDIDATES = 24
# Optuna's own choices, so that proposals are the same up to MOST trials (tested).
_GOOD = 0.1  # the share of trials that counts as good
_MOST_GOOD = 25  # and at most so many, with a single objective

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Spread = Callable[[Floats, int], Places]  # how to choose some of many that are equally good


class Memory:
    """A study's finished trials as arrays, each read once: parameters (NaN: not used), losses, excess over limits."""

    def __init__(self, known: Mapping[str, BaseDistribution], signs: Sequence[float]) -> None:
        self.places = {name: at for at, name in enumerate(known)}
        self._known = dict(known)
        self._signs = np.array(signs)
        self.numbers: Places = np.empty(0, dtype=np.int64)
        self.params: Floats = np.empty((0, len(known)))
        self.losses: Floats = np.empty((0, len(signs)))
        self.excess: Floats = np.empty(0)
        self._open: list[int] = []
        self._seen = 0

    def read(self, study: optuna.Study) -> list[FrozenTrial]:
        """Take in what has finished since; the trials that still run."""
        # Without copies, and only what is new or was still running: when every proposal read all trials, it took 25 ms
        # at 1,000 of them, and grew.
        trials = study.get_trials(deepcopy=False)
        news = [trials[number] for number in (*self._open, *range(self._seen, len(trials)))]
        running = [trial for trial in news if not trial.state.is_finished()]
        self._seen = len(trials)
        self._open = [trial.number for trial in running]
        finished = [trial for trial in news if trial.state == TrialState.COMPLETE]
        if finished:
            excess = [sum(max(value, 0.0) for value in trial.constraints.values()) for trial in finished]
            self.numbers = np.append(self.numbers, [trial.number for trial in finished])
            self.params = np.vstack([self.params, *(self.row(trial.params) for trial in finished)])
            self.losses = np.vstack([self.losses, *(np.array(trial.values) * self._signs for trial in finished)])
            self.excess = np.append(self.excess, excess)
        return running

    def revise(self, number: int, values: Sequence[float]) -> None:
        """Put other values in place of a trial's; if it is still to be read, the study has them."""
        self.losses[self.numbers == number] = np.array(values) * self._signs

    def row(self, params: Mapping[str, Value]) -> Floats:
        """Parameters as the numbers that Optuna computes with."""
        found = np.full(len(self.places), np.nan)
        for name, value in params.items():
            found[self.places[name]] = self._known[name].to_internal_repr(value)
        return found

    def attended(self) -> Places:
        """Rows of the trials that count, the oldest first."""
        rows: Places = np.argsort(self.numbers)
        if len(rows) <= MOST:
            return rows
        # Half for what is known to be good, half for what was found out last. Among equals evenly: to choose by volume,
        # as `split` must, takes a third of a proposal's time already, though it takes far fewer.
        counts = np.zeros(len(rows), dtype=np.bool_)
        counts[self._best(rows, MOST // 2, evenly)] = True
        counts[np.flatnonzero(~counts)[-MOST // 2 :]] = True
        return rows[counts]

    def split(self, rows: Places) -> tuple[Places, Places]:
        """The trials that count as good, and the others: TPE models each of the two."""
        count = math.ceil(_GOOD * len(rows))
        if len(self._signs) == 1:
            count = min(count, _MOST_GOOD)
        good = np.zeros(len(rows), dtype=np.bool_)
        good[self._best(rows, count, by_volume)] = True
        return rows[good], rows[~good]

    def _best(self, rows: Places, count: int, spread: Spread) -> Places:
        """Which of the rows are the best `count`: front after front, then those that exceed limits least."""
        losses, excess = self.losses[rows], self.excess[rows]
        allowed, others = np.flatnonzero(excess <= 0), np.flatnonzero(excess > 0)
        if len(allowed) <= count:
            least = others[np.argsort(excess[others], kind="stable")]
            return np.append(allowed, least[: count - len(allowed)])
        losses = losses[allowed]
        if losses.shape[1] == 1:
            return np.take(allowed, np.argsort(losses[:, 0], kind="stable")[:count])
        ranks = rank(losses, ["min"] * losses.shape[1])
        last = int((np.cumsum(np.bincount(ranks)) <= count).sum())  # the first front that does not fit whole
        tied = np.flatnonzero(ranks == last)
        chosen = spread(losses[tied], count - int((ranks < last).sum()))
        return np.take(allowed, np.append(np.flatnonzero(ranks < last), tied[chosen]))


def by_volume(losses: Floats, count: int) -> Places:
    """Those that dominate most together, as Optuna chooses."""
    return _by_volume(losses.tobytes(), losses.shape[1], count) if count else np.empty(0, dtype=np.int64)


@lru_cache(maxsize=1)
def _by_volume(losses_told: bytes, width: int, count: int) -> Places:
    """A third of a proposal's time, and the same again while nothing new is among the good ones."""
    # The reference as Optuna sets it: a tenth beyond the worst, to either side of 0, and never 0 itself.
    losses = np.frombuffer(losses_told).reshape(-1, width)
    worst = losses.max(axis=0)
    corner = np.maximum(1.1 * worst, 0.9 * worst)
    corner[corner == 0] = 1e-12
    return np.asarray(_solve_hssp(losses, np.arange(len(losses)), count, corner), dtype=np.int64)


def evenly(losses: Floats, count: int) -> Places:
    """Those at even distances along the first objective: quick for any number."""
    order = np.lexsort(losses.T[::-1])
    return np.asarray(order[np.linspace(0, len(order) - 1, count).round().astype(int)], dtype=np.int64)


class Tpe(optuna.samplers.TPESampler):  # type: ignore[misc] # optuna is untyped here
    """Optuna's TPE on a bounded number of trials; a proposal that is drawn several times is worked out once."""

    def __init__(self, seed: int, memory: Memory) -> None:
        super().__init__(seed=seed, multivariate=True, n_startup_trials=1, n_ei_candidates=CANDIDATES)
        self._memory = memory
        self._at = -1  # the trial that `_rows` and `_mixtures` belong to
        self._rows: tuple[Floats, Floats] = (memory.params, memory.params)
        self._mixtures: dict[tuple[str, ...], tuple[_ParzenEstimator, _ParzenEstimator]] = {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> Params:
        """A joint proposal; nothing before the first result."""
        self._look(study, trial.number)
        if not search_space or not len(self._memory.numbers):
            return {}
        return self._drawn(search_space, several=len(self._memory.losses[0]) > 1)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Value:
        """One parameter, from the trials that have it."""
        self._look(study, trial.number)
        if not len(self._memory.numbers):
            random: Value = self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
            return random
        return self._drawn({param_name: param_distribution}, several=len(self._memory.losses[0]) > 1)[param_name]

    def _look(self, study: optuna.Study, number: int) -> None:
        """Which trials are good and which are not; those that run count as bad, so that others look elsewhere."""
        if number == self._at:
            return
        memory = self._memory
        running = [trial for trial in memory.read(study) if trial.number != number]
        good, bad = memory.split(memory.attended())
        ages = np.append(memory.numbers[bad], [trial.number for trial in running])
        # By age, since Optuna weighs bad trials by it: among more than 25 the oldest count least.
        rows = np.vstack([memory.params[bad], *(memory.row(trial.params) for trial in running)])
        self._rows = memory.params[good], rows[np.argsort(ages)]
        self._at = number
        self._mixtures = {}

    def _drawn(self, space: Mapping[str, BaseDistribution], *, several: bool) -> Params:
        names = tuple(space)
        if names not in self._mixtures:
            good, bad = (self._observed(rows, names) for rows in self._rows)
            alike = np.ones(len(good[names[0]])) if several else None  # old or new, a good trial is a good trial
            self._mixtures[names] = (self._mixture(good, space, alike), self._mixture(bad, space, None))
        below, above = self._mixtures[names]
        samples = below.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(samples, self._compute_acquisition_func(samples, below, above))
        return {name: one.to_external_repr(best[name]) for name, one in space.items()}

    def _observed(self, rows: Floats, names: Sequence[str]) -> dict[str, Floats]:
        columns = rows[:, [self._memory.places[name] for name in names]]
        columns = columns[~np.isnan(columns).any(axis=1)]
        return {name: columns[:, at] for at, name in enumerate(names)}

    def _mixture(
        self, observed: Mapping[str, Floats], space: Mapping[str, BaseDistribution], weights: Floats | None
    ) -> _ParzenEstimator:
        return self._parzen_estimator_cls(observed, space, self._parzen_estimator_parameters, weights)
