"""The one way to lock a file: the kernel's lock, by filelock; it is dropped with the process, however that ends.

filelock's lock on an open file, not its FileLock: what the holder says of itself stands in the locked file, and where
files cannot be locked FileLock would go on with a file that a killed holder leaves behind. What a lock of the kernel
cannot do, and so is done otherwise: store/lease.py.
"""

import contextlib
import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from plastsearch.errors import DataError

log = logging.getLogger(__name__)
PATIENCE_S = 2.0  # silent waiting before `on_wait` hears of it
ASK_S = 0.05


def try_lock(file: int) -> bool:
    """Take the lock of an open file for this process alone; False if anybody else has it. OSError: none can be had."""
    return filelock.lock_descriptor(file, blocking=False)


def take(file: int, path: Path) -> bool:
    """As `try_lock`, for those who cannot go on where no lock can be had; `path` is for the message."""
    try:
        return try_lock(file)
    except OSError as error:
        raise DataError(
            f"{path}: files cannot be locked here ({error.strerror}); name a folder on a local or NFS disk"
        ) from None


def try_share(file: int) -> bool:
    """Take it beside others who share it; False if somebody has it alone. A lock held alone becomes a shared one."""
    # by hand: filelock's locks are exclusive (its shared ones rest on SQLite, and not on the file that is read)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def hold(
    path: Path,
    purpose: str,
    on_wait: Callable[[str], None] | None = None,
    while_waiting: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Hold the lock file; whoever waits is told, once, what the holder wrote into it, and may raise to give up."""
    on_wait = on_wait or log.info
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a+")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}; name a folder you may write to") from None
    with opened as file:
        started = time.monotonic()
        told = False
        while not take(file.fileno(), path):
            if not told and time.monotonic() - started > PATIENCE_S:
                file.seek(0)
                on_wait(f"waiting for {file.read().strip() or 'another process'} ({path})")
                told = True
            if while_waiting is not None:
                while_waiting()
            time.sleep(ASK_S)
        try:
            # never deleted: who waits has this very file open, and would wait for a lock that nobody else sees;
            # the text of a killed holder is overwritten
            file.seek(0)
            file.truncate()
            file.write(f"{purpose}: process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}\n")
            file.flush()
            yield
        finally:
            filelock.unlock_descriptor(file.fileno())
