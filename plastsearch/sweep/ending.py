"""How a session ends: the verdict, the last word in the journal, every listener closed; once, from whichever thread."""

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Self

from plastsearch.sweep.options import Outcome
from plastsearch.sweep.phases import SearchPhase
from plastsearch.sweep.run import GRACE_S, Sweep
from plastsearch.sweep.state import Closing, SweepState
from plastsearch.tracking.events import Finished, Status, Tally

Handler = Callable[[int, FrameType | None], object] | int | None  # as `signal` gives and takes them
ECHO_S = 0.05  # `timeout` and some batch systems signal a process and then its whole group: that is one request


class Interrupts:
    """Counts signals, tells the sweep, and raises KeyboardInterrupt only where that is safe."""

    def __init__(self) -> None:
        self.count = 0
        self._last_s = -ECHO_S
        self._sweep: Sweep | None = None
        self._say: Callable[[str], None] = lambda text: None  # noqa: ARG005
        self._raise_at: int | None = 1  # the signal that raises; nothing has begun, so the first may
        self._kept: dict[signal.Signals, Handler] = {}
        self._patience: threading.Timer | None = None

    def serve(self, sweep: Sweep, say: Callable[[str], None], *, patient: bool, grace_s: float = GRACE_S) -> None:
        """From here on the sweep knows what to do; `patient`: an executor asks it a few times a second.

        One that is not patient runs trials in this very thread, where only an exception can stop them.
        """
        self._sweep = sweep
        self._say = say
        # The first signal parts in peace, the second stops. A patient executor sees that by itself, so only a third,
        # from somebody for whom it takes too long, breaks it off.
        self._raise_at = self.count + (3 if patient else 2)
        if not patient:
            # Nobody looks at the clock while a trial holds this thread: the grace ends by a signal to ourselves.
            self._patience = threading.Timer(grace_s, _interrupt_main_thread)
            self._patience.daemon = True

    def hold(self) -> None:
        """Raise no more: what follows is short and must be done whole."""
        self._raise_at = None
        if self._patience is not None:
            self._patience.cancel()

    def release(self) -> None:
        """Raise at the next signal: what follows may take long, and may be broken off."""
        self._raise_at = self.count + 1

    def __enter__(self) -> Self:
        # SIGTERM as well as Ctrl-C: it is what batch systems and Kubernetes send before they kill. SIGHUP is a terminal
        # that was closed, unless somebody (nohup) has asked for it to be nothing.
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        self._kept = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._kept.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _leave_terminal()
        before_s = self._last_s
        self._last_s = time.monotonic()
        if self._last_s - before_s < ECHO_S:
            return
        self.count += 1
        if self._sweep is not None and self._sweep.interrupt() == 1 and self._raise_at is not None:
            self._say(f"stopping at the next report of what runs, or in {GRACE_S:g} s; once more stops at once")
            if self._patience is not None:
                self._patience.start()
        if self._raise_at is not None and self.count >= self._raise_at:
            raise KeyboardInterrupt


def _leave_terminal() -> None:
    """What is still to be said goes nowhere: a terminal that is gone answers each word with an error."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        with suppress(OSError):  # closed already
            # Not isatty: once it has hung up, it is a terminal no more, but still a device.
            if stat.S_ISCHR(os.fstat(number).st_mode):
                os.dup2(nowhere, number)
    os.close(nowhere)


def _interrupt_main_thread() -> None:
    """As one more Ctrl-C would, also where the main thread waits in a system call."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class Ending:
    """The end of a session, built before it begins: should the main thread hang in Ray, another one has to write it."""

    def __init__(
        self,
        folder: Path,
        state: SweepState,
        sweep: Sweep,
        search: SearchPhase,
        listeners: Sequence[Closing],
        command: str,
        seconds: Callable[[], float],
        tally: Callable[[], Tally],
    ) -> None:
        self._folder = folder
        self._state = state
        self._sweep = sweep
        self._search = search
        self._listeners = listeners
        self._command = command
        self._seconds = seconds
        self._tally = tally
        self._spoken = threading.Lock()  # taken once and never given back
        self._verdict: tuple[Status, str | None] = ("interrupted", None)

    def last_word(self) -> None:
        """Write down how the session ended, once."""
        # Whoever comes second is the thread that was given up, should Ray let go of it after all: it waits here until
        # the process ends, for a second last word would contradict the first.
        self._spoken.acquire()
        self._verdict = status, reason = verdict(self._sweep, self._search)
        seconds = round(self._seconds(), 3)
        self._state.write(Finished(status=status, reason=reason, seconds=seconds, tally=self._tally()))

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
    # Failures come before an interrupt: to go on with the same space would fail again.
    if sweep.failure:
        return "failures", sweep.failure
    if sweep.no_room:
        return "interrupted", sweep.no_room
    # Not over and nobody interrupted: the executor gave up, because Ray died, say. That can be resumed, too.
    if sweep.interrupted or not sweep.over:
        return "interrupted", None
    too_many = sweep.too_many_failures()
    if too_many:
        return "failures", too_many
    if search.ended_by in {"trials", "space", None}:
        return "done", None
    return "budget", search.ended_by
