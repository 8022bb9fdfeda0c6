"""A repeated trial counts by its means: in every sampler, from then on, and in a resumed sweep the same."""

import random
from dataclasses import replace

import optuna
import pytest

from plastsearch.search.generations import Generations, Nsga2
from plastsearch.search.samplers import OptunaSampler
from plastsearch.search.space import open_space
from plastsearch.search.study import Study, open_study
from plastsearch.search.tpe import Memory
from tests.search.test_generations import SPACE as GENES
from tests.search.test_study import SPACE, loaded, record, spec

WIDE = {**SPACE, "layers": {**SPACE["layers"], "max": 6}}


def means(one, runs):
    """Made-up means of a trial's objectives: the seed decides, as repeated training would."""
    noise = random.Random(f"{one.number} {runs}").uniform(-9, 9)
    return [one.metrics["dev_eer"] + noise, one.metrics["backward_ratio"], one.metrics["params_total"]]


class Sweep:
    """A study and what its journal would say; every third trial repeats an earlier one."""

    def __init__(self, search, records=(), revised=None):
        self.spec = spec(WIDE, search=search)
        self.records, self.revised = list(records), dict(revised or {})
        self.study = Study(self.spec, open_space(self.spec), None, self.records, self.revised)

    def step(self, repeat=True):
        number = len(self.records)
        self.records.append(record(number, self.study.ask(number)))
        self.study.tell(self.records[-1])
        if repeat and number % 3 == 2:
            one = self.records[number // 2]
            runs = self.revised.get(one.number, ([], 1))[1] + 1
            self.revised[one.number] = (means(one, runs), runs)
            self.study.revise(one, *self.revised[one.number])


@pytest.mark.parametrize(("sampler", "count"), [("tpe", 26), ("nsga2", 72), ("nsga3", 72)])
def test_a_resume_after_any_event_proposes_the_same(sampler, count):
    whole = Sweep({"sampler": sampler, "seed": 3})
    for number in range(count):
        again = None
        if number % 5 == 0 or number > count - 6:
            again = Sweep({"sampler": sampler, "seed": 3}, whole.records, whole.revised)
        whole.step()
        if again is not None:
            assert again.study.ask(number).config.trial_id() == whole.records[number].id


@pytest.mark.parametrize(("sampler", "count"), [("tpe", 40), ("nsga2", 120), ("nsga3", 120)])
def test_means_change_what_is_proposed(sampler, count):
    """Were they ignored, a search with repeats would propose what one without proposes."""
    plain, repeated = Sweep({"sampler": sampler}), Sweep({"sampler": sampler})
    for _ in range(count):
        plain.step(repeat=False)
        repeated.step()
    assert [one.id for one in plain.records] != [one.id for one in repeated.records]


def test_a_sampler_forgets_what_the_first_run_said():
    """Told first values and then means of as many runs, it proposes what it proposes if the means come at once."""
    one = spec(WIDE)
    space = open_space(one)
    first, second = (OptunaSampler(space, ["min", "min"], "tpe", 0, 4) for _ in range(2))
    rng = random.Random(0)
    for order in range(20):
        params = [sampler.ask(lambda draw: draw()) for sampler in (first, second)]
        assert params[0] == params[1]
        luck, mean = [rng.random(), rng.random()], [rng.random(), rng.random()]
        first.tell(order, luck, {})
        first.update(order, mean, 2, {})
        second.tell(order, mean, {})
        second.update(order, mean, 2, {})


def test_what_has_no_values_cannot_be_revised():
    one = spec(WIDE)
    sampler = OptunaSampler(open_space(one), ["min"], "tpe", 0, 4)
    sampler.ask(lambda draw: draw())
    with pytest.raises(ValueError, match="proposal 0 has no values"):
        sampler.update(0, [1.0], 2, {})
    sampler.tell(0, [1.0], {})
    with pytest.raises(ValueError, match="a mean over 0 runs"):
        sampler.update(0, [1.0], 0, {})


def test_a_memory_takes_revised_losses():
    memory = Memory({"x": optuna.distributions.FloatDistribution(0, 1)}, [1.0, -1.0])
    study = optuna.create_study(directions=["minimize", "maximize"])
    for at in range(3):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, [at, at])
    memory.read(study)
    for number in (1, 9):  # the second was not read yet: the study will have it
        changed = optuna.trial.create_trial(values=[5.0, 7.0], constraints={"c": 3.0, "d": -1.0})
        changed.number = number
        memory.revise(changed, 2)
    assert memory.losses.tolist() == [[0.0, 0.0], [5.0, -7.0], [2.0, -2.0]]
    assert memory.excess.tolist() == [0.0, 3.0, 0.0]


