"""Where a sweep stands: fronts under limits, volumes, budgets, who is a finalist, what the controls are."""

import pytest

from plastsearch.execute.inline import InlineExecutor
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.constraints import parse_constraint
from plastsearch.spec.sweep import Objective
from plastsearch.sweep.budget import Counted, Limits, Spent, common_cause, exhausted
from plastsearch.sweep.planned import against_best, baseline, choose, finalists
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord
from tests.sweep.fake_trials import Dice

SITES = [f"encoder.{i}.ffn" for i in range(6)]


def record(number, eer=None, ratio=0.5, size=1000.0, role="search", control=None, state="done", **more):
    config = TrialConfig(method="plasticity", layers=tuple(SITES[:2]), neurons=16).model_dump(
        mode="json", by_alias=True
    )
    metrics = {"dev_eer": eer, "backward_ratio": ratio, "params_total": size, "params_baseline": 1000.0}
    known = {name: value for name, value in metrics.items() if value is not None}
    return TrialRecord(number, "id", role, control, {}, config, state=state, metrics=known, fidelity=1.0, **more)


def ranking(*limits):
    objectives = [
        Objective(metric="dev_eer", goal="min", reference=50.0),
        Objective(metric="backward_ratio"),
        Objective(metric="params_total"),
    ]
    return Ranking(objectives, [parse_constraint(text) for text in limits])


def test_the_front_leaves_out_whatever_is_no_result():
    halted, failed = record(3, 1.0, state="halted"), record(4, 1.0, state="failed")
    finalist = record(5, 1.0, role="finalist")
    found = ranking().front(
        [record(1, 20.0, 0.9), record(2, 30.0, 0.2), record(6, 31.0, 0.9), halted, failed, finalist]
    )
    assert [r.number for r in found] == [1, 2]


def test_limits_relative_to_the_baseline_wait_for_it():
    where = ranking("params_total <= 1.05 * baseline", "backward_ratio <= 0.5 * baseline")
    light, heavy, slow = record(1, 20.0, 0.4, 1040), record(2, 10.0, 0.4, 1100), record(3, 15.0, 0.6, 1000)
    assert [r.number for r in where.front([light, heavy, slow])] == [3, 1]
    where.note(record(0, 40.0, 1.0, role="control", control="baseline"))
    assert [r.number for r in where.front([light, heavy, slow])] == [1]


def test_a_metric_that_is_needed_and_missing_is_named():
    assert ranking().missing({"dev_eer": 1.0}) == "backward_ratio"
    assert ranking("turnover <= 1").missing(record(1, 1.0).metrics) == "turnover"
    assert ranking().missing(record(1, 1.0).metrics) is None


def test_references_default_to_chance_full_cost_and_half_as_much_again():
    volume = ranking().hypervolume([record(1, 25.0, 0.6, 1000.0)])
    assert volume == pytest.approx((50 - 25) * (1.1 - 0.6) * (1500 - 1000))
    assert Ranking([Objective(metric="train_loss")]).hypervolume([record(1, 25.0)]) is None


def test_a_reference_of_zero_is_a_reference():
    one = Objective(metric="dev_eer", goal="max", reference=0.0)
    assert Ranking([one]).resolved([])[0].reference == 0.0
    assert Ranking([one]).hypervolume([record(1, 25.0)]) == pytest.approx(25.0)


def test_budgets():
    records = [record(n, 20.0, ended_at=float(n), gpu_seconds=1800.0) for n in range(4)]
    limits = {"trials": 4}, {"wall_s": 60.0}, {"gpu_hours": 2.0}, {"hypervolume": 1.0}, {"stagnation": 3}
    reasons = [exhausted(Limits(**limit), ranking(), Spent(records, 60.0)) for limit in limits]
    assert [reason and reason.split(":")[0] for reason in reasons] == [
        "trials", "wall time", "GPU-hours", "hypervolume", "stagnation",
    ]  # fmt: skip
    assert exhausted(Limits(trials=5, wall_s=61, gpu_hours=3, stagnation=4), ranking(), Spent(records, 60.0)) is None


def test_the_common_cause_forgives_numbers():
    failed = [record(n, state="failed", reason=f"CUDA error {n} at {n * 7}") for n in range(3)]
    assert common_cause([*failed, record(9, state="failed", reason="other")]) == ("CUDA error 0 at 0", 3)


def test_controls_answer_to_the_best_member():
    records = {r.number: r for r in [record(1, 20.0), record(2, 10.0, 0.9)]}
    lora, ada, other = against_best(["lora", "adalora", "random"], ranking(), SITES, seed=0)(records)
    assert (ada.config, ada.control, ada.of) == (lora.config.model_copy(update={"method": "adalora"}), "adalora", 2)
    assert (lora.config.method, lora.config.layers, lora.of) == ("lora", tuple(SITES[:2]), 2)
    assert len(other.config.layers) == 2
    assert set(other.config.layers) != set(SITES[:2])
    assert against_best(["random"], ranking(), SITES[:2], seed=0)(records) == []
    assert against_best(["lora"], ranking(), SITES, seed=0)({}) == []
    assert baseline(TrialConfig(method="plasticity", layers=tuple(SITES), neurons=8)).config.growth() == {}


def test_finalists_are_the_best_the_knee_and_the_next_best_with_fresh_seeds():
    records = [record(n, eer, ratio) for n, (eer, ratio) in enumerate([(10, 0.9), (11, 0.85), (15, 0.3), (40, 0.1)])]
    assert [r.number for r in choose(ranking(), records, 2)] == [0, 2]
    assert [r.number for r in choose(ranking(), records, 3)] == [0, 2, 1]
    by_number = {r.number: r for r in [*records, record(9, 45.0, 1.0, role="control", control="baseline")]}
    plans = finalists(ranking(), 2, 2)(by_number)
    assert [(p.of, p.config.seed) for p in plans] == [(0, 1), (0, 2), (2, 1), (9, 1), (2, 2), (9, 2)]
    assert all(plan.role == "finalist" for plan in plans)


def test_what_is_counted_on_is_what_all_records_say(rig):
    """At every event, with failures, retries and duplicates: budgets rest on it."""
    seen = []

    class Counter:
        def feed(self, event):
            seen.append(sweep._state.tally == Counted.of(sweep.records.values()))

    it = rig(rng=Dice(orders={3: "error", 5: "bug", 6: "nan"}), limits=Limits(trials=12))
    sweep = it.open()
    sweep._state.listeners.append(Counter())
    InlineExecutor().run(sweep)
    it.journal.close()
    assert len(seen) > 50
    assert all(seen)
    assert sweep._state.tally.failed >= 2
