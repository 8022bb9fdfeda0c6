"""The sampling side of Optuna: a study in memory that every proposal is drawn from. The one on disk: optuna_log.py.

Each proposal has its own seed, derived from the sweep's seed and the count of proposals before it, so that a resumed
sweep proposes what it would have proposed. Whatever a sampler suggests is repaired before Optuna records it.
"""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
from numpy.random import Generator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue

from plastsearch.search.generations import Generations, Nsga2, Nsga3
from plastsearch.search.parameters import Parameter
from plastsearch.search.space import Space
from plastsearch.search.subsets import Encoding, OnOff
from plastsearch.search.tpe import Memory, Tpe
from plastsearch.search.values import RandomValues
from plastsearch.spec.domains import Params, Value
from plastsearch.tracking.earlier import Earlier

SWITCH = 250  # trials after which `auto` goes from TPE to NSGA-II
POPULATION = 32
ASTRAY = 1.0  # so many of TPE's proposals are random where all is luck; none where nothing surely is
_GENERATION = "Nsga2:generation"

Draw = Callable[[], Params]
Known = dict[str, BaseDistribution]


class OptunaSampler:
    """Proposes flat parameters and learns from values; trials are counted in the order in which they were asked."""

    def __init__(
        self,
        space: Space,
        goals: Sequence[str],
        sampler: str,
        seed: int,
        startup: int,
        earlier: Earlier | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # else it says a line per trial
        self.space = space
        self._name = sampler
        self._seed = seed
        self._startup = startup
        self._distributions = {name: _distribution(one) for name, one in space.parameters.items()}
        self._given = _GivenValues(self._distributions)
        self._study = optuna.create_study(
            directions=["maximize" if goal == "max" else "minimize" for goal in goals], sampler=self._given
        )
        self._told = 0
        self._ids: list[int] = []  # Optuna's, in the order of proposals: to ask it for all trials copies their list
        self._generations = Generations()
        self._memory = Memory(self._distributions, [-1.0 if goal == "max" else 1.0 for goal in goals])
        if earlier is not None:
            self._memory.borrow(earlier)

    def __len__(self) -> int:
        return len(self._ids)

    def ask(self, choose: Callable[[Draw], Params]) -> Params:
        """Add a trial; `choose` may draw several times and returns what it settles on."""
        order = len(self)
        # From the place alone: a generator that went on from proposal to proposal could not be found again on resuming.
        rng = np.random.default_rng([self._seed, order])
        inner = self._inner(order)
        self._given.propose = lambda study, trial: choose(lambda: self._draw(inner, study, trial, order, rng))
        trial = self._study.ask()
        self._ids.append(trial._trial_id)
        params = dict(trial.relative_params)
        self._write_down(trial._trial_id, params)
        return params

    def _write_down(self, trial_id: int, params: Params) -> None:
        """Optuna writes a parameter down when an objective asks for it; nobody asks here, so it is done for it."""
        # At once: one by one, each copies the trial and all parameters before it, a fifth of a proposal's time.
        storage = self._study._storage
        with storage._lock:
            trial = copy.copy(storage._get_trial(trial_id))
            known = {name: self._distributions[name] for name in params}
            trial.params = {n: known[n].to_external_repr(known[n].to_internal_repr(params[n])) for n in params}
            trial.distributions = known
            storage._set_trial(trial_id, trial)

    def drop(self) -> None:
        """Take back a trial for which nothing was found."""
        self._study.tell(len(self) - 1, state=TrialState.FAIL)

    def restore(self, params: Mapping[str, Value]) -> None:
        """Add a trial that was proposed in an earlier session."""
        order = len(self)
        self._study.add_trial(running(params, self._distributions, {}))
        trial = self._study.get_trials(deepcopy=False)[order]
        self._ids.append(trial._trial_id)
        inner = self._inner(order)
        _enter_generation(inner, self._study, trial)
        self._mark(trial, order)

    def tell(self, order: int, values: Sequence[float] | None, violations: Mapping[str, float]) -> None:
        """Learn how a trial went; None: it says nothing."""
        trial_id = self._ids[order]
        if values is not None:
            writer = optuna.trial.Trial(self._study, trial_id)
            for key, value in violations.items():
                writer.set_constraint(key, value)  # before the end: Optuna takes none afterwards
            self._told += 1
        settle(self._study, trial_id, values)
        if values is not None:
            self._generations.note(self._study._storage._get_trial(trial_id))

    def update(self, order: int, values: Sequence[float], runs: int, violations: Mapping[str, float]) -> None:
        """Put the means over several runs in place of a finished trial's values; `runs` is how many."""
        # Other samplers than TPE read values alone, whose certainty they could not use.
        if runs < 1:
            raise ValueError(f"a mean over {runs} runs")
        storage, trial_id = self._study._storage, self._ids[order]
        with storage._lock:
            trial = copy.copy(storage._get_trial(trial_id))
            if trial.state != TrialState.COMPLETE:
                raise ValueError(f"proposal {order} has no values that could be revised: it is {trial.state.name}")
            trial.values = [float(value) for value in values]
            marks = optuna.trial.create_trial(values=trial.values, constraints=dict(violations)).system_attrs
            trial.system_attrs = {**trial.system_attrs, **marks}
            storage._set_trial(trial_id, trial)
        self._study._thread_local.cached_all_trials = None
        self._generations.revise(trial)
        self._memory.revise(trial, runs)

    def _draw(
        self, inner: BaseSampler | None, study: optuna.Study, trial: FrozenTrial, order: int, rng: Generator
    ) -> Params:
        self._mark(trial, order)
        if inner is None:
            unit = _sobol(len(self._distributions) + 1, self._seed, order) if self._name == "qmc" else None
            chooser = RandomValues(rng) if unit is None else _CubePoint(list(self._distributions), unit, rng)
            return self.space.walk(chooser)[0]
        # What every point has is proposed jointly; parameters that hang on others one by one, as they come to count.
        fixed = {
            name: one for name, one in self._distributions.items() if name in self.space.always and not one.single()
        }
        _enter_generation(inner, study, trial)
        with np.errstate(invalid="ignore"):  # gp divides by zero where all neighbours are alike
            relative = inner.sample_relative(study, trial, fixed)
        # The more of what is measured is luck, the less a model of it is worth beside a look elsewhere.
        astray = isinstance(inner, Tpe) and rng.random() < ASTRAY * inner.luck
        if self._told < self._startup or astray or (not relative and fixed):
            return self.space.draw(rng)
        return self.space.walk(_SampledValues(inner, study, trial, self._distributions, relative, rng))[0]

    def _inner(self, order: int) -> BaseSampler | None:
        """A sampler with the proposal's own seed; what it knows is in the study."""
        seed = int(np.random.default_rng([self._seed, order, 1]).integers(2**31))
        name = self._name
        if name == "auto":
            name = "tpe" if order < SWITCH else "nsga2"
        # Made anew for each proposal: whatever a sampler keeps to itself would be lost with a killed driver.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            match name:
                case "tpe":
                    return Tpe(seed, self._memory)
                case "nsga2":
                    return Nsga2(self._generations, seed=seed, population_size=POPULATION)
                case "nsga3":
                    return Nsga3(self._generations, seed=seed, population_size=POPULATION)
                case "gp":
                    # With 24 switches it takes 7 to 9 s a proposal, and imports torch: `check` says so.
                    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
        return None

    def _mark(self, trial: FrozenTrial, order: int) -> None:
        """Trials that `auto` took from TPE are the first generation of NSGA-II."""
        # It would else begin again at random after 250 trials, for it only knows those that it has numbered.
        if self._name == "auto" and order < SWITCH:
            self._study._storage.set_trial_system_attr(trial._trial_id, _GENERATION, 0)


def _enter_generation(inner: BaseSampler | None, study: optuna.Study, trial: FrozenTrial) -> None:
    """Let a genetic sampler settle a trial's generation and its parents.

    Optuna returns parents in the order of selection when it picks them and in the order of trials ever after; a resumed
    sweep would tell the difference, so they are always picked beforehand.
    """
    if isinstance(inner, optuna.samplers.NSGAIISampler | optuna.samplers.NSGAIIISampler):
        inner.get_parent_population(study, inner.get_trial_generation(study, trial))


def settle(study: optuna.Study, trial_id: int, values: Sequence[float] | None) -> None:
    """`Study.tell` without the copies it makes of the trial; None: the trial failed."""
    # The study caches its list of trials per thread; its own `tell` would drop that.
    state = TrialState.COMPLETE if values is not None else TrialState.FAIL
    study._thread_local.cached_all_trials = None
    study._storage.set_trial_state_values(trial_id, state, [float(value) for value in values] if values else None)


def running(
    params: Mapping[str, Value], distributions: Mapping[str, BaseDistribution], notes: Mapping[str, JsonValue]
) -> FrozenTrial:
    """An unfinished Optuna trial with these parameters."""
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=dict(params),
        distributions={name: distributions[name] for name in params},
        user_attrs=dict(notes),
    )


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's words for the flat parameters."""
    return {name: _distribution(one) for name, one in space.parameters.items()}


