"""Multivariate TPE whose proposals cost the same however long the sweep is: a sampler for any Optuna study.

Which trials are good is decided without their luck (pareto/smoothing.py): by single values it would follow the lucky
ones. But for that it proposes what Optuna's own does, number for number, up to `MOST` finished trials. Beyond, it looks
at the best and at the newest: what a bad trial of long ago has to say, later ones have said again. Which ones those are
follows from the trials alone, so that a resumed sweep looks at the same.

Trials of earlier sweeps stand beside a sweep's own in both mixtures, as far as they rank alike (pareto/likeness.py).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna._hypervolume import _solve_hssp
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import FrozenTrial, TrialState

from plastsearch.pareto.front import rank
from plastsearch.pareto.likeness import Foretelling
from plastsearch.pareto.smoothing import distances, smoothed
from plastsearch.search.parameters import flat
from plastsearch.spec.domains import Params, Value
from plastsearch.tracking.earlier import Earlier

MOST = 160  # finished trials looked at: a proposal costs as much for the 1,000th trial as for the 160th
CANDIDATES = 24
# Optuna's own choices, so that proposals are the same up to MOST trials (tested).
_GOOD = 0.1  # the share of trials that counts as good
_MOST_GOOD = 25  # and at most so many, with a single objective
_LENT = 0.25  # of an earlier sweep's: beyond its front, which opens this one
BORROWED = 10.0  # good trials that an earlier sweep which ranks alike in everything stands for, however many it had

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
        self._runs: dict[int, int] = {}  # trials that stand for more than one
        self._calm: tuple[Floats, float] | None = None
        self._open: list[int] = []
        self._seen = 0
        self._borrowed: list[_Borrowed] = []

    def borrow(self, earlier: Earlier) -> None:
        """Learn what earlier sweeps knew."""
        for sweep, foretelling in zip(earlier.sweeps, earlier.foretellings(), strict=True):
            other = Memory(self._known, self._signs.tolist())
            other.numbers = np.arange(len(sweep.trials))
            other.params = np.vstack([other.params, *(other.row(flat(trial.params)) for trial in sweep.trials)])
            other.losses = earlier.losses([trial.values for trial in sweep.trials])
            other.excess = np.array([trial.excess for trial in sweep.trials])
            good, bad = other.split(other.attended(), _LENT)
            self._borrowed.append(_Borrowed(foretelling, other.params[good], other.params[bad]))

    def lent(self) -> list["Lent"]:
        """Of each earlier sweep that ranks like this one its good trials, its others, and how much they count."""
        rows = self.attended()
        found = []
        for one in self._borrowed:
            fresh = self.params[len(one.foretold) :]
            one.foretold = np.vstack([one.foretold, one.foretelling.of(fresh)])
            # Run here as well, as openings are, it counts by its own result: near it everything is known already, and
            # to be drawn there again would only make duplicates (measured: that cost more than openings had won).
            one.run.update(row.tobytes() for row in fresh)
            weight = one.foretelling.weight(one.foretold[rows], self.losses[rows])
            good, bad = (trials[[row.tobytes() not in one.run for row in trials]] for trials in (one.good, one.bad))
            if weight and len(good):
                found.append(Lent(good, bad, weight * len(good) / len(one.good)))
        return found

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
            self._calm = None
            self.numbers = np.append(self.numbers, [trial.number for trial in finished])
            self.params = np.vstack([self.params, *(self.row(trial.params) for trial in finished)])
            self.losses = np.vstack([self.losses, *(np.array(trial.values) * self._signs for trial in finished)])
            self.excess = np.append(self.excess, [_excess(trial) for trial in finished])
        return running

    def revise(self, trial: FrozenTrial, runs: int) -> None:
        """Put means over so many runs in place of a trial's values; if it is still to be read, the study has them."""
        self._runs[trial.number] = runs
        self._calm = None
        self.losses[self.numbers == trial.number] = np.array(trial.values) * self._signs
        self.excess[self.numbers == trial.number] = _excess(trial)

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

    def calm(self) -> tuple[Floats, float]:
        """Losses of the trials that count without their luck, and luck's share in a run; worked out once for all."""
        if self._calm is None:
            self._calm = self._without_luck(self.attended())
        return self._calm

    def _without_luck(self, rows: Places) -> tuple[Floats, float]:
        losses = self.losses[rows]
        allowed = np.flatnonzero(self.excess[rows] <= 0)  # others may have been halted: their values are early ones
        if not len(allowed):
            return losses, 0.0
        known = rows[allowed]
        columns = [_column(self.params[known, self.places[name]], one) for name, one in self._known.items()]
        runs = np.array([self._runs.get(int(number), 1) for number in self.numbers[known]], dtype=np.float64)
        losses[allowed], luck = smoothed(distances(columns), losses[allowed], runs)
        return losses, luck

    def split(self, rows: Places, share: float = _GOOD, losses: Floats | None = None) -> tuple[Places, Places]:
        """The trials that count as good, by these losses of theirs, and the others: TPE models each of the two."""
        count = math.ceil(share * len(rows))
        if len(self._signs) == 1:
            count = min(count, _MOST_GOOD)
        good = np.zeros(len(rows), dtype=np.bool_)
        good[self._best(rows, count, by_volume, losses)] = True
        return rows[good], rows[~good]

    def _best(self, rows: Places, count: int, spread: Spread, losses: Floats | None = None) -> Places:
        """Which of the rows are the best `count`: front after front, then those that exceed limits least."""
        losses, excess = self.losses[rows] if losses is None else losses, self.excess[rows]
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


