"""When a sweep is expected to end, controls and finalists included, from what its runs took so far."""

import pytest

from plastsearch.spec.methods import Runs
from plastsearch.sweep.expected import expected
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord
from tests.sweep.conftest import OBJECTIVES

RUNS = Runs(search=4, controls=2, finalists=6, seeds=3)


def run(number, role="search", seconds=10.0, *, reused=5.0, state="done", **more):
    metrics = {"reused_seconds": reused, "waited_seconds": 0.0}
    found = TrialRecord(
        number, str(number), role, None, {}, {"method": "baseline"}, state=state, metrics=metrics, **more
    )
    found.seconds = seconds
    return found


def left(records, slots=1, now=0.0):
    running = [record for record in records if record.state == "running"]
    return expected(records, RUNS).left_s(running, slots, now)


def test_nothing_is_foretold_before_a_run_has_ended():
    assert left([]) is None
    assert left([run(0, state="running", started_at=0.0)]) is None


def test_controls_finalists_and_their_starts_count():
    baseline = run(0, "control", 15.0, reused=0.0)  # it trained the start, of 5 s, that the trial reused
    baseline.control = "baseline"
    # 3 trials, 1 control and 6 finalists of 10 s, and a start of 5 s for each of 3 seeds
    assert left([baseline, run(1)]) == pytest.approx(3 * 10 + 10 + 6 * 10 + 3 * 5)


def test_slots_share_the_work_and_the_last_run_still_takes_its_time():
    ended = [run(n) for n in range(4)] + [run(4, "control"), run(5, "control")]
    finals = [run(6 + n, "finalist", seed=n % 3) for n in range(5)]
    assert left([*ended, *finals], slots=4) == pytest.approx(10.0)
    assert left(ended, slots=3) == pytest.approx((6 * 10 + 3 * 5) / 3)


def test_what_runs_has_done_a_part_of_its_work():
    ended = [run(n) for n in range(4)] + [run(4, "control"), run(5, "control")]
    finals = [run(6 + n, "finalist", seed=n % 3) for n in range(5)]
    last = run(11, "finalist", state="running", started_at=100.0, seed=2)
    assert left([*ended, *finals, last], now=104.0) == pytest.approx(6.0)
    assert left([*ended, *finals, last], now=500.0) == 0.0  # late, not negative


def test_a_wait_is_another_trial_s_time():
    waited = run(1, seconds=60.0)
    waited.metrics["waited_seconds"] = 50.0
    assert left([waited]) == pytest.approx(3 * 10 + 2 * 10 + 6 * 10 + 3 * 5)


def test_more_than_planned_is_not_out_of_less():
    found = expected([run(n) for n in range(7)], RUNS)
    assert [part.words for part in found.parts] == ["7/7 trials", "0/2 controls", "0/6 finalists"]


def test_a_view_counts_anew_when_a_run_has_ended():
    records = {0: run(0), 1: run(1, state="running", started_at=0.0)}
    view = SweepView(records, Ranking(OBJECTIVES), RUNS)
    assert view.progress() == "1/4 trials · 0/2 controls · 0/6 finalists"
    records[1].state = "done"
    assert view.progress() == "2/4 trials · 0/2 controls · 0/6 finalists"
    assert view.left_s() == pytest.approx(2 * 10 + 2 * 10 + 6 * 10 + 3 * 5)