def _distribution(one: Parameter) -> BaseDistribution:
    if one.labels:
        return CategoricalDistribution(one.labels)
    if one.whole:
        return IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.high, log=one.log, step=one.step)


def _sobol(dimensions: int, seed: int, order: int) -> list[float]:
    """The point number `order` of a scrambled low-discrepancy sequence."""
    from scipy.stats.qmc import Sobol

    # Made anew and wound forward for each point, so that a resumed sweep goes on in the very same sequence.
    engine = Sobol(dimensions, scramble=True, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # single points need no power of two
        engine = engine.fast_forward(order) if order else engine
        return [float(value) for value in engine.random(1)[0]]


class _GivenValues(BaseSampler):  # type: ignore[misc] # optuna is untyped here
    """A sampler that proposes what we settled on, so that Optuna records it like any joint proposal."""

    def __init__(self, known: dict[str, BaseDistribution]) -> None:
        self._known = known
        self.propose: Callable[[optuna.Study, FrozenTrial], Params] = lambda study, trial: {}  # noqa: ARG005

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Known:  # noqa: ARG002
        return self._known

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Known) -> Params:  # noqa: ARG002
        return self.propose(study, trial)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Value:
        raise AssertionError(
            f"{param_name} of {study.study_name}, trial {trial.number}: {param_distribution} not proposed"
        )


