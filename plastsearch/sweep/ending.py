"""How a session ends: the verdict, the last word in the journal, every listener closed; once, from whichever thread."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

from plastsearch.sweep.options import Outcome
from plastsearch.sweep.phases import SearchPhase
from plastsearch.sweep.run import GRACE_S, Sweep
from plastsearch.sweep.state import Closing, SweepState
from plastsearch.tracking.events import Finished, Status

Handler = Callable[[int, FrameType | None], object] | int | None  # as `signal` gives and takes them
ECHO_S = 0.05  # `timeout` and some batch systems signal a process and then its whole group: that is one request


class Interrupts:
    """Counts signals, tells the sweep, and raises KeyboardInterrupt only where that is safe."""

    def __init__(self) -> None:
        self.count = 0
        self._last = -ECHO_S
        self._sweep: Sweep | None = None
        self._say: Callable[[str], None] = lambda text: None  # noqa: ARG005
        self._raise_at: int | None = 1  # nothing has begun
        self._kept: dict[signal.Signals, Handler] = {}
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


class Ending:
    """Knows all that is needed for it from the start: it may be another thread that has to speak, if ours hangs."""

    def __init__(
        self,
        folder: Path,
        state: SweepState,
        sweep: Sweep,
        search: SearchPhase,
        listeners: Sequence[Closing],
        command: str,
        seconds: Callable[[], float],
    ) -> None:
        self._folder, self._state = folder, state
        self._sweep, self._search, self._listeners = sweep, search, listeners
        self._command, self._seconds = command, seconds
        self._spoken = threading.Lock()
        self._verdict: tuple[Status, str | None] = ("interrupted", None)

    def last_word(self) -> None:
        """Write down how it ended; who comes second, comes from a thread that was given up, and stays here."""
        self._spoken.acquire()
        self._verdict = status, reason = verdict(self._sweep, self._search)
        seconds = round(self._seconds(), 3)
        self._state.write(Finished(status=status, reason=reason, seconds=seconds))

    def outcome(self, trouble: str | None) -> Outcome:
        """Let every listener finish and say how the session ended."""
        status, reason = self._verdict
        notes = [*([trouble] if trouble else []), *leave(self._listeners)]
        return Outcome(self._folder, status, self._command, reason, notes, stuck=trouble is not None)


def leave(listeners: Sequence[Closing]) -> list[str]:
    """Close every listener; a further interrupt means not to wait for the rest."""
    notes = []
    try:
        for listener in listeners:
            note = listener.close()
            if note:
                notes.append(note)
    except KeyboardInterrupt:
        notes.append("interrupted before every record was mirrored; the journal has all of it")
    return notes


def verdict(sweep: Sweep, search: SearchPhase) -> tuple[Status, str | None]:
    """done, budget, failures or interrupted, and why."""
    if sweep.failure:
        return "failures", sweep.failure
    if sweep.interrupted or not sweep.over:
        return "interrupted", None
    too_many = sweep.too_many_failures()
    if too_many:
        return "failures", too_many
    if search.ended_by in {"trials", "space", None}:
        return "done", None
    return "budget", search.ended_by
