"""Ctrl-C and SIGTERM while a sweep runs: once to part in peace, again to stop now, never in the middle of a record."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from plastsearch.search.run import Sweep

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

    def serve(self, sweep: Sweep, say: Callable[[str], None], *, patient: bool) -> None:
        """From here on the sweep knows what to do; without a second thread it can be stopped only by an exception."""
        self._sweep, self._say, self._raise_at = sweep, say, self.count + (3 if patient else 2)

    def hold(self) -> None:
        """What follows is short and must not be broken."""
        self._raise_at = None

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
            self._say("stopping at the next report of what runs; once more stops at once")
        if self._raise_at is not None and self.count >= self._raise_at:
            raise KeyboardInterrupt
