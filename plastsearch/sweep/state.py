"""The state of a sweep and who hears of its events: an event is written down before anybody is told."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from plastsearch.tracking.journal import Event, Journal, TrialRecord, fold


class Listener(Protocol):
    """A display or a tracker: told of every event after it is written down."""

    def feed(self, event: Event) -> None:
        """Take in one event; must not raise."""


@runtime_checkable
class Ticking(Protocol):
    """A listener that also wants to know when nothing happens."""

    def tick(self) -> None:
        """Called a few times a second; must not raise."""


class Closing(Listener, Protocol):
    """A listener that has something to finish."""

    def close(self) -> str | None:
        """A message if anything is missing."""


class SweepState:
    """The journal, the records it adds up to, and those who listen."""

    def __init__(self, journal: Journal, records: dict[int, TrialRecord], listeners: Sequence[Listener] = ()) -> None:
        self.records = records
        self._journal, self._listeners = journal, listeners

    def write(self, event: str, /, **content: Any) -> Event:
        """Append an event, apply it to the records, tell everybody."""
        written = self._journal.append(event, **content)
        fold(self.records, written)
        for listener in self._listeners:
            listener.feed(written)
        return written

    def tick(self) -> None:
        """Let those know who look at the clock."""
        self._journal.tick()
        for listener in self._listeners:
            if isinstance(listener, Ticking):
                listener.tick()
