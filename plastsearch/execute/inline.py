"""Runs every attempt in this process, one after another: for tests, for debugging, and where Ray is not wanted."""

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType

from plastsearch.errors import TrialError
from plastsearch.execute import worker
from plastsearch.execute.executor import Attempt, Driver, Meters
from plastsearch.execute.messages import Message, Progress


class InlineExecutor:
    """One slot: the calling thread."""

    slots = 1
    meters: Meters | None = None

    def __init__(self, timeout_s: float | None = None, cpus: float = 1.0, gpus: float | None = None) -> None:
        self._timeout_s = timeout_s
        self.cpus = cpus
        self.gpus = gpus or 0.0
        if gpus is None:
            self.device = "auto"
        else:
            self.device = "cuda" if gpus else "cpu"
        self.trouble: str | None = None

    def run(self, driver: Driver, abandon: Callable[[str], None] | None = None) -> None:  # noqa: ARG002 - nothing hangs
        """Serve the driver until it is over or stopping."""
        while not driver.stopping and self.trouble is None:
            attempt = driver.next()
            if attempt is None:
                break  # nothing runs beside us, so nothing can come later
            driver.started(attempt)
            self._follow(driver, attempt)
            driver.tick()

    def close(self) -> None:
        """Nothing: no process and no file was opened."""

    def _follow(self, driver: Driver, attempt: Attempt) -> None:
        limit = self._timeout_s
        began = time.monotonic()

        def left() -> float:
            return (limit or 0.0) - worker.own_s(attempt.task, time.monotonic() - began)

        stream = worker.messages(attempt.task)
        try:
            while (message := _next(stream, None if limit is None else left)) is not None:
                if not isinstance(message, Progress) and message.gpu_lost:
                    # There is no other process to go on in: every later trial would fail at its first CUDA call.
                    self.trouble = worker.GPU_LOST
                if not driver.heard(attempt, message):
                    return
        except _OverdueError:
            driver.lost(attempt, f"no end after {limit:g} s (the limit for one trial)")
        finally:
            stream.close()  # releases the trial's leases and locks, also where it is halted half-way


def _next(stream: Generator[Message], left: Callable[[], float] | None) -> Message | None:
    # The alarm covers the trial's own time only: the driver's records are never interrupted half-way.
    with _alarm(left):
        return next(stream, None)


class _OverdueError(BaseException):
    """The time is up. No Exception, so that no handler in a trial takes it for a failure of its own."""


@contextmanager
def _alarm(left: Callable[[], float] | None) -> Iterator[None]:
    """Interrupt the block when no time is left; a process can do so only from its main thread."""
    if left is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise TrialError("a time limit per trial needs the main thread; leave it out or use --executor tune")

    def ring(_number: int, _frame: FrameType | None) -> None:
        more = left()
        if more <= 0:
            raise _OverdueError
        signal.setitimer(signal.ITIMER_REAL, max(1e-3, more))  # it waited meanwhile, which does not count

    # At least a millisecond, for a timer set to zero never rings.
    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(1e-3, left()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
