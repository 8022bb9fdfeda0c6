"""Who waits for whom: the trial that computes a shared first stage is named, and nobody else."""

import pytest

from plastsearch.sweep.waiting import FirstStages
from plastsearch.tracking.events import Reported
from plastsearch.tracking.records import TrialRecord


def record(number, started_at, *, stage=None, state="running", boundary=False):
    said = {"trial": number, "attempt": 1, "step": 0, "steps_total": 0, "metrics": {}, "boundary": boundary}
    history = [Reported(stage=stage, **said)] if stage else []
    return TrialRecord(
        number, "id", "search", None, {}, {}, state=state, stage=stage, started_at=started_at, history=history
    )


def awaited(*records, name=lambda record: "train"):
    known = {one.number: one for one in records}
    first_stages = FirstStages(known, name)
    found = [first_stages.awaited(one) for one in records]
    return [one and one.number for one in found]


@pytest.mark.parametrize(
    ("records", "waits_for"),
    [
        ([record(0, 1.0, stage="train"), record(1, 2.0)], [None, 0]),
        ([record(0, 9.0), record(1, 2.0)], [1, None]),  # a retried trial waits for the later number that took over
        ([record(0, 1.0, state="proposed"), record(1, 2.0), record(2, 3.0)], [None, None, 1]),  # handed out, no worker
        ([record(0, 1.0, state="failed"), record(1, 2.0), record(2, 3.0)], [None, None, 1]),
        ([record(0, 1.0, stage="train", boundary=True), record(1, 2.0)], [None, None]),  # finished or found
        ([record(0, 1.0, stage="retrain"), record(1, 2.0)], [None, None]),
        ([record(0, 1.0, stage="prune", state="done"), record(1, 2.0), record(2, 3.0)], [None, None, None]),
    ],
)
def test_a_trial_waits_for_who_computes_its_first_stage(records, waits_for):
    assert awaited(*records) == waits_for


def test_other_beginnings_are_not_waited_for():
    assert awaited(record(0, 1.0), record(1, 2.0), name=lambda record: str(record.number)) == [None, None]
    assert awaited(record(0, 1.0), record(1, 2.0), name=lambda record: None) == [None, None]
