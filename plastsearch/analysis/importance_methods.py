"""PED-ANOVA and permutation of a random forest, over plain columns; the program that importance.py runs apart."""

import math
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial
from sklearn.ensemble import RandomForestRegressor

from plastsearch.analysis.importance import Aim, Column, Importance, Importances, Request, Weight

Floats = NDArray[np.float64]


def importances(asked: Request) -> Importances:
    """Both methods, for every objective."""
    return Importances(
        key=asked.key, trials=asked.trials, quantile=asked.quantile, forests=asked.forests, resamples=asked.resamples,
        drawn_from=asked.drawn_from, seed=asked.seed,
        objectives=tuple(_importance(asked, aim) for aim in asked.aims),
    )  # fmt: skip


def _importance(asked: Request, aim: Aim) -> Importance:
    ped = ped_anova(asked, aim)
    forest, r2 = permutation(asked, aim)
    groups = list(dict.fromkeys(column.group for column in asked.columns if column.group is not None))
    places = [np.array([n]) for n in range(len(asked.columns))]
    members = [np.array([n for n, one in enumerate(asked.columns) if one.group == group]) for group in groups]
    return Importance(
        metric=aim.metric,
        weights=tuple(
            _weight(column.name, column.group, ped, forest, at)
            for column, at in zip(asked.columns, places, strict=True)
        ),
        sums=tuple(_weight(group, None, ped, forest, at) for group, at in zip(groups, members, strict=True)),
        r2=float(r2.mean()), r2_low=float(r2.min()), r2_high=float(r2.max()),
        agreement=_agreement(ped.values, forest.mean(axis=0)),
    )  # fmt: skip


def _weight(name: str, group: str | None, ped: "Shares", forest: Floats, at: NDArray[np.int64]) -> Weight:
    """One parameter, or several summed: first in each resample and forest, so that the interval is of the sum."""
    shares, lost = ped.resampled[:, at].sum(axis=1), forest[:, at].sum(axis=1)
    value = float(ped.values[at].sum())
    # Resamples hold trials twice, which sets more apart than there is: the trials themselves may lie at their edge.
    low, high = np.quantile(shares, (0.025, 0.975))
    return Weight(
        name=name, group=group, ped=value, ped_low=min(float(low), value), ped_high=max(float(high), value),
        ped_chance=float(np.quantile(ped.chance[:, at].sum(axis=1), 0.95)),
        forest=float(lost.mean()), forest_low=float(lost.min()), forest_high=float(lost.max()),
    )  # fmt: skip


def _agreement(ped: Floats, forest: Floats) -> float | None:
    """The part of the weight that both methods give to the same parameters, 0 to 1."""
    # Not by ranks: most parameters do little, and the order of those is noise in either method.
    lost = np.maximum(forest, 0.0)
    if not lost.sum() or not ped.sum():
        return None
    return float(np.minimum(ped / ped.sum(), lost / lost.sum()).sum())


# PED-ANOVA


@dataclass
class _Sample:
    """Trials as Optuna's evaluator asks for them: to build a study for each resample takes seconds per thousand."""

    trials: Sequence[FrozenTrial]
    directions: Sequence[optuna.study.StudyDirection]

    def get_trials(self, deepcopy: bool = True, states: object = None) -> Sequence[FrozenTrial]:  # noqa: ARG002
        """All of them; each is complete."""
        return self.trials

    def _is_multi_objective(self) -> bool:
        return False


@dataclass(frozen=True)
class Shares:
    """Of the divergences of all parameters, a column for each; resamples and shuffles have a row each."""

    values: Floats
    resampled: Floats
    chance: Floats  # what the parameters would have if the objective had nothing to do with them


def ped_anova(asked: Request, aim: Aim) -> Shares:
    """Shares of the trials themselves, of resamples of them, and of the same trials with their results shuffled."""
    study = _study(asked.columns, aim)
    trials = study.trials
    evaluator = PedAnovaImportanceEvaluator(target_quantile=asked.quantile)
    names = [column.name for column in asked.columns]
    rng = np.random.default_rng([asked.seed, 1])
    own = _divergences(evaluator, study, names)
    whole = float(own.sum()) or 1.0
    drawn = [rng.integers(len(trials), size=len(trials)) for _ in range(asked.resamples)]
    resampled = [_divergences(evaluator, _Sample([trials[n] for n in at], study.directions), names) for at in drawn]
    orders = [rng.permutation(len(trials)) for _ in range(asked.resamples)]
    shuffled = [_divergences(evaluator, _Sample(_with(trials, at), study.directions), names) for at in orders]
    return Shares(
        own / whole, np.array([one / (one.sum() or 1.0) for one in resampled]), np.array(shuffled) / whole
    )  # fmt: skip


def _with(trials: Sequence[FrozenTrial], order: NDArray[np.int64]) -> list[FrozenTrial]:
    """The same trials, each with the result of another."""
    found = [copy(trial) for trial in trials]
    for trial, at in zip(found, order, strict=True):
        trial.value = trials[at].value
    return found


