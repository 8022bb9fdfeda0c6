"""Halted trials leave no checkpoints; whoever may still go on from one keeps it."""

from pathlib import Path

import torch

from plastsearch.store.lease import Lease
from plastsearch.sweep.halting import HaltedCheckpoints
from plastsearch.tracking.events import Ended
from plastsearch.tracking.journal import read
from plastsearch.tracking.records import TrialRecord, trials
from plastsearch.training.checkpoint import Checkpoints
from tests.sweep.session_process import session

TRIAL = "tests.sweep.checkpointing_trials:trial"


def record(number: int, state: str = "running") -> TrialRecord:
    return TrialRecord(number, f"id{number}", "search", None, {}, {}, state=state)


def checkpoint(store: Path, key: str, trial: str) -> Path:
    Checkpoints(store / "work" / key, 60, trial).save({"step": torch.tensor(1)})
    return store / "work" / key


def test_checkpoints_of_halted_trials_go_and_others_stay(tmp_path) -> None:
    records = {0: record(0), 1: record(1), 2: record(2, "halted")}
    mine, other, old = (checkpoint(tmp_path, f"k{n}", f"id{n}") for n in range(3))
    leftovers = HaltedCheckpoints(tmp_path, records)
    assert old.exists()
    leftovers.feed(Ended(trial=0, attempt=1, state="halted", metrics={}))
    assert not mine.exists()
    assert not old.exists()
    leftovers.feed(Ended(trial=1, attempt=1, state="failed", metrics={}))
    leftovers.close()
    assert other.exists()


def test_a_stage_that_somebody_computes_is_left_until_it_is_let_go(tmp_path) -> None:
    folder = checkpoint(tmp_path, "k", "id0")
    holder = Lease(tmp_path / "leases" / "k")
    assert holder.acquire()
    leftovers = HaltedCheckpoints(tmp_path, {0: record(0)})
    leftovers.feed(Ended(trial=0, attempt=1, state="halted", metrics={}))
    assert folder.exists()
    holder.release()
    leftovers.close()
    assert not folder.exists()


def test_a_trial_that_took_the_stage_over_keeps_its_checkpoint(tmp_path) -> None:
    folder = checkpoint(tmp_path, "k", "id0")
    checkpoint(tmp_path, "k", "id7")
    leftovers = HaltedCheckpoints(tmp_path, {0: record(0)})
    leftovers.feed(Ended(trial=0, attempt=1, state="halted", metrics={}))
    assert folder.exists()


def test_a_sweep_ends_without_checkpoints_of_those_it_halted(tmp_path) -> None:
    """Each trial of it checkpoints before it reports, as real ones do; one of two is halted at its last report."""
    outcome = session(tmp_path, "halt.kind=median", "halt.rungs=[0.5]", "halt.least=2", "controls=[]",
                      "search.trials=8", finalists=False, trial=TRIAL)  # fmt: skip
    ended = list(trials(read(outcome.folder)).values())
    states = [r.state for r in ended]
    assert "halted" in states
    owners = {(folder / "trial").read_text() for folder in (tmp_path / "store" / "work").iterdir()}
    assert owners == {r.id for r in ended if r.state != "halted"}