def _column(values: Floats, one: BaseDistribution) -> tuple[Floats, float]:
    """A parameter's numbers and their span; 0 where they are places of labels."""
    if isinstance(one, CategoricalDistribution):
        return values, 0.0
    assert isinstance(one, IntDistribution | FloatDistribution)
    if one.log:
        return np.log(values), math.log(one.high / one.low)
    return values, float(one.high - one.low)


def _excess(trial: FrozenTrial) -> float:
    return float(sum(max(value, 0.0) for value in trial.constraints.values()))


@dataclass(frozen=True)
class Lent:
    """Trials of an earlier sweep and their weight, above 0 and at most 1."""

    good: Floats
    bad: Floats
    weight: float


@dataclass
class _Borrowed:
    """An earlier sweep: its model, its trials, and what the model foretold of each row of ours."""

    foretelling: Foretelling
    good: Floats
    bad: Floats
    foretold: Floats = field(init=False)
    run: set[bytes] = field(default_factory=set)  # parameters that ran here, too

    def __post_init__(self) -> None:
        self.foretold = np.empty((0, len(self.foretelling.own)))


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
        self.luck = 0.0  # its share in a single run, by the trials so far
        self._at = -1  # the trial that `_rows` and `_mixtures` belong to
        self._rows: tuple[Floats, Floats] = (memory.params, memory.params)
        self._lent: list[Lent] = []
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
        losses, self.luck = memory.calm()
        good, bad = memory.split(memory.attended(), losses=losses)
        ages = np.append(memory.numbers[bad], [trial.number for trial in running])
        # By age, since Optuna weighs bad trials by it: among more than 25 the oldest count least.
        others = np.vstack([memory.params[bad], *(memory.row(trial.params) for trial in running)])
        self._rows = memory.params[good], others[np.argsort(ages)]
        self._lent = memory.lent()
        self._at = number
        self._mixtures = {}

    def _drawn(self, space: Mapping[str, BaseDistribution], *, several: bool) -> Params:
        names = tuple(space)
        if names not in self._mixtures:
            good, bad = (self._observed(rows, names) for rows in self._rows)
            alike = np.ones(len(good[names[0]])) if several else None  # old or new, a good trial is a good trial
            aged = None
            if self._lent:
                alike = self._weights(good) if alike is None else alike
                aged = self._weights(bad)
                # The same share of both mixtures is borrowed, so that their ratio says what the earlier sweep's would.
                scale = (float(aged.sum()) + 1.0) / (float(alike.sum()) + 1.0)
                good, alike = self._beside(good, alike, [(one.good, one.weight) for one in self._lent])
                bad, aged = self._beside(bad, aged, [(one.bad, scale * one.weight) for one in self._lent])
            self._mixtures[names] = (self._mixture(good, space, alike), self._mixture(bad, space, aged))
        below, above = self._mixtures[names]
        samples = below.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(samples, self._compute_acquisition_func(samples, below, above))
        return {name: one.to_external_repr(best[name]) for name, one in space.items()}

    def _weights(self, observed: Mapping[str, Floats]) -> Floats:
        """What Optuna gives own trials: among more than 25 the oldest count least."""
        return np.asarray(self._parzen_estimator_parameters.weights(len(next(iter(observed.values())))))

    def _beside(
        self, own: dict[str, Floats], weights: Floats, lent: Sequence[tuple[Floats, float]]
    ) -> tuple[dict[str, Floats], Floats]:
        """Own trials and after them those of earlier sweeps, with the weight of each."""
        names = list(own)
        for rows, weight in lent:
            others = self._observed(rows, names)
            count = len(others[names[0]])
            own = {name: np.append(own[name], others[name]) for name in names}
            weights = np.append(weights, np.full(count, BORROWED * weight / max(count, 1)))
        return own, weights

    def _observed(self, rows: Floats, names: Sequence[str]) -> dict[str, Floats]:
        columns = rows[:, [self._memory.places[name] for name in names]]
        columns = columns[~np.isnan(columns).any(axis=1)]
        return {name: columns[:, at] for at, name in enumerate(names)}

    def _mixture(
        self, observed: Mapping[str, Floats], space: Mapping[str, BaseDistribution], weights: Floats | None
    ) -> _ParzenEstimator:
        return self._parzen_estimator_cls(observed, space, self._parzen_estimator_parameters, weights)