def _divergences(evaluator: PedAnovaImportanceEvaluator, study: object, names: Sequence[str]) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is experimental, and remarks on parameters that few trials have
        found = evaluator.evaluate(study, names)
    return np.array([found[name] for name in names])


def _study(columns: Sequence[Column], aim: Aim) -> _Sample:
    """The journal's trials as those of a study of one objective."""
    # Not in a study: it copies what it is given, and the evaluator compares each trial's distributions with the
    # others', which is quick as long as they are the same objects.
    trials = []
    spread = {column.name: _distribution(column) for column in columns}
    for at, value in enumerate(aim.values):
        known = {column.name: column.values[at] for column in columns if column.values[at] is not None}
        trials.append(FrozenTrial(
            number=at, trial_id=at, state=optuna.trial.TrialState.COMPLETE, value=value, params=known,
            distributions={name: spread[name] for name in known}, datetime_start=None, datetime_complete=None,
            user_attrs={}, system_attrs={}, intermediate_values={},
        ))  # fmt: skip
    directions = optuna.study.StudyDirection
    return _Sample(trials, [directions.MAXIMIZE if aim.goal == "max" else directions.MINIMIZE])


def _numeric(column: Column) -> bool:
    known = [value for value in column.values if value is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def _distribution(column: Column) -> BaseDistribution:
    known = [value for value in column.values if value is not None]
    if not _numeric(column):
        return CategoricalDistribution(sorted(set(known), key=str))
    numbers = [float(value) for value in known]
    low, high = min(numbers), max(numbers)
    log = column.log and low > 0
    if all(isinstance(value, int) for value in known):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


# Permutation of a forest


def permutation(asked: Request, aim: Aim) -> tuple[Floats, Floats]:
    """R² that each parameter's shuffling costs, and R² itself, a row for each forest; both out of bag."""
    matrix, owners = _matrix(asked.columns)
    target = np.array(aim.values)
    lost, reached = [], []
    for n in range(asked.forests):
        rng = np.random.default_rng([asked.seed, 2, n])
        forest = RandomForestRegressor(asked.trees, random_state=int(rng.integers(2**31)), n_jobs=1)
        forest.fit(matrix, target)
        unseen = [_unseen(drawn, len(target)) for drawn in forest.estimators_samples_]
        whole = _r2(_told(forest, matrix, unseen), target)
        reached.append(whole)
        row = []
        for owner in range(len(asked.columns)):
            shuffled = matrix.copy()
            # All columns of a parameter together: half of a category is no value.
            own = owners == owner
            shuffled[:, own] = matrix[rng.permutation(len(target))][:, own]
            row.append(whole - _r2(_told(forest, shuffled, unseen), target))
        lost.append(row)
    return np.array(lost), np.array(reached)


def _matrix(columns: Sequence[Column]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Numbers as they are, labels as a switch for each; and to which parameter each column belongs."""
    found: list[Floats] = []
    owners: list[int] = []
    for owner, column in enumerate(columns):
        own = _numbers(column) if _numeric(column) else _switches(column)
        found += own
        owners += [owner] * len(own)
    return np.array(found, dtype=np.float32).T, np.array(owners)


def _numbers(column: Column) -> list[Floats]:
    known = [float(value) for value in column.values if value is not None]
    # A tree splits off what is missing if it lies apart from all that is there.
    apart = min(known) - (max(known) - min(known)) - 1.0
    return [np.array([apart if value is None else float(value) for value in column.values])]


def _switches(column: Column) -> list[Floats]:
    labels = sorted({str(value) for value in column.values})
    kept = labels[1:] if len(labels) == 2 else labels
    return [np.array([float(str(value) == label) for value in column.values]) for label in kept]


def _unseen(drawn: Iterable[int], count: int) -> NDArray[np.int64]:
    return np.setdiff1d(np.arange(count), np.fromiter(drawn, dtype=np.int64))


def _told(forest: RandomForestRegressor, matrix: NDArray[np.float32], unseen: Sequence[NDArray[np.int64]]) -> Floats:
    """What trees say of the trials that they have not seen, on average; NaN where every tree has."""
    total, count = np.zeros(len(matrix)), np.zeros(len(matrix))
    for tree, at in zip(forest.estimators_, unseen, strict=True):
        if at.size:
            total[at] += tree.tree_.predict(matrix[at])[:, 0]
            count[at] += 1
    found: Floats = np.divide(total, count, out=np.full(len(matrix), math.nan), where=count > 0)
    return found


def _r2(told: Floats, target: Floats) -> float:
    known = np.isfinite(told)
    spread = float(((target[known] - target[known].mean()) ** 2).sum())
    if spread == 0:
        return 0.0  # all alike: there is nothing to foretell
    return 1.0 - float(((target[known] - told[known]) ** 2).sum()) / spread


def main() -> None:
    """A request on standard input, the answer on standard output; it steps back for trials."""
    os.nice(10)
    asked = Request.model_validate_json(sys.stdin.buffer.read())
    sys.stdout.write(importances(asked).model_dump_json())


if __name__ == "__main__":
    main()
