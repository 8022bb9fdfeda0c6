"""A third variant: TPE in which a trial counts by how certain its mean is, instead of each alike.

A mean over r runs counts r / (r + noise / spread), the share of its variance that is not luck; scaled so that the best
known trial counts 1. Runs are repeated by the product's own rule (search/replication.py). Kept out of the product
unless it wins (benchmarks/rivals.py).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from warm_start import Task, Trials

from plastsearch.search.replication import Replication
from plastsearch.search.samplers import OptunaSampler
from plastsearch.search.space import open_space
from plastsearch.search.study import Study
from plastsearch.search.tpe import Memory, Tpe
from plastsearch.spec.domains import Params
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord

SEEDS = 3  # of one trial at most: so many has the recorded table at least
LUCK = 1.0  # noise of one run over the spread of configurations, as variances: reliability 0.5


class CertainSampler(OptunaSampler):
    """Ours, remembering numbers of runs."""

    def update(self, order: int, values: Sequence[float], runs: int, violations: Mapping[str, float]) -> None:
        """Note them."""
        super().update(order, values, runs, violations)
        self.__dict__.setdefault("runs", {})[order] = runs

    def _inner(self, order: int) -> BaseSampler | None:
        seed = int(np.random.default_rng([self._seed, order, 1]).integers(2**31))
        return CertainTpe(seed, self._memory, self.__dict__.get("runs", {}))


class CertainTpe(Tpe):
    """TPE with weights."""

    def __init__(self, seed: int, memory: Memory, runs: Mapping[int, int]) -> None:
        super().__init__(seed, memory)
        self._runs = runs

    def _look(self, study: optuna.Study, number: int) -> None:
        if number == self._at:
            return
        super()._look(study, number)
        memory = self._memory
        good, bad = memory.split(memory.attended(), losses=memory.calm()[0])
        running = len(self._rows[1]) - len(bad)  # at their places by age, which weighs them 1 wherever that is
        self._certain = [self._shares(memory.numbers[good]), self._shares(np.sort(memory.numbers[bad]))]
        self._certain[1] = np.append(self._certain[1], np.ones(running))

    def _shares(self, numbers: np.ndarray) -> np.ndarray:
        runs = np.array([self._runs.get(int(number), 1) for number in numbers], dtype=np.float64)
        shares = runs / (runs + LUCK)
        most = max(self._runs.values(), default=1)
        return shares * (most + LUCK) / most

    def _drawn(self, space: Mapping[str, BaseDistribution], *, several: bool) -> Params:
        names = tuple(space)
        if names not in self._mixtures:
            places = [self._memory.places[name] for name in names]
            pair = []
            for rows, certain, good in zip(self._rows, self._certain, (True, False), strict=True):
                known = ~np.isnan(rows[:, places]).any(axis=1)
                observed = self._observed(rows, names)
                weights = certain[known] * (1.0 if good and several else self._weights(observed))
                pair.append(self._mixture(observed, space, weights))
            self._mixtures[names] = (pair[0], pair[1])
        return super()._drawn(space, several=several)


def replicated(task: Task, trials: int, seed: int, *, certain: bool) -> Trials:
    """A sweep of so many runs, half of them repeats at most; `true` holds what its front, by means, is truly worth."""
    asked = task.spec(trials, seed)
    space = open_space(asked)
    study = Study(asked, space, None, [])
    if certain:
        study._sampler = CertainSampler(space, ["min", "min"], "tpe", seed, min(10, max(4, trials // 4)))
    ranking = Ranking(asked.objectives)
    rule = Replication(ranking, trials, 0.5, SEEDS)
    records: dict[int, TrialRecord] = {}
    worth: dict[int, list[float]] = {}
    found = Trials([], [], [])
    for number in range(trials):
        again = rule.next(records)
        if again is None:
            proposal = study.ask(number)
            assert proposal is not None
            config, of, offset = proposal.config, None, 0
            params, worth[number] = proposal.params, task.worth(config)
        else:
            of, offset = again.trial.number, again.offset
            config = again.trial.trial_config.model_copy(update={"seed": again.trial.trial_config.seed + offset})
            params = again.trial.params
        measured = task.run(config, number if of is None else of, offset, seed)
        metrics = dict(zip((one.metric for one in asked.objectives), measured, strict=True))
        role = "search" if of is None else "replicate"
        plain = config.model_dump(mode="json", by_alias=True)
        record = TrialRecord(number, config.trial_id(), role, None, params, plain, of=of, seed=config.seed,
                             state="done", metrics=metrics, fidelity=1.0)  # fmt: skip
        records[number] = record
        ranking.note(record)
        if of is None:
            study.tell(record)
        else:
            for one, (values, runs) in ranking.revised(records).items():
                study.revise(records[one], values, runs)
        front = ranking.front(records.values())
        found.params.append(params)
        found.measured.append([metrics[one.metric] for one in asked.objectives])
        found.true.append([worth[one.number] for one in front])  # type: ignore[arg-type]
    return found
