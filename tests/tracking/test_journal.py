"""The journal: one writer, mended tails, and events that add up to the state of every trial."""

import errno
import json
import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plastsearch.errors import FolderTakenError, PlastsearchError, StorageError
from plastsearch.tracking.events import Ended, Note, Proposed, Retried, SessionBegun, Started
from plastsearch.tracking.journal import FILE, Journal, lease_s, mend, read, seconds_so_far
from plastsearch.tracking.records import trials

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


def test_a_second_driver_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("POD_NAME", "sweep-head-x7k2p")
    who = rf"process {os.getpid()} on host {socket.gethostname()}, Pod sweep-head-x7k2p, since 20\d\d-\d\d-\d\d .* UTC"
    with Journal(tmp_path), pytest.raises(FolderTakenError, match=rf"another driver \({who}\).*--out$"):
        Journal(tmp_path, pytest.fail)  # seen to live, on this machine: no use in waiting
    Journal(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A driver on another host, with a short lease; `stop` ends its heartbeat."""
    monkeypatch.setenv("PLASTSEARCH_DRIVER_LEASE_S", "1")
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "elsewhere")
        journal = Journal(tmp_path)
    journal.stop = journal._lease._stop.set
    yield journal
    journal.close()


def test_a_driver_of_another_host_that_died_is_taken_over_after_its_lease_never_before(tmp_path, elsewhere):
    elsewhere.append(Note(text="last words"))
    elsewhere.stop()
    began, said = time.monotonic(), []
    with pytest.raises(FolderTakenError, match=r"on host elsewhere.*--resume takes over in 1 s, once it was silent"):
        Journal(tmp_path)
    with Journal(tmp_path, said.append) as heir:
        assert 0.6 < time.monotonic() - began < 2.5  # its last beat may be a quarter of a second old
        heir.append(Note(text="an heir's"))
    assert len(said) == 1
    assert re.match(
        r".* is held by another driver \(process \d+ on host elsewhere, since .*waiting for it to end", said[0]
    )
    assert [event.text for event in read(tmp_path)] == ["last words", "an heir's"]


def test_a_driver_of_another_host_that_lives_is_waited_for_twice_its_lease(tmp_path, elsewhere):
    began = time.monotonic()
    with pytest.raises(FolderTakenError, match="on host elsewhere"):
        Journal(tmp_path, [].append)
    assert 1.9 < time.monotonic() - began < 4
    elsewhere.append(Note(text="undisturbed"))


def test_a_driver_that_is_being_ended_is_waited_for(tmp_path, elsewhere):
    """A Pod beats on through its grace while its successor starts."""
    threading.Timer(0.7, elsewhere.close).start()
    began = time.monotonic()
    with Journal(tmp_path, [].append):
        assert 0.6 < time.monotonic() - began < 1.5


def test_a_driver_that_was_taken_over_writes_no_more(tmp_path, elsewhere):
    elsewhere.append(Note(text="before"))
    elsewhere.stop()
    with Journal(tmp_path, [].append) as heir:
        with pytest.raises(FolderTakenError, match=r"not heard of for 1 s and its sweep was taken over by process"):
            elsewhere.append(Note(text="after"))
        with pytest.raises(FolderTakenError):
            elsewhere.tick()
        heir.append(Note(text="the heir's"))
    assert [event.text for event in read(tmp_path)] == ["before", "the heir's"]


def test_what_a_driver_writes_that_was_paused_in_the_middle_of_it_reaches_no_journal(tmp_path, elsewhere, monkeypatch):
    elsewhere.append(Note(text="before"))
    elsewhere.stop()
    monkeypatch.setattr(elsewhere, "_check", lambda **_: None)  # it has looked, and is paused before it writes
    with Journal(tmp_path, [].append) as heir:
        heir.append(Note(text="the heir's"))
        elsewhere.append(Note(text="stale"))
        assert [event.text for event in read(tmp_path)] == ["before", "the heir's"]


def test_a_process_that_was_stopped_and_wakes_up_ends(tmp_path, monkeypatch):
    """The real thing: its threads beat again at once, and must not bring it to life."""
    monkeypatch.setenv("PLASTSEARCH_DRIVER_LEASE_S", "1")
    context = multiprocessing.get_context("fork")
    writes, ended = context.Event(), context.Event()
    process = context.Process(target=_write_until_taken_over, args=(tmp_path, writes, ended), daemon=True)
    process.start()
    assert writes.wait(10)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.5)
    with Journal(tmp_path) as heir:
        kept = len(read(tmp_path))
        os.kill(process.pid, signal.SIGCONT)
        assert ended.wait(10)
        heir.append(Note(text="the heir's"))
    process.join(10)
    assert process.exitcode == 75
    assert [event.text for event in read(tmp_path)][kept:] == ["the heir's"]


def _write_until_taken_over(folder: Path, writes: multiprocessing.Event, ended: multiprocessing.Event) -> None:
    with Journal(folder) as journal:
        try:
            while True:
                journal.append(Note(text="more"))
                writes.set()
                time.sleep(0.001)
        except FolderTakenError as error:
            ended.set()
            sys.exit(error.exit_code)


def test_a_file_server_that_does_not_answer_is_named(tmp_path, monkeypatch):
    def gone(*_):
        raise OSError(errno.EIO, "Input/output error")

    with Journal(tmp_path) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", gone)
            with pytest.raises(StorageError, match=r"trials.jsonl: cannot be written \(Input/output error\).*--resume"):
                journal.append(Ended(trial=0, attempt=1, state="done", metrics={}))
        with monkeypatch.context() as patch:
            patch.setattr(os, "utime", gone)
            with pytest.raises(StorageError, match="cannot be written"):
                journal.append(Ended(trial=0, attempt=1, state="done", metrics={}))


@pytest.mark.parametrize("text", ["soon", "0", "inf"])
def test_a_lease_of_no_time_is_refused(text):
    with pytest.raises(PlastsearchError, match=f"PLASTSEARCH_DRIVER_LEASE_S={text}: give a number of seconds above 0"):
        lease_s({"PLASTSEARCH_DRIVER_LEASE_S": text})
    assert lease_s({}) == 60


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
    with pytest.raises(PlastsearchError, match=r"trials.jsonl:2: a damaged line"):
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


def test_a_full_disk_is_told_in_a_sentence_also_when_the_journal_is_closed(tmp_path):
    journal = Journal(tmp_path)
    journal._file.close()
    journal._file = Path("/dev/full").open("ab")  # noqa: SIM115 - the journal closes it
    with pytest.raises(StorageError, match="No space left"):
        journal.append(Note(text="a word"))
    journal.close()  # flushes, and fails once more
    assert journal._file.closed


def test_a_file_that_was_replaced_on_the_server_means_a_successor(tmp_path, monkeypatch):
    def stale(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    with Journal(tmp_path) as journal:
        monkeypatch.setattr(journal._lease, "ours", stale)
        with pytest.raises(FolderTakenError, match="was taken over"):
            journal.append(Note(text="a word"))


@pytest.mark.parametrize(("code", "permanent"), [(errno.EIO, False), (errno.ENOSPC, False), (errno.EROFS, True)])
def test_only_a_folder_that_will_never_do_is_refused_for_good(tmp_path, monkeypatch, code, permanent):
    def fail(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("plastsearch.tracking.journal.Lease.acquire", fail)
    with pytest.raises(PlastsearchError) as found:
        Journal(tmp_path)
    assert found.value.permanent == permanent
