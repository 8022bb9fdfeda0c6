"""Ends that are nobody's wish: a full disk, a closed terminal, a clock put back, nothing left to run."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from plastsearch.execute.inline import InlineExecutor
from plastsearch.sweep.budget import Limits
from plastsearch.tracking.journal import FILE, read
from tests.sweep.fake_trials import Dice


def test_a_trial_that_found_no_room_runs_again_when_there_is(rig, tmp_path):
    marker = tmp_path / "made room"
    it = rig(rng=Dice(orders={2: f"full-once:{marker}"}), limits=Limits(trials=4))
    sweep = it.run()
    assert "could not be stored" in sweep.no_room
    assert {n: record.state for n, record in it.records().items()} == {0: "done", 1: "done", 2: "proposed"}
    assert it.run().no_room is None
    records = it.records()
    assert [record.state for record in records.values()] == ["done"] * 5
    assert (records[2].attempts, records[2].failures) == (2, 0)


def test_after_a_repair_numbers_are_not_given_twice(rig):
    it = rig(limits=Limits(trials=3))
    it.run()
    path = it.folder / FILE
    path.write_text("".join(line for line in path.read_text().splitlines(True) if json.loads(line).get("trial") != 2))
    it.limits = Limits(trials=4)
    it.run()
    assert sorted(it.records()) == [0, 1, 3, 4, 5]


def test_a_clock_that_is_put_back_takes_no_time_from_a_trial(rig, monkeypatch):
    it = rig(limits=Limits(trials=2, trial_timeout_s=60.0))
    sweep = it.open()
    attempt = sweep.next()
    sweep.started(attempt)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    assert sweep.overdue() == []
    it.journal.close()


@pytest.mark.slow
def test_a_closed_terminal_ends_the_driver_with_a_last_word(tmp_path):
    first, second = pty.openpty()
    environment = {**os.environ, "FAKE_TRIAL_S": "0.4", "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-m", "tests.sweep.session_process", str(tmp_path), "new", "inline", "search.trials=400"]
    driver = subprocess.Popen(words, stdin=second, stdout=second, stderr=second, env=environment)
    os.close(second)
    journal = tmp_path / "fake" / FILE
    until = time.monotonic() + 60
    while not (journal.exists() and b'"event":"start"' in journal.read_bytes()) and time.monotonic() < until:
        os.read(first, 10_000)
    driver.send_signal(signal.SIGHUP)
    os.close(first)  # from here on each word to the terminal is an error
    assert driver.wait(30) == 130
    assert read(journal.parent)[-1].status == "interrupted"


def test_an_executor_with_nothing_to_run_does_nothing(rig):
    it = rig(limits=Limits(trials=2))
    it.run()
    before = (it.folder / FILE).read_bytes()
    sweep = it.open()
    assert sweep.next() is None
    assert sweep.over
    InlineExecutor().run(sweep)
    it.journal.close()
    assert (it.folder / FILE).read_bytes() == before
