"""Who is asked to search in benchmarks/search.py: to add an arm is to add a function and its line in ARMS.

An arm is given a task (a space, and what a trial of it shows), how many trials, and a seed; it returns the trials it
ran, in order. Arms that are not ours sample the same flat parameters through Optuna, as a user would: no anchors, no
repair of the size, repetitions count as trials, and an empty subset is a trial that grows nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import optuna

from plastsearch.search.anchors import anchors
from plastsearch.search.samplers import distributions
from plastsearch.search.space import open_space
from plastsearch.search.study import Study
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.domains import Params
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.records import TrialRecord

MANY = 250  # trials from which on AutoSampler's rule takes NSGA-II
Make = Callable[[int], optuna.samplers.BaseSampler]


class Spec(Protocol):
    """A search of a task's space."""

    def __call__(self, trials: int, seed: int, sampler: str = "auto", anchors: bool = True) -> SweepSpec: ...


@dataclass(frozen=True)
class Task:
    """What is searched: the space, and what trial number `number` shows of a configuration (noise and all)."""

    spec: Spec
    measure: Callable[[TrialConfig, int], list[float]]


@dataclass(frozen=True)
class Tried:
    """One trial of an arm."""

    config: TrialConfig
    measured: list[float]


Arm = Callable[[Task, int, int], list[Tried]]


def ours(sampler: str, known: bool = True) -> Arm:
    """Our study, as a sweep uses it."""

    def run(task: Task, trials: int, seed: int) -> list[Tried]:
        sweep = task.spec(trials, seed, sampler, known)
        study = Study(sweep, open_space(sweep), None, [])
        found: list[Tried] = []
        for number in range(trials):
            proposal = study.ask(number)
            if proposal is None:  # every point was tried
                return found
            values = task.measure(proposal.config, number)
            found.append(Tried(proposal.config, values))
            metrics = dict(zip((one.metric for one in sweep.objectives), values, strict=True))
            study.tell(
                TrialRecord(number, proposal.config.trial_id(), "search", None, proposal.params, {},
                            state="done", metrics=metrics, fidelity=1.0)
            )  # fmt: skip
        return found

    return run


def plain(make: Make) -> Arm:
    """A sampler of Optuna's on the flat parameters."""

    def run(task: Task, trials: int, seed: int) -> list[Tried]:
        space = open_space(task.spec(trials, seed, "random"))
        study = optuna.create_study(directions=["minimize"] * 2, sampler=make(seed))
        known = distributions(space)
        found: list[Tried] = []
        for number in range(trials):
            if number == MANY and isinstance(study.sampler, _Auto):
                study.sampler = optuna.samplers.NSGAIISampler(seed=seed)
            trial = study.ask(known)
            config = space.config(trial.params)
            found.append(Tried(config, task.measure(config, number)))
            study.tell(trial, found[-1].measured)
        return found

    return run


class _Auto(optuna.samplers.TPESampler):
    """What AutoSampler of OptunaHub takes for categorical and conditional spaces; its code is loaded from nowhere."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, multivariate=True, group=True, constant_liar=True)


def scalarised(task: Task, trials: int, seed: int) -> list[Tried]:
    """Syne Tune's idea for several objectives: a random weighting for each trial, and the best of it varied.

    A weighting is drawn, the trials so far are judged by their weighted largest loss, and one parameter of the best
    changes (local search as in its multi-objective regularised evolution); ten random trials come first.
    """
    space = open_space(task.spec(trials, seed, "random"))
    rng = np.random.default_rng([seed, 21])
    tried: list[tuple[Params, list[float]]] = []
    found: list[Tried] = []
    for number in range(trials):
        params = space.draw(rng) if number < 10 else space.neighbour(_best(tried, rng.dirichlet([1, 1])), rng)
        config = space.config(params)
        values = task.measure(config, number)
        tried.append((params, values))
        found.append(Tried(config, values))
    return found


def _best(tried: Sequence[tuple[Params, list[float]]], weights: np.ndarray) -> Params:
    values = np.array([measured for _, measured in tried])
    low, span = values.min(axis=0), np.ptp(values, axis=0)
    scaled = (values - low) / np.where(span > 0, span, 1.0)
    return tried[int(np.argmin((weights * scaled).max(axis=1)))][0]


def primed(task: Task, trials: int, seed: int) -> list[Tried]:
    """NePS's PriMO in outline: a belief about good values comes first, then its surroundings, ever less often.

    PriMO is given an expert's belief; here it is the first of our anchors. Its share of the trials, a half in the
    beginning, halves every ten; the other trials are TPE's.
    """
    space = open_space(task.spec(trials, seed, "random"))
    rng = np.random.default_rng([seed, 22])
    belief = anchors(space, 1, rng)[0]
    tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=tpe)
    known = distributions(space)
    found: list[Tried] = []
    for number in range(trials):
        if rng.random() < 0.5 ** (1 + number / 10):
            study.enqueue_trial(belief if number == 0 else space.neighbour(belief, rng))
        trial = study.ask(known)
        config = space.config(trial.params)
        found.append(Tried(config, task.measure(config, number)))
        study.tell(trial, found[-1].measured)
    return found


ARMS: dict[str, Arm] = {
    "ours": ours("auto"),
    "ours, no anchors": ours("auto", known=False),
    "random": plain(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    "random, sizes alike": ours("random"),
    "TPE on/off": plain(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "NSGA-II": plain(lambda seed: optuna.samplers.NSGAIISampler(seed=seed)),
    "NSGA-II, our encoding and anchors": ours("nsga2"),
    "AutoSampler's rule": plain(_Auto),
    "random weightings (Syne Tune's idea)": scalarised,
    "a fading belief (NePS's idea)": primed,
}


def syne_tune(task: Task, trials: int, seed: int) -> list[Tried]:
    """Syne Tune's own multi-objective regularised evolution, a population of twenty."""
    from syne_tune import config_space as theirs
    from syne_tune.optimizer.schedulers.multiobjective.multi_objective_regularized_evolution import (
        MultiObjectiveRegularizedEvolution,
    )

    space = open_space(task.spec(trials, seed, "random"))
    asked: dict[str, object] = {}
    for name, one in distributions(space).items():
        if isinstance(one, optuna.distributions.CategoricalDistribution):
            asked[name] = theirs.choice(list(one.choices))
        elif isinstance(one, optuna.distributions.IntDistribution):
            asked[name] = (theirs.lograndint if one.log else theirs.randint)(one.low, one.high)
        elif isinstance(one, optuna.distributions.FloatDistribution):
            asked[name] = theirs.uniform(one.low, one.high)
    np.random.seed(seed)
    searcher = MultiObjectiveRegularizedEvolution(asked, population_size=20, sample_size=5, random_seed=seed)
    found: list[Tried] = []
    for number in range(trials):
        params = searcher.suggest()
        config = space.config(params)
        found.append(Tried(config, task.measure(config, number)))
        searcher.on_trial_complete(number, params, found[-1].measured)
    return found


def _installed() -> Iterator[tuple[str, Arm]]:
    """Arms of packages that are no dependency of ours: they run where somebody has installed them."""
    if find_spec("syne_tune") is not None:
        yield f"Syne Tune {metadata.version('syne-tune')}, MO-REA", syne_tune


ARMS |= dict(_installed())
