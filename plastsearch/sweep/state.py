"""The state of a sweep, which has one owner: an event is written down, then applied to the records, then told."""

import errno
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeVar, runtime_checkable

from plastsearch.sweep.budget import Counted
from plastsearch.tracking.events import Event
from plastsearch.tracking.journal import Journal
from plastsearch.tracking.records import TrialRecord, apply, trials

E = TypeVar("E", bound=Event)


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
    """The journal, the records it adds up to, and the listeners. Whoever else has the records can only read them."""

    def __init__(self, journal: Journal, events: Sequence[Event], listeners: Sequence[Listener] = ()) -> None:
        self._journal = journal
        self._records = trials(events)
        self.tally = Counted.of(self._records.values())
        self.listeners = list(listeners)

    @property
    def records(self) -> Mapping[int, TrialRecord]:
        """All trials by number, always as the last event left them."""
        return MappingProxyType(self._records)

    def write(self, event: E) -> E:
        """Write an event down, apply it, tell everybody."""
        # In this order: what a display shows or a decision rests on survives a kill, and a resume comes to the same.
        written = self._journal.append(event)
        self.tally.note(apply(self._records, written), written)
        self.tell(written)
        return written

    def tell(self, event: Event) -> None:
        """What every listener should know, though it is not to be written down, or is already."""
        for listener in self.listeners:
            try:
                listener.feed(event)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                # The terminal hung up in the middle of a word: SIGHUP, which ends the sweep in order, says so next.

    def tick(self) -> None:
        """Tell the journal and the listeners that some time has passed."""
        self._journal.tick()
        for listener in self.listeners:
            if isinstance(listener, Ticking):
                listener.tick()