def test_revised_values_choose_other_parents():
    """The worst of a generation becomes its best by its means, and a parent."""
    study = optuna.create_study(directions=["minimize"])
    generations = Generations()
    study.sampler = Nsga2(generations, seed=0, population_size=4)
    for at in range(9):
        trial = study.ask(GENES)
        study.tell(trial, [float(at)])
        generations.note(study.get_trials(deepcopy=False)[at])
    first = [one.number for one in study.sampler.get_parent_population(study, 1)]
    changed = optuna.trial.create_trial(
        value=-1.0,
        params=study.trials[3].params,
        distributions=study.trials[3].distributions,
        system_attrs=study.trials[3].system_attrs,
    )
    changed._trial_id, changed.number = study.trials[3]._trial_id, 3
    generations.revise(changed)
    assert first == [0, 1, 2, 3]
    assert [one.values for one in study.sampler.get_parent_population(study, 1)] == [[0.0], [1.0], [2.0], [-1.0]]
    assert 3 in [one.number for one in study.sampler.get_parent_population(study, 2)]
    assert study.sampler.get_parent_population(study, 0) == []


def test_the_file_keeps_the_first_run(tmp_path):
    one = spec(WIDE)
    study = open_study(one, tmp_path, [])
    records = [record(number, study.ask(number)) for number in range(3)]
    for each in records:
        study.tell(each)
    study.revise(records[1], [1.0, 2.0, 3.0], 2)
    again = open_study(one, tmp_path, records, revised={1: ([1.0, 2.0, 3.0], 2)})
    assert not again.rebuilt
    assert [trial.values[0] for trial in loaded(tmp_path).trials] == [one.metrics["dev_eer"] for one in records]


def test_a_repeat_may_end_before_the_baseline():
    """Its trial is told once limits are known; its means then, too."""
    one = spec(WIDE, constraints=["dev_eer <= 0.9 * baseline"])
    studies = [Study(one, open_space(one), None, []) for _ in range(2)]
    early = [record(number, studies[0].ask(number)) for number in range(6)]
    for number in range(6):
        studies[1].ask(number)
    yardstick = replace(early[0], number=6, role="control", control="baseline", metrics={"dev_eer": 30.0})
    for study, order in zip(studies, ("repeat first", "baseline first"), strict=True):
        for each in early:
            study.tell(each)
        if order == "baseline first":
            study.tell(yardstick)
        for each in early[:3]:
            study.revise(each, means(each, 2), 2)
        if order == "repeat first":
            study.tell(yardstick)
    following = [[study.ask(number).config.trial_id() for number in range(7, 12)] for study in studies]
    assert following[0] == following[1]


def test_limits_are_measured_by_means():
    """Lucky within the limit, beyond it by its mean: it is not good any more."""
    one = spec(WIDE, constraints=["dev_eer <= 20"])
    study = Study(one, open_space(one), None, [])
    records = [record(number, study.ask(number), dev_eer=10.0) for number in range(3)]
    for each in records:
        study.tell(each)
    study.revise(records[1], [30.0, 0.5, 1e5], 2)
    study.ask(3)
    memory = study._sampler._memory
    memory.read(study._sampler._study)
    assert memory.excess.tolist() == [0.0, 0.5, 0.0]