class _SampledValues:
    """What an Optuna sampler proposes: jointly, or one by one where a parameter only counts now; subsets repaired."""

    def __init__(
        self,
        inner: BaseSampler,
        study: optuna.Study,
        trial: FrozenTrial,
        known: Mapping[str, BaseDistribution],
        relative: Mapping[str, Value],
        rng: Generator,
    ) -> None:
        self._inner = inner
        self._study = study
        self._trial = trial
        self._known = known
        self._relative = relative
        self._rng = rng

    def value(self, one: Parameter) -> Value:
        """From the joint proposal if it has the parameter."""
        if one.name in self._relative:
            return _native(self._relative[one.name])
        if one.single:
            return one.at(0.0)
        return _native(self._inner.sample_independent(self._study, self._trial, one.name, self._known[one.name]))

    def subset(self, sites: Encoding) -> Params:
        """Sites as proposed, with an allowed size."""
        return sites.repair({one.name: self.value(one) for one in sites.parameters}, self._rng)


class _CubePoint(RandomValues):
    """Values from a point of the unit cube, one coordinate for each parameter and one for the size of a subset."""

    def __init__(self, names: Sequence[str], unit: Sequence[float], rng: Generator) -> None:
        super().__init__(rng)
        self._size = unit[-1]
        self._unit = dict(zip(names, unit, strict=False))

    def value(self, one: Parameter) -> Value:
        """The value at the coordinate."""
        return one.at(self._unit[one.name])

    def subset(self, sites: Encoding) -> Params:
        """Each size as likely: it is drawn first, then the sites with the highest coordinates are on."""
        # A threshold for each site would make sizes binomial: of 24 sites hardly ever fewer than 6.
        if not isinstance(sites, OnOff):
            return sites.repair({one.name: self.value(one) for one in sites.parameters}, self._rng)
        size = sites.least + int(self._size * (sites.most - sites.least + 1))
        ranked = sorted(sites.names, key=lambda name: -self._unit[sites.switches[name]])
        return sites.encode(ranked[:size]) or {}


def _native(value: Value | np.generic) -> Value:
    # Samplers return numpy's numbers, and the journal's JSON knows no numpy.int64.
    if isinstance(value, np.generic):
        plain: Value = value.item()
        return plain
    return value
