"""kill -9 of the driver at any moment, then resume: nothing lost, nothing twice, the same trials and front."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plastsearch.tracking.journal import FILE, read
from plastsearch.tracking.ranking import Ranking
from tests.sweep.conftest import OBJECTIVES
from tests.sweep.sweep_process import rig

TRIALS, SECONDS = 12, 0.04


def start(folder: Path, seed: int) -> subprocess.Popen:
    environment = {**os.environ, "FAKE_TRIAL_S": str(SECONDS), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.sweep.sweep_process", str(folder), str(TRIALS), str(seed)]
    return subprocess.Popen(command, env=environment)


def kill_after(process: subprocess.Popen, folder: Path, size: int) -> None:
    """Kill once the journal has this many bytes: a moment of the sweep, not of the machine."""
    path = folder / FILE
    while process.poll() is None and (not path.exists() or path.stat().st_size < size):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def outcome(records):
    return [(r.number, r.role, r.state, r.params, r.metrics, r.fidelity) for r in records.values()]


def check(tmp_path: Path, seed: int, kills: int) -> None:
    whole = rig(tmp_path / "whole", TRIALS, seed)
    whole.run()
    expected = whole.records()
    size, rng, folder = (tmp_path / "whole" / FILE).stat().st_size, random.Random(seed), tmp_path / "killed"
    for moment in sorted(rng.uniform(0.02, 0.98) for _ in range(kills)):
        kill_after(start(folder, seed), folder, int(moment * size))
    if rng.random() < 0.5:
        with (folder / FILE).open("ab") as file:
            file.write(b'{"event": "end", "trial": 1, "sta')
    before = {n for n, r in rig(folder, TRIALS, seed).records().items() if r.ended}
    resumed = rig(folder, TRIALS, seed)
    resumed.run()
    found = resumed.records()
    assert outcome(found) == outcome(expected)
    ranking = Ranking(OBJECTIVES)
    assert [r.number for r in ranking.front(found.values())] == [r.number for r in ranking.front(expected.values())]
    ends = [event.trial for event in read(folder) if event.kind == "end"]
    assert sorted(ends) == sorted(found)  # each exactly once
    again = {event.trial for event in resumed.heard if event.kind == "start"}
    assert not again & before


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_driver_resumes_to_the_same_sweep(tmp_path, seed):
    check(tmp_path, seed, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 122))
def test_many_random_kills_in_one_sweep(tmp_path, seed):
    check(tmp_path, seed, kills=1 + seed % 3)
