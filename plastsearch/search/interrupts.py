"""Ctrl-C and SIGTERM while a sweep runs: once to part in peace, again to stop now, never in the middle of a record."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from plastsearch.search.run import GRACE_S, Sweep

ECHO_S = 0.05  # `timeout` and some batch systems signal a process and then its whole group: that is one request


class Interrupts:
    """Counts signals, tells the sweep, and raises KeyboardInterrupt only where that is safe."""

    def __init__(self) -> None:
        self.count = 0
        self._last = -ECHO_S
        self._sweep: Sweep | None = None
        self._say: Callable[[str], None] = lambda text: None  # noqa: ARG005
        self._raise_at: int | None = 1  # nothing has begun
        self._kept: dict[signal.Signals, Any] = {}
        self._patience: threading.Timer | None = None

    def serve(self, sweep: Sweep, say: Callable[[str], None], *, patient: bool, grace_s: float = GRACE_S) -> None:
        """From here on the sweep knows what to do; where trials run in this thread only an exception can stop them."""
        self._sweep, self._say, self._raise_at = sweep, say, self.count + (3 if patient else 2)
        if not patient:
            self._patience = threading.Timer(grace_s, _again)
            self._patience.daemon = True

    def hold(self) -> None:
        """What follows is short and must not be broken."""
        self._raise_at = None
        if self._patience is not None:
            self._patience.cancel()

    def release(self) -> None:
        """What follows may be broken off by the next signal."""
        self._raise_at = self.count + 1

    def __enter__(self) -> Self:
        self._kept = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._kept.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        before, self._last = self._last, time.monotonic()
        if self._last - before < ECHO_S:
            return
        self.count += 1
        if self._sweep is not None and self._sweep.interrupt() == 1 and self._raise_at is not None:
            self._say(f"stopping at the next report of what runs, or in {GRACE_S:g} s; once more stops at once")
            if self._patience is not None:
                self._patience.start()
        if self._raise_at is not None and self.count >= self._raise_at:
            raise KeyboardInterrupt


def _again() -> None:
    """Interrupt the main thread once more, also where it waits."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
