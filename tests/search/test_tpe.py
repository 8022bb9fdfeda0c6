"""Our TPE: Optuna's own number for number but for luck, while it looks at all trials; bounded and itself beyond."""

from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from plastsearch.pareto import smoothing
from plastsearch.pareto.front import front
from plastsearch.search import tpe
from plastsearch.search.space import open_space
from plastsearch.search.study import Study
from plastsearch.search.tpe import Memory, Tpe
from tests.search.test_study import SPACE, go, spec

KNOWN = {
    "a": CategoricalDistribution((False, True)),
    "b": CategoricalDistribution(("x", "y", "z")),
    "c": IntDistribution(1, 400, log=True),
    "d": FloatDistribution(0.0, 0.9),
    "only": FloatDistribution(0.0, 1.0),  # only where a is true
}
ALWAYS = ("a", "b", "c", "d")


def values(params, signs):
    first = params["d"] + (0.3 if params["a"] else 0.0)
    second = params["c"] / 400 + {"x": 0.0, "y": 0.2, "z": 0.1}[params["b"]] - params.get("only", 0.5) / 3
    return [sign * value for sign, value in zip(signs, (first, second, first * second), strict=False)]


def run(make, signs, count, constrained):
    """Trials of a study whose sampler is made anew for each, one of them always running."""
    study = optuna.create_study(directions=["maximize" if sign < 0 else "minimize" for sign in signs])
    study.enqueue_trial({"a": False})  # so that no joint proposal ever has a value for `only`
    found, running = [], None
    for number in range(count):
        study.sampler = make(number)
        trial = study.ask({name: KNOWN[name] for name in ALWAYS})
        if trial.params["a"]:
            trial.suggest_float("only", 0.0, 1.0)
        found.append(trial.params)
        trial, running = running, trial
        if trial is not None:
            if constrained:
                trial.set_constraint("c", float(trial.params["c"] - 100))
            study.tell(trial, values(trial.params, signs))
    return found


def stock(number):
    return optuna.samplers.TPESampler(
        seed=number, multivariate=True, n_startup_trials=1, n_ei_candidates=tpe.CANDIDATES
    )


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("signs", [(1,), (1, -1), (1, 1, -1)])
def test_it_proposes_what_optuna_would_if_it_took_values_as_they_are(monkeypatch, signs, constrained):
    monkeypatch.setattr(smoothing, "LEAST", 1000)
    memory = Memory(KNOWN, signs)
    ours = run(lambda number: Tpe(number, memory), signs, 60, constrained)
    assert ours == run(stock, signs, 60, constrained)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_it_looks_at_the_best_and_the_newest(monkeypatch):
    monkeypatch.setattr(tpe, "MOST", 20)
    memory = Memory(KNOWN, (1, 1))
    run(lambda number: Tpe(number, memory), (1, 1), 80, False)
    rows = memory.attended()
    assert len(rows) == 20
    assert list(memory.numbers[rows]) == sorted(memory.numbers[rows])
    assert set(range(70, 78)) <= set(memory.numbers[rows].tolist())
    best = np.flatnonzero(front(memory.losses, ["min", "min"])).tolist()
    assert len(best) <= 10
    assert set(best) <= set(rows.tolist())


def lucky_memory():
    """Forty trials in which `a` decides, and one without it that was luckier than any with."""
    rng = np.random.default_rng(0)
    study = optuna.create_study()
    for number in range(40):
        params = {"a": number % 2 == 1, "d": float(rng.uniform(0, 0.9))}
        value = 0.0 if number == 20 else 9.0 - 5 * params["a"] + rng.normal()
        known = {name: KNOWN[name] for name in params}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=known, value=value))
    memory = Memory({name: KNOWN[name] for name in ("a", "d")}, [1])
    memory.read(study)
    return memory, study.trials[20]


def test_a_lucky_trial_is_no_good_one_unless_it_keeps_its_luck():
    memory, trial = lucky_memory()
    rows = memory.attended()
    assert 20 in memory.split(rows)[0]
    assert 20 not in memory.split(rows, losses=memory.calm()[0])[0]
    memory.revise(trial, 50)
    assert 20 in memory.split(rows, losses=memory.calm()[0])[0]


def test_trials_beyond_limits_lend_no_values():
    one, other = lucky_memory()[0], lucky_memory()[0]
    other.losses[:30] += 100
    for memory in (one, other):
        memory.excess[:30] = 1.0
        assert (memory.calm()[0][:30] == memory.losses[:30]).all()
    assert (one.calm()[0][30:] == other.calm()[0][30:]).all()
    assert (one.calm()[0][30:] != one.losses[30:]).any()


@pytest.mark.parametrize("kept", [33, 47])
def test_a_resumed_study_proposes_the_same_beyond_the_bound(monkeypatch, kept):
    monkeypatch.setattr(tpe, "MOST", 16)
    one = spec({**SPACE, "layers": {**SPACE["layers"], "max": 6}}, search={"sampler": "tpe"})
    whole = go(Study(one, open_space(one), None, []), 56)
    pending = [*whole[: kept - 1], replace(whole[kept - 1], state="running", metrics={})]
    study = Study(one, open_space(one), None, pending)
    study.tell(whole[kept - 1])
    assert [r.id for r in go(study, 56, whole[:kept])] == [r.id for r in whole]
    unbounded = go(Study(one, open_space(one), None, []), 16)
    assert [r.id for r in unbounded] == [r.id for r in whole[:16]]
