"""Halting: rungs after growth, one metric or all objectives, decisions that survive a resume."""

import random

import pytest

from plastsearch.spec.methods import Runs
from plastsearch.spec.sweep import Halt, Objective
from plastsearch.sweep.halting import Halting, HaltingWatch
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.early import progress
from plastsearch.tracking.events import Ended, Reported
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord

EER, RATIO = Objective(metric="dev_eer"), Objective(metric="backward_ratio")


def report(stage, step, at=0.0, **metrics):
    return Reported(trial=0, attempt=1, stage=stage, step=step, steps_total=100, metrics=metrics, at=at)


def record(number, *history, role="search"):
    return TrialRecord(number, "id", role, None, {}, {}, history=list(history))


def test_progress_counts_from_growth():
    assert progress([report("train", 50)]) is None
    assert progress([report("train", 50), report("retrain", 75)]) == 0.5
    assert progress([report("dropin", 50), report("retrain", 60)]) == 0.2  # a reused `train` reports nothing
    several = [report("dropin", 50), report("retrain", 60), report("dropin", 60), report("retrain", 75)]
    assert progress(several) == 0.5  # a later insertion does not begin anew


def test_reports_of_a_shared_stage_decide_nothing():
    halting = Halting("asha", [EER], rungs=(0.5,), least=1)
    for number in range(8):
        assert not halting.halts(record(number, report("train", 50, dev_eer=50.0 + number)))


@pytest.mark.parametrize("rule", ["asha", "median"])
def test_one_metric_rules_halt_the_worse_half(rule):
    halting = Halting(rule, [EER], rungs=(0.5,), eta=2, least=3)
    verdicts = [
        halting.halts(record(n, report("train", 50), report("retrain", 75, dev_eer=eer)))
        for n, eer in enumerate([10.0, 20.0, 30.0, 5.0, 25.0])
    ]
    assert verdicts == [False, False, True, False, True]


def test_the_multi_objective_rule_spares_whoever_is_not_dominated():
    halting = Halting("moasha", [EER, RATIO], rungs=(0.5,), eta=2, least=3)
    points = [(10, 0.9), (20, 0.5), (30, 0.2), (35, 0.9), (31, 0.21), (9, 0.95)]
    verdicts = [
        halting.halts(record(n, report("dropin", 50), report("retrain", 75, dev_eer=eer, backward_ratio=ratio)))
        for n, (eer, ratio) in enumerate(points)
    ]
    assert verdicts == [False, False, False, True, True, False]


def test_a_goal_of_max_is_turned():
    halting = Halting("asha", [Objective.model_construct(metric="auc", goal="max")], rungs=(0.5,), least=2)
    assert not halting.halts(record(0, report("retrain", 60, auc=0.5)))
    assert halting.halts(record(1, report("retrain", 60, auc=0.4)))
    assert not halting.halts(record(2, report("retrain", 60, auc=0.9)))


def test_replay_comes_to_the_same_decisions():
    rng = random.Random(0)
    live, now, records, halted = Halting("moasha", [EER, RATIO], least=3), 0.0, [], set()
    for number in range(30):
        one = record(number)
        records.append(one)
        for step in (60, 75, 90):
            now += 1
            metrics = {"dev_eer": rng.uniform(1, 50), "backward_ratio": rng.random()}
            one.history.append(report("retrain", step, now, **metrics))
            if live.halts(one):
                halted.add(number)
                break
    again = Halting("moasha", [EER, RATIO], least=3)
    assert again.replay(records) == halted
    assert again._reached == live._reached
    assert 5 < len(halted) < 25


def test_halted_trials_are_recorded_as_such_and_never_in_the_front(rig):
    from plastsearch.sweep.budget import Limits
    from tests.sweep.conftest import OBJECTIVES

    it = rig(limits=Limits(trials=20), options={"halting": Halting("asha", OBJECTIVES, least=2)})
    it.run()
    records = it.records()
    halted = [r for r in records.values() if r.state == "halted"]
    assert len(halted) >= 5
    assert all(0 < r.fidelity < 1 and r.reason.startswith("halted at step") for r in halted)
    assert {n for n, state in it.rng.told if state == "halted"} == {r.number for r in halted}
    assert not {r.number for r in Ranking(OBJECTIVES).front(records.values())} & {r.number for r in halted}
    assert records[0].state == "done"  # controls are never halted


def ended(number, early, late):
    history = [report("train", 50), report("retrain", 75, dev_eer=early), report("consolidate", 100, dev_eer=late)]
    one = record(number, *history)
    one.state, one.metrics = "done", {"dev_eer": late}
    return one


@pytest.mark.parametrize(("late", "count"), [(lambda n: n, 0), (lambda n: -n, 1)])
def test_the_driver_warns_once_when_rungs_foretell_little(late, count):
    said = []
    records = {}
    watch = HaltingWatch(Halt(kind="asha", rungs=(0.5,)), records, said.append)
    for number in range(12):
        records[number] = ended(number, 30.0 + number, 20.0 + late(number))
        watch.feed(Ended(trial=number, attempt=1, state="done", metrics={}))
    assert len(said) == count
    assert all("rank correlation -1.00 over 8 trials" in text and "halt.rungs" in text for text in said)


def test_without_halting_nobody_is_warned():
    said = []
    records = {number: ended(number, 30.0 + number, 20.0 - number) for number in range(12)}
    HaltingWatch(Halt(), records, said.append).feed(Ended(trial=0, attempt=1, state="done", metrics={}))
    assert said == []


def test_the_summary_says_how_early_and_last_results_rank():
    records = {number: ended(number, 30.0 + number, 20.0 - number) for number in range(12)}
    view = SweepView(records, Ranking([EER], []), Runs(12, 0, 0), halt=Halt(kind="asha", rungs=(0.5,)))
    assert "early and last rank alike by -1.00 at 50%: halting may stop the best" in view.summary()
    assert "rank alike" not in SweepView(records, Ranking([EER], []), Runs(12, 0, 0)).summary()
