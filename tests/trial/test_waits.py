"""What an attempt waits for others is noted for its driver, and does not count against the limit on its time."""

import threading
import time

import pytest

from plastsearch.store.stages import StageStore
from plastsearch.trial import waits
from plastsearch.trial.run import run_trial
from plastsearch.trial.waits import Waits, waited_s
from tests.trial.conftest import make_config


def test_the_time_between_two_questions_was_a_wait_unless_it_is_long(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(waits.time, "monotonic", lambda: now[0])
    asked = Waits(tmp_path / "waits" / "3-1")
    for step in (0, 0.5, 1.0, 60.0, 0.5, 0.5):  # a minute of work lies between two waits
        now[0] += step
        asked()
    assert asked.seconds == waited_s(tmp_path / "waits" / "3-1") == 2.5
    assert waited_s(tmp_path / "other") == waited_s(None) == 0
    Waits()()  # nobody reads it


@pytest.mark.slow
def test_waiting_for_another_trials_stage_is_noted(settings, tmp_path):
    config = make_config(method="baseline")
    *_, first = run_trial(config, settings())
    store = StageStore(settings().store)
    for stage in first.details["stages"]:
        store.discard(stage["key"])
    lease = store.lease(first.details["stages"][0]["key"])
    assert lease.acquire()
    note = tmp_path / "waits" / "0-1"

    def give_back_once_it_waits():
        until = time.monotonic() + 60
        while waited_s(note) < 0.5 and time.monotonic() < until:
            time.sleep(0.05)
        lease.release()

    thread = threading.Thread(target=give_back_once_it_waits)
    thread.start()
    *_, final = run_trial(config, settings(waits=note))
    thread.join()
    assert 0.5 <= waited_s(note) <= final.metrics["waited_seconds"] + 0.5
