"""The sweep as a state machine: whole sweeps of fake trials in this process."""

import time
from dataclasses import replace

import pytest

from plastsearch.execute import worker
from plastsearch.execute.messages import Failed
from plastsearch.sweep.budget import Limits
from plastsearch.tracking.events import Ended, Proposed
from plastsearch.tracking.journal import Journal
from tests.sweep.fake_trials import Dice


def outcome(records):
    return [(r.number, r.role, r.state, r.params, r.metrics) for r in records.values()]


def test_a_sweep_runs_baseline_then_search_and_writes_all_down(rig):
    it = rig()
    sweep = it.run()
    records = it.records()
    assert [r.role for r in records.values()] == ["control"] + ["search"] * 6
    assert {r.state for r in records.values()} == {"done"}
    assert sweep.over
    assert it.rng.told == [(n, "done") for n in range(7)]  # the baseline, too: limits may be relative to it
    assert records[3].history[-1].stage == "consolidate"
    assert records[3].metrics.keys() == {"dev_eer", "backward_ratio", "params_total", "params_baseline"}


def test_listeners_hear_what_is_written(rig):
    it = rig()
    it.run()
    kinds = [event.kind for event in it.heard if event.trial == 2]
    assert kinds == ["propose", "start", "report", "report", "report", "report", "end"]


def test_failures_stay_alone_and_keep_their_reasons(rig, tmp_path):
    orders = {1: "error", 2: "bug", 3: "silent", 4: "incomplete", 5: "nan", 6: f"disk-once:{tmp_path / 'd'}", 7: "disk"}
    it = rig(rng=Dice(orders=orders), limits=Limits(trials=16, max_failures=2, max_failed_fraction=0.9))
    it.run()
    records = it.records()
    reasons = [records[n].reason for n in range(1, 8)]
    assert reasons == [
        "this configuration is poisonous",
        "ZeroDivisionError: a bug in the trial",
        "the trial ended without a final report",
        "the trial ended without 'dev_eer'",
        "the trial ended without 'dev_eer'",
        None,
        "OSError: the disk does not answer",
    ]
    assert [records[n].state for n in range(1, 9)] == ["failed"] * 5 + ["done", "failed", "done"]
    assert records[6].attempts == 2
    assert records[6].reasons == ["OSError: the disk does not answer"]
    assert records[7].attempts == 3
    assert "a bug in the trial" in records[2].details["traceback"]


def test_a_hanging_trial_is_cut_and_tried_again(rig, tmp_path):
    orders = {1: f"hang-once:{tmp_path / 'h'}", 2: "hang"}
    it = rig(rng=Dice(orders=orders), limits=Limits(trials=3, trial_timeout_s=0.2, max_failures=1))
    it.run()
    records = it.records()
    assert [records[n].state for n in (1, 2, 3)] == ["done", "failed", "done"]
    assert records[2].reason == "no end after 0.2 s (the limit for one trial)"


def test_too_many_failures_stop_the_sweep_with_the_common_cause(rig):
    it = rig(rng=Dice(orders=dict.fromkeys(range(2, 40), "error")), limits=Limits(trials=40))
    sweep = it.run()
    assert len(it.records()) < 10
    assert "4 of them: this configuration is poisonous" in (sweep.failure or "")


def test_an_exhausted_space_ends_the_sweep(rig):
    it = rig(rng=Dice(space=3), limits=Limits(trials=50))
    assert it.run().over
    assert len(it.records()) == 4


class Repeats(Dice):
    """Proposes trial 1 again and again."""

    def ask(self, number):
        proposal = super().ask(1)
        return replace(proposal, reuse_of=1) if number > 1 else proposal


@pytest.mark.parametrize(("order", "state"), [(None, "reused"), ("error", "failed")])
def test_a_duplicate_takes_over_the_result_without_running(rig, order, state):
    it = rig(rng=Repeats(orders={1: order}), limits=Limits(trials=4))
    it.run()
    records = it.records()
    assert [records[n].state for n in (2, 3, 4)] == [state] * 3
    assert [event.trial for event in it.heard if event.kind == "start"] == [0, 1]
    assert records[2].metrics == records[1].metrics
    assert [n for n, _ in it.rng.told] == [0, 1, 2, 3, 4]


