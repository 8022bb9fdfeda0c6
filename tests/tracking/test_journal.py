"""The journal: one writer, mended tails, and events that add up to the state of every trial."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plastsearch.errors import PlastsearchError
from plastsearch.tracking.events import Ended, Note, Proposed, Retried, SessionBegun, Started
from plastsearch.tracking.journal import FILE, Journal, mend, read, seconds_so_far, trials

PROPOSAL = Proposed(trial=0, id="abc", role="search", params={"n": 1}, config={})


def test_what_is_appended_is_read(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append(PROPOSAL)
        journal.append(Started(trial=0, attempt=1, node="here"))
    events = read(tmp_path)
    assert [event.kind for event in events] == ["propose", "start"]
    assert trials(events)[0].state == "running"


@given(cut=st.integers(0, 60), junk=st.binary(max_size=8).filter(lambda b: b"\n" not in b))
def test_a_torn_tail_costs_only_the_torn_line(tmp_path_factory, cut, junk):
    folder = tmp_path_factory.mktemp("torn")
    with Journal(folder) as journal:
        for n in range(5):
            journal.append(Note(text=str(n)))
    path = folder / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - cut] + junk)
    kept = path.read_bytes().count(b"\n")
    with Journal(folder) as journal:
        journal.append(Note(text=str(99)))
    assert [event.text for event in read(folder)] == [*map(str, range(kept)), "99"]


def test_mending_reports_what_it_cut_and_needs_no_file(tmp_path):
    assert mend(tmp_path / FILE) == 0
    (tmp_path / FILE).write_bytes(b"x" * 200_000)
    assert mend(tmp_path / FILE) == 200_000


def test_a_second_driver_is_refused_by_name(tmp_path):
    with Journal(tmp_path), pytest.raises(PlastsearchError, match=rf"another driver \(process {os.getpid()}\)"):
        Journal(tmp_path)
    Journal(tmp_path).close()


def _hold(folder: Path, ready: multiprocessing.Event) -> None:
    journal = Journal(folder)
    journal.append(Note(text=str(0)))
    ready.set()
    signal.pause()


def test_a_killed_driver_leaves_no_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready), daemon=True)
    process.start()
    assert ready.wait(10)
    with pytest.raises(PlastsearchError, match="another driver"):
        Journal(tmp_path)
    process.kill()
    process.join()
    with Journal(tmp_path) as journal:
        journal.append(Note(text=str(1)))
    assert len(read(tmp_path)) == 2


def test_junk_in_the_middle_is_named_by_line(tmp_path):
    (tmp_path / FILE).write_text('{"event": "note", "at": 1}\nnonsense\n')
    with pytest.raises(PlastsearchError, match=r"trials.jsonl:2: not a journal line"):
        read(tmp_path)


def test_a_folder_without_a_journal_is_no_sweep(tmp_path):
    with pytest.raises(PlastsearchError, match="no sweep here"):
        read(tmp_path)


def test_lines_are_strict_json_and_lost_numbers_are_no_results(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append(PROPOSAL)
        journal.append(Ended(trial=0, attempt=1, state="done", metrics={"dev_eer": float("nan"), "n": 1.0}))
    for line in (tmp_path / FILE).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert trials(read(tmp_path))[0].metrics == {"n": 1.0}


def test_attempts_failures_and_costs_add_up(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append(PROPOSAL.model_copy(update={"of": 7}))
        for attempt, failure in ((1, True), (2, False)):
            journal.append(Started(trial=0, attempt=attempt))
            journal.append(Retried(trial=0, attempt=attempt, reason="r", failure=failure, gpu_seconds=2.0))
        journal.append(Started(trial=0, attempt=3))
        journal.append(Ended(trial=0, attempt=3, state="done", metrics={}, gpu_seconds=5.0, fidelity=1.0))
    record = trials(read(tmp_path))[0]
    assert (record.attempts, record.failures, record.gpu_seconds, record.of) == (3, 1, 9.0, 7)


def test_wall_time_counts_sessions_not_the_pauses_between():
    events = [SessionBegun(at=0.0), Note(at=10.0), SessionBegun(at=100.0), Note(at=105.0)]
    assert seconds_so_far(events) == 15.0
