"""One writer at a time across processes: a lock file that says who holds it."""

import contextlib
import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from plastsearch.errors import DataError

log = logging.getLogger(__name__)
PATIENCE_S = 2.0  # silent waiting before `on_wait` hears of it


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
        started, told = time.monotonic(), False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if not isinstance(error, BlockingIOError):
                    raise DataError(
                        f"{path}: files cannot be locked here ({error.strerror}); name a folder on a local or NFS disk"
                    ) from None
                if not told and time.monotonic() - started > PATIENCE_S:
                    file.seek(0)
                    on_wait(f"waiting for {file.read().strip() or 'another process'} ({path})")
                    told = True
                if while_waiting is not None:
                    while_waiting()
                time.sleep(0.05)
        try:
            # the kernel drops the lock with the process, so a killed holder blocks nobody and its text is overwritten
            file.seek(0)
            file.truncate()
            file.write(f"{purpose}: process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}\n")
            file.flush()
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