def test_a_stage_that_another_process_computes_is_waited_for_in_the_end(rig):
    it = rig(rng=Dice(orders={1: "busy"}), limits=Limits(trials=2), options={"slots": 2})
    it.run()
    records = it.records()
    assert {r.state for r in records.values()} == {"done"}
    assert records[1].failures == 0
    assert records[1].metrics["waited_seconds"] >= 0


def test_what_all_begin_with_is_waited_for_in_the_slot(rig):
    """Nobody else has work for the slot; where trials begin differently they make room instead."""
    for first_stage, defer in [(lambda r: "train", False), (lambda r: str(r.number), True)]:
        it = rig(f"defer-{defer}", options={"slots": 2}, first_stage=first_stage)
        sweep = it.open()
        baseline, trial = sweep.next(), sweep.next()
        for attempt in (baseline, trial):
            sweep.started(attempt)
        it.journal.close()
        assert trial.task.settings.defer_busy is defer


def test_proposals_reach_the_disk_soon_and_results_at_once(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", synced.append)
    with Journal(tmp_path) as journal:
        journal.append(Proposed(trial=0, id="x", role="search", params={}, config={}))
        journal.tick()
        assert synced == []
        later = time.monotonic() + 1
        monkeypatch.setattr(time, "monotonic", lambda: later)
        journal.tick()
        journal.tick()
        assert len(synced) == 1
        journal.append(Ended(trial=0, attempt=1, state="done", metrics={}))
        assert len(synced) == 2


class Desert:
    """An executor whose nodes go down under one trial again and again."""

    def __init__(self, trial: int, times: int) -> None:
        self.trial, self.times = trial, times

    def run(self, driver) -> None:
        while (attempt := driver.next()) is not None:
            driver.started(attempt)
            if attempt.trial == self.trial and self.times:
                self.times -= 1
                driver.lost(attempt, "its node died", blameless=True)
                continue
            for message in worker.messages(attempt.task):
                driver.heard(attempt, message)


@pytest.mark.parametrize(("times", "state"), [(3, "done"), (4, "failed")])
def test_a_lost_node_is_not_a_failure_of_the_configuration(rig, times, state):
    it = rig(limits=Limits(trials=3, max_failures=0, max_losses=3))
    driver = it.open()
    Desert(1, times).run(driver)
    it.journal.close()
    record = it.records()[1]
    assert (record.state, record.failures, record.losses) == (state, 0, 3)
    assert record.reasons == ["its node died"] * 3
    assert {r.state for n, r in it.records().items() if n != 1} == {"done"}


def test_a_trial_that_ends_after_an_interrupt_goes_on_with_the_next_session(rig):
    """SIGTERM may reach the trial as well as the driver: it then ends in peace, without a result."""
    it = rig(limits=Limits(trials=1))
    driver = it.open()
    attempt = driver.next()
    driver.started(attempt)
    driver.interrupt()
    assert not driver.heard(attempt, Failed(reason="the trial ended without a final report"))
    assert driver.over
    it.journal.close()
    it.run()
    assert [(r.state, r.attempts) for r in it.records().values()] == [("done", 2), ("done", 1)]


def waiting_600_s(it, note):
    """Its attempts have a note that says so."""
    plain = it.task

    def task(record, defer):
        note.write_text("600")
        made = plain(record, defer)
        return made.model_copy(update={"settings": made.settings.model_copy(update={"waits": note})})

    it.task = task
    return it


def test_waiting_for_others_does_not_count_against_the_time_limit(rig, tmp_path, monkeypatch):
    """Neither in this process, where an alarm rings, nor on a cluster, whose driver is asked who is overdue."""
    monkeypatch.setenv("FAKE_TRIAL_S", "1")
    note = tmp_path / "note"
    it = rig("here", limits=Limits(trials=1, max_failures=0, trial_timeout_s=0.2))
    assert {record.state for record in waiting_600_s(it, note).run().records.values()} == {"done"}
    assert not note.exists()
    other = waiting_600_s(rig("cluster", limits=Limits(trials=1, max_failures=0, trial_timeout_s=0.001)), note)
    driver = other.open()
    attempt = driver.next()
    driver.started(attempt)
    time.sleep(0.01)
    assert driver.overdue() == []
    note.write_text("0")
    assert driver.overdue() == [(attempt, "no end after 0.001 s (the limit for one trial)")]
    other.journal.close()
