"""How a session ends: the verdict, the last word in the journal, every listener closed; once, from whichever thread."""

import threading
from collections.abc import Callable, Sequence

from plastsearch.search.folder import Opened
from plastsearch.search.listening import Closing
from plastsearch.search.options import Outcome
from plastsearch.search.phases import Search
from plastsearch.search.run import Sweep


class Ending:
    """Knows all that is needed for it from the start: it may be another thread that has to speak, if ours hangs."""

    def __init__(
        self,
        opened: Opened,
        sweep: Sweep,
        search: Search,
        listeners: Sequence[Closing],
        command: str,
        seconds: Callable[[], float],
    ) -> None:
        self._opened, self._sweep, self._search, self._listeners = opened, sweep, search, listeners
        self._command, self._seconds = command, seconds
        self._spoken = threading.Lock()
        self._verdict: tuple[str, str | None] = ("interrupted", None)

    def last_word(self) -> None:
        """Write down how it ended; who comes second, comes from a thread that was given up, and stays here."""
        self._spoken.acquire()
        self._verdict = status, reason = verdict(self._sweep, self._search)
        seconds = round(self._seconds(), 3)
        finish = self._opened.journal.append("finish", status=status, reason=reason, seconds=seconds)
        for listener in self._listeners:
            listener.feed(finish)

    def outcome(self, trouble: str | None) -> Outcome:
        """Let every listener finish and say how the session ended."""
        status, reason = self._verdict
        notes = [*([trouble] if trouble else []), *leave(self._listeners)]
        return Outcome(self._opened.folder, status, self._command, reason, notes, stuck=trouble is not None)


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


def verdict(sweep: Sweep, search: Search) -> tuple[str, str | None]:
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
