"""A lock is one process's alone, may be shared by readers, and ends with the process that holds it."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from plastsearch.errors import DataError
from plastsearch.lock import hold, try_lock, try_share

HOLD = """
import sys, time
from pathlib import Path
from plastsearch.lock import hold
with hold(Path(sys.argv[1]), "its work"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free_and_its_name_overwritten(tmp_path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with hold(tmp_path / "lock", "mine"):
        assert (tmp_path / "lock").read_text().startswith(f"mine: process {os.getpid()} on ")


def test_readers_share_and_shut_a_writer_out(tmp_path) -> None:
    (tmp_path / "values").touch()
    with (tmp_path / "values").open() as one, (tmp_path / "values").open() as two, (tmp_path / "values").open() as new:
        assert try_share(one.fileno())
        assert try_share(two.fileno())
        assert not try_lock(new.fileno())
        one.close()
        assert try_lock(two.fileno())
        assert not try_share(new.fileno())


def test_who_waits_may_give_up(tmp_path) -> None:
    def enough() -> None:
        raise InterruptedError

    with hold(tmp_path / "lock", "mine"), pytest.raises(InterruptedError), hold(tmp_path / "lock", "too", None, enough):
        pass


def test_where_files_cannot_be_locked_it_is_said(tmp_path, monkeypatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(DataError, match=r"cannot be locked here \(No locks available\)"), hold(tmp_path / "lock", "x"):
        pass
