"""Optuna's genetic samplers with a memory of generations; they would look at all trials ever made at every proposal.

What they propose is the same, number for number, until a trial is repeated and its values become means.
"""

import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import FrozenTrial


class Generations:
    """A study's finished trials by generation, each read once."""

    def __init__(self) -> None:
        self._by_generation: dict[int, list[FrozenTrial]] = {}
        self._by_id: dict[int, FrozenTrial] = {}
        self._news: list[FrozenTrial] = []
        self._parents: dict[int, list[FrozenTrial]] = {}
        self.revised = False  # Optuna keeps whom it once selected; by other values it would have been others

    def note(self, trial: FrozenTrial) -> None:
        """Take in a trial that has finished: from then on Optuna keeps it as it is."""
        self._news.append(trial)

    def revise(self, trial: FrozenTrial) -> None:
        """Take a finished trial with other values in place of the one that was noted."""
        self.revised = True
        self._news = [trial if one._trial_id == trial._trial_id else one for one in self._news]
        if trial._trial_id in self._by_id:
            self._by_id[trial._trial_id] = trial
        for generation, trials in self._by_generation.items():
            if any(one._trial_id == trial._trial_id for one in trials):
                trials[:] = [self._by_id[one._trial_id] for one in trials]
                self._forget_parents(after=generation)

    def parents(self, generation: int, select: Callable[[], list[FrozenTrial]]) -> list[FrozenTrial]:
        """A generation's parents by what is known now, in the order of proposals; selected once until there is news."""
        if generation not in self._parents:
            self._parents[generation] = sorted(select(), key=lambda trial: trial.number)
        return self._parents[generation]

    def read(self, key: str) -> None:
        """Sort what has finished since by its generation, which stands under this key."""
        for trial in self._news:
            if key in trial.system_attrs:
                self._by_generation.setdefault(trial.system_attrs[key], []).append(trial)
                self._by_id[trial._trial_id] = trial
                self._forget_parents(after=trial.system_attrs[key])
        self._news.clear()

    def _forget_parents(self, after: int) -> None:
        self._parents = {one: trials for one, trials in self._parents.items() if one <= after}

    def newest(self) -> tuple[int, int]:
        """The last generation of which somebody has finished, and how many have."""
        last = max(self._by_generation, default=0)
        return last, len(self._by_generation.get(last, []))

    def members(self, generation: int) -> list[FrozenTrial]:
        """Who has finished of a generation, in the order of proposals."""
        return sorted(self._by_generation.get(generation, []), key=lambda trial: trial.number)

    def with_ids(self, ids: list[int]) -> list[FrozenTrial]:
        """Finished trials by Optuna's ids, in the order of proposals."""
        return sorted((self._by_id[one] for one in ids), key=lambda trial: trial.number)


class _Remembering(optuna.samplers.BaseSampler):  # type: ignore[misc] # optuna is untyped here
    """What Optuna's two genetic samplers ask of a study's past."""

    _generations: Generations
    population_size: int

    def __init__(self, generations: Generations, **settings: Any) -> None:
        super().__init__(**settings)
        self._generations = generations

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """The generation a trial belongs to: the last one until that has enough finished members."""
        key = self._get_generation_key()
        known: int | None = trial.system_attrs.get(key)
        if known is not None:
            return known
        self._generations.read(key)
        last, count = self._generations.newest()
        generation = last if count < self.population_size else last + 1
        study._storage.set_trial_system_attr(trial._trial_id, key, generation)
        return generation

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:  # noqa: ARG002
        """Who has finished of a generation."""
        self._generations.read(self._get_generation_key())
        return self._generations.members(generation)

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Who was selected as this generation's parents; chosen when it is asked for first, or by revised values."""
        if self._generations.revised:
            if not generation:
                return []
            self._generations.read(self._get_generation_key())
            # By a sampler of its own, for NSGA-III draws lots: they are the same whoever asks, after whatever news.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                chooser = type(self)(self._generations, seed=generation, population_size=self.population_size)
            return self._generations.parents(generation, lambda: chooser.select_parent(study, generation))
        key = f"{self._get_parent_cache_key_prefix()}{generation}"
        ids = study._storage.get_study_system_attrs(study._study_id).get(key) if generation else None
        if ids is not None:
            self._generations.read(self._get_generation_key())
            return self._generations.with_ids(ids)
        parents: list[FrozenTrial] = super().get_parent_population(study, generation)
        return parents


class Nsga2(_Remembering, optuna.samplers.NSGAIISampler):  # type: ignore[misc]
    """NSGA-II."""


class Nsga3(_Remembering, optuna.samplers.NSGAIIISampler):  # type: ignore[misc]
    """NSGA-III."""
