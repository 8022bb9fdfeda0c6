"""Genetic samplers with a memory propose what Optuna's own do."""

import random

import optuna
import pytest
from optuna.trial import TrialState

from plastsearch.search.generations import Generations, Nsga2, Nsga3

SPACE = {
    **{f"on_{at}": optuna.distributions.CategoricalDistribution([0, 1]) for at in range(6)},
    "size": optuna.distributions.IntDistribution(1, 64),
}


def proposals(make, note=lambda trial: None, trials=90):
    """What a sampler proposes, made anew each time, with four trials at work; some fail, and ends are out of order."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    rng, running, found = random.Random(0), [], []
    for order in range(trials):
        study.sampler = make(order)
        trial = study.ask(SPACE)
        found.append(trial.params)
        running.append(trial)
        if len(running) == 4:
            ended = running.pop(rng.randrange(4))
            size = sum(ended.params.values())
            failed = rng.random() < 0.1
            values = None if failed else [size + rng.random(), 100.0 - size]
            study.tell(ended, values, state=TrialState.FAIL if failed else TrialState.COMPLETE)
            if not failed:
                note(study.get_trials(deepcopy=False)[ended.number])
    return found


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Nsga2, optuna.samplers.NSGAIISampler), (Nsga3, optuna.samplers.NSGAIIISampler)]
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_proposals_are_optuna_s_number_for_number(ours, theirs):
    memory = Generations()
    made = proposals(lambda seed: ours(memory, seed=seed, population_size=8), memory.note)
    assert made == proposals(lambda seed: theirs(seed=seed, population_size=8))
    assert memory.newest()[0] >= 3  # there were generations to agree on
