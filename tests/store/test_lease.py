"""One holder at a time, whatever the file server answers: lost replies, no hard links, hearts that stop."""

import errno
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plastsearch.store.lease import Lease

LINK = os.link


def answer_lost(error: OSError) -> Callable[..., None]:
    """`link` as a client sees it whose first request was carried out, but whose answer was lost on the way."""

    def link(*args: Any) -> None:
        LINK(*args)
        raise error

    return link


def no_links(number: int) -> Callable[..., None]:
    def link(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return link


@pytest.mark.parametrize("error", [FileExistsError(errno.EEXIST, "File exists"), OSError(errno.EIO, "I/O error")])
def test_a_lease_whose_answer_was_lost_is_recognised_as_ones_own(error, tmp_path, monkeypatch) -> None:
    lease = Lease(tmp_path / "lease")
    monkeypatch.setattr(os, "link", answer_lost(error))
    assert lease.acquire()
    monkeypatch.undo()
    other = Lease(tmp_path / "lease")
    assert not other.acquire()
    lease.release()
    assert other.acquire()
    other.release()
    assert list(tmp_path.iterdir()) == []


NO_LINKS = [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK]


@pytest.mark.parametrize("number", NO_LINKS, ids=[errno.errorcode[number] for number in NO_LINKS])
def test_a_file_system_without_hard_links_has_leases_too(number, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "link", no_links(number))
    first, second = Lease(tmp_path / "lease"), Lease(tmp_path / "lease")
    assert first.acquire()
    assert not second.acquire()
    assert second.held()
    first.release()
    assert second.acquire()
    second.release()
    assert list(tmp_path.iterdir()) == []


def _count(folder: Path, links: bool, start: Any) -> None:
    if not links:
        os.link = no_links(errno.EPERM)
    start.wait()
    for _ in range(25):
        lease = Lease(folder / "lease")
        while not lease.acquire():
            time.sleep(0.01)
        before = int((folder / "count").read_text())
        time.sleep(0.0005)
        (folder / "count").write_text(str(before + 1))
        lease.release()


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "none"])
def test_processes_never_hold_it_at_once(links, tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Event()
    (tmp_path / "count").write_text("0")
    processes = [context.Process(target=_count, args=(tmp_path, links, start)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert (tmp_path / "count").read_text() == "100"


def _die_holding(path: Path) -> None:
    os.link = no_links(errno.EPERM)
    assert Lease(path).acquire()
    os._exit(9)


def test_a_dead_holder_frees_it_without_hard_links_too(tmp_path, monkeypatch) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_holding, args=(tmp_path / "lease",))
    process.start()
    process.join(30)
    monkeypatch.setattr(os, "link", no_links(errno.EPERM))
    heir = Lease(tmp_path / "lease")
    assert (tmp_path / "lease").exists()
    assert heir.acquire()
    heir.release()
    assert list(tmp_path.iterdir()) == []


def _silence(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_lease_that_nobody_keeps_alive_ends_even_if_its_process_lives_on(tmp_path) -> None:
    """A reused worker may have lost the object that held it, and its process will never end for that."""
    lost = Lease(tmp_path / "lease", hold_s=1000)
    assert lost.acquire()
    heir = Lease(tmp_path / "lease", hold_s=1000)
    assert not heir.acquire()
    _silence(tmp_path / "lease", 2000)
    assert heir.acquire()
    lost.release()  # it is not theirs any more
    assert heir.held()
    heir.release()


def test_an_empty_file_left_by_a_crash_ends_with_its_age(tmp_path) -> None:
    (tmp_path / "lease").touch()
    heir = Lease(tmp_path / "lease", hold_s=60)
    assert not heir.acquire()
    _silence(tmp_path / "lease", 120)
    assert heir.acquire()
    heir.release()


def test_a_beat_that_fails_is_not_the_last(tmp_path, monkeypatch) -> None:
    utime, beats = os.utime, []

    def failing(*args: Any, **kwargs: Any) -> None:
        beats.append(args)
        if len(beats) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        utime(*args, **kwargs)

    lease = Lease(tmp_path / "lease", hold_s=0.1)
    assert lease.acquire()
    monkeypatch.setattr(os, "utime", failing)
    until = time.monotonic() + 60
    while len(beats) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    monkeypatch.undo()
    lease.release()
    assert len(beats) >= 3


def test_what_cannot_be_opened_after_it_was_linked_is_not_left_behind(tmp_path, monkeypatch) -> None:
    def refused(*_: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    lease = Lease(tmp_path / "lease")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        with pytest.raises(OSError, match="Too many open files"):
            lease.acquire()
    other = Lease(tmp_path / "lease")
    assert other.acquire()
    other.release()


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "none"])
def test_an_heir_that_comes_too_late_puts_the_new_lease_back(links, tmp_path, monkeypatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links(errno.EPERM))
    path = tmp_path / "lease"
    path.write_text(json.dumps({"token": "t", "host": "elsewhere", "boot": "b", "pid": 1, "started": "1"}))
    _silence(path, 1000)
    late, quick = Lease(path), Lease(path)
    dead = Lease._dead

    def overtaken(lease: Lease, holder: dict[str, Any], *moved: Path) -> bool:
        gone = dead(lease, holder, *moved)
        if lease is late and not moved:
            assert quick.acquire()
        return gone

    monkeypatch.setattr(Lease, "_dead", overtaken)
    assert not late.acquire()
    monkeypatch.undo()
    assert quick.held()
    quick.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "none"])
