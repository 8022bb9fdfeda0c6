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
from plastsearch.tracking.journal import FILE, read, seconds_so_far
from plastsearch.tracking.records import trials
from tests.sweep.fake_trials import Dice
from tests.sweep.session_process import session


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


def test_a_trial_that_an_older_driver_failed_for_the_disk_runs_again(tmp_path, capsys):
    """The message had promised it; of trials that failed for another reason nothing was said, and they stay."""
    folder = session(tmp_path, "search.trials=3", "controls=[]", finalists=False).folder
    lines = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    reasons = {0: "this configuration is poisonous", 1: "OSError: [Errno 28] No space left on device: 'store'"}
    for line in lines:
        if line["event"] == "end" and line["trial"] in reasons:
            line.update(state="failed", metrics={}, reason=reasons[line["trial"]])
        line["at"] -= 7200
    (folder / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    session(tmp_path, "search.trials=3", "controls=[]", finalists=False, resume=True)
    records = trials(read(folder))
    assert [record.state for record in records.values()] == ["failed", "done", "done"]
    assert (records[1].attempts, records[1].reason) == (2, None)
    assert "it had failed because a disk was full" in records[1].reasons[0]
    assert "1 trial had failed because a disk was full; it runs again" in capsys.readouterr().err
    assert seconds_so_far(read(folder)) < 600  # nobody worked in the two hours between


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
    said = b""
    # What it says is all that is waited for: a limit on the clock would be one on how busy this machine is.
    while b'"event": "start"' not in said and b'"event":"start"' not in said:
        said += os.read(first, 10_000)  # an error once the driver has gone
    driver.send_signal(signal.SIGHUP)
    os.close(first)  # from here on each word to the terminal is an error
    assert driver.wait() == 130  # the suite's own limit is for one that hangs
    assert read(tmp_path / "fake")[-1].status == "interrupted"


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
