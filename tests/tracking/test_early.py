"""What trials showed on their way: read as a rung reads it, and compared with their ends."""

import random

import pytest

from plastsearch.tracking.early import foretold, value_at
from plastsearch.tracking.events import Reported
from plastsearch.tracking.records import TrialRecord


def report(stage, step, eer=None):
    metrics = {} if eer is None else {"dev_eer": eer}
    return Reported(trial=0, attempt=1, stage=stage, step=step, steps_total=100, metrics=metrics)


def record(number, early, late, state="done", role="search"):
    history = [report("train", 50, 40.0), report("retrain", 60, early), report("consolidate", 100, late)]
    return TrialRecord(number, "id", role, None, {}, {}, history=history, state=state, metrics={"dev_eer": late})


def test_a_rung_sees_the_first_report_beyond_it():
    history = record(0, 30.0, 10.0).history
    assert value_at(history, 0.2, "dev_eer") == 30.0
    assert value_at(history, 0.25, "dev_eer") is None  # only the end lies beyond: it foretells itself
    assert value_at([report("train", 50, 40.0)], 0.2, "dev_eer") is None


def test_trials_that_end_in_the_order_in_which_they_stood():
    (found,) = foretold([record(n, 30.0 + n, 10.0 + n**2) for n in range(9)], "dev_eer", (0.2,))
    assert (found.share, found.trials) == (0.2, 9)
    assert found.correlation == pytest.approx(1.0)


def test_luck_correlates_with_nothing():
    draw = random.Random(0)
    (found,) = foretold([record(n, draw.random(), draw.random()) for n in range(200)], "dev_eer", (0.2,))
    assert abs(found.correlation) < 0.2


def test_halted_trials_and_controls_are_left_out():
    whole = [record(n, 30.0 + n, 10.0 + n) for n in range(7)]
    more = [record(7, 1.0, 99.0, state="halted"), record(8, 1.0, 99.0, role="control")]
    assert foretold([*whole, *more], "dev_eer", (0.2,)) == []
