"""A program that outlives its driver by a second: ends what a killed driver's Ray would leave running, for minutes.

    python -I -S warden.py FOLDER SESSION…

It waits for its standard input to end, which it does with the driver, however that went. Ray's own daemons die with the
driver, too; workers and agents, which those have started, notice late. All of them are in the sessions (in the
system's sense) of the daemons. FOLDER is Ray's, for its sockets, and goes as well.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PATIENCE_S = 2.0  # between the request to end and the end
_LOOK_S = 0.1


@contextmanager
def warden(folder: Path, sessions: Collection[int]) -> Iterator[None]:
    """Such a program, as long as the block lasts; where the system does not tell of its processes there is none."""
    if not Path("/proc/self/stat").exists():
        yield
        return
    words = [sys.executable, "-I", "-S", __file__, str(folder), *map(str, sessions)]
    nowhere = subprocess.DEVNULL
    # In a session of its own: whoever ends the driver's whole group shall not end this one first.
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True
    ) as child:
        yield
        assert child.stdin is not None
        child.stdin.close()


def members(sessions: Collection[int]) -> list[int]:
    """The processes of these sessions that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # the name of the program, in brackets, may hold blanks and brackets itself: count from its end
            fields = (entry / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if fields[0] != "Z" and int(fields[3]) in sessions:
            found.append(int(entry.name))
    return found


def end(sessions: Collection[int]) -> None:
    """Ask all of them to end, and end those that do not."""
    until = time.monotonic() + _PATIENCE_S
    how = signal.SIGTERM
    while left := members(sessions):
        for process in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, how)
        time.sleep(_LOOK_S)
        if time.monotonic() > until + 10 * _PATIENCE_S:
            return  # the system itself holds them, a file server that does not answer, say
        if time.monotonic() > until:
            how = signal.SIGKILL


def main() -> None:
    """Wait for the driver, then clear up."""
    folder, *sessions = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end({int(one) for one in sessions})
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