def test_a_holder_who_beats_at_the_last_moment_keeps_it(links, tmp_path, monkeypatch) -> None:
    """One that was only paused may be back between an heir's look and his taking it away."""
    if not links:
        monkeypatch.setattr(os, "link", no_links(errno.EPERM))
    paused, heir = Lease(tmp_path / "lease", hold_s=1000), Lease(tmp_path / "lease", hold_s=1000)
    assert paused.acquire()
    _silence(tmp_path / "lease", 2000)
    take_away = Lease._take_away

    def after_a_beat(lease: Lease, holder: Any) -> bool:
        os.utime(tmp_path / "lease")
        return take_away(lease, holder)

    monkeypatch.setattr(Lease, "_take_away", after_a_beat)
    assert not heir.acquire()
    assert paused.ours(look=True)
    paused.release()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_knows_whether_it_is_still_his(tmp_path, monkeypatch) -> None:
    lease, heir = Lease(tmp_path / "lease", hold_s=1000), Lease(tmp_path / "lease", hold_s=1000)
    assert not lease.ours()
    assert lease.acquire()
    assert lease.ours()
    _silence(tmp_path / "lease", 2000)
    assert heir.acquire()
    assert (heir.taken_from.pid, heir.ours(), lease.ours()) == (os.getpid(), True, True)  # nobody has looked yet
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr("plastsearch.store.lease._now_here", lambda: now + 501)  # half the time without a beat
    assert not lease.ours()
    assert heir.ours()  # who looks beats again
    monkeypatch.undo()
    assert not lease.ours()
    lease.release()
    assert heir.ours(look=True)
    heir.release()
    assert not heir.ours()


@pytest.mark.parametrize("skew_s", [-300.0, 300.0])
def test_clocks_that_differ_by_minutes_neither_end_a_lease_nor_prolong_it(skew_s, tmp_path, monkeypatch) -> None:
    ours = time.time
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    lease, heir = Lease(tmp_path / "lease", hold_s=2.0), Lease(tmp_path / "lease", hold_s=2.0)
    assert lease.acquire()
    monkeypatch.undo()
    monkeypatch.setattr(time, "time", lambda: ours() + skew_s)
    assert not heir.acquire()
    lease._stop.set()  # its last beat
    began = time.monotonic()
    while not heir.acquire():
        time.sleep(0.05)
    assert 1.4 < time.monotonic() - began < 3.0  # a beat may have been up to half a second ago
    heir.release()
    lease.release()


def test_who_may_only_read_learns_that_a_holder_lives_and_that_a_dead_one_does_not(tmp_path, monkeypatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = tmp_path / "lease"
    path.write_text(json.dumps({"token": "t", "host": "elsewhere", "boot": "b", "pid": 1, "started": "1"}))
    monkeypatch.setattr(Path, "touch", refused)
    assert Lease(path).held()
    _silence(path, 600)  # with a clock that is ten minutes slow it would be heard of a moment ago
    assert Lease(path).held()
    _silence(path, 700)
    assert not Lease(path).held()


def test_a_name_that_was_free_for_a_moment_is_not_taken_from_its_new_holder(tmp_path, monkeypatch) -> None:
    path = tmp_path / "lease"
    late, quick = Lease(path), Lease(path)
    holder = Lease.holder

    def between(lease: Lease) -> Any:
        monkeypatch.undo()
        first.release()
        found = holder(lease)
        assert quick.acquire()
        return found

    first = Lease(path)
    assert first.acquire()
    monkeypatch.setattr(Lease, "holder", between)
    assert not late.acquire()
    assert quick.held()
    quick.release()


def test_a_file_that_another_node_took_away_while_it_was_read_is_held_by_nobody(tmp_path, monkeypatch) -> None:
    def stale(_: Path, **_kind: str) -> str:
        raise OSError(errno.ESTALE, "Stale file handle")

    lease = Lease(tmp_path / "lease")
    assert lease.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", stale)
        assert not Lease(tmp_path / "lease").held()
    lease.release()
