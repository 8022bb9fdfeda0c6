"""Nothing of a session outlives the driver that is killed, and nobody else's process is touched."""

import signal
import subprocess
import sys
import time

import pytest

from plastsearch.execute.warden import members, warden

# A daemon in a session of its own whose child will not hear of ending.
DAEMON = "trap '' TERM; sleep 300 & wait"
DRIVER = """
import subprocess, sys, time
from pathlib import Path
from plastsearch.execute.warden import warden
daemon = subprocess.Popen(["bash", "-c", sys.argv[2]], start_new_session=True)
with warden(Path(sys.argv[1]), [daemon.pid]):
    print(daemon.pid, flush=True)
    time.sleep(300)
"""


def gone(session, limit_s=20.0):
    until = time.monotonic() + limit_s
    while members([session]) and time.monotonic() < until:
        time.sleep(0.05)
    return not members([session])


def test_what_a_killed_driver_leaves_is_ended(tmp_path):
    sockets = tmp_path / "ray"
    sockets.mkdir()
    other = subprocess.Popen(["sleep", "300"], start_new_session=True)
    words = [sys.executable, "-c", DRIVER, str(sockets), DAEMON]
    driver = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    session = int(driver.stdout.readline())
    assert members([session])
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    assert gone(session)
    assert members([other.pid]) == [other.pid]
    other.kill()
    other.wait()
    until = time.monotonic() + 10
    while sockets.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not sockets.exists()


@pytest.mark.parametrize("error", [None, KeyError])
def test_a_driver_that_ends_by_itself_is_not_kept_waiting(tmp_path, error):
    began = time.monotonic()
    try:
        with warden(tmp_path / "ray", [2**22 + 1]):
            if error is not None:
                raise error
    except KeyError:
        assert error is KeyError
    assert time.monotonic() - began < 10
