"""Follows a growing journal from a background thread, so that whatever mirrors it can fail without harm.

The journal's file is read, not the events that are fed: following a sweep, catching up after an outage and rebuilding
what was lost are then one and the same thing.
"""

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from plastsearch.addresses import without_secrets
from plastsearch.tracking.events import Ended, Event, Finished, Opened, SessionBegun, Started, parse
from plastsearch.tracking.journal import FILE
from plastsearch.tracking.records import TrialRecord, apply
from plastsearch.words import typed_again

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 15.0, 300.0


@dataclass
class Followed:
    """What the journal says up to `offset`."""

    records: dict[int, TrialRecord] = field(default_factory=dict)
    opening: Opened | None = None
    closing: Finished | None = None  # of the latest session, once it has finished
    at: float = 0.0
    offset: int = 0
    changed: set[int] = field(default_factory=set)  # trials started or ended since a mirror last took them in
    news: bool = False  # the sweep itself started again or finished
    sessions: list[SessionBegun] = field(default_factory=list)

    def mirrored(self, number: int) -> None:
        """Its mirror is up to date; of what has ended, only that it has is kept: the journal has the rest."""
        # Else every trial's configuration and reports would be in memory twice, here and with the driver.
        record = self.records[number]
        self.changed.discard(number)
        if record.ended:
            kept = TrialRecord(number, record.id, record.role, record.control, {}, {})
            kept.state, kept.ended_at = record.state, record.ended_at
            self.records[number] = kept


class Follower(ABC):
    """`feed` only wakes the thread; `update` does the work there, and may raise."""

    def __init__(
        self, folder: Path, name: str, on_trouble: Callable[[str], None] | None = None, *, patience_s: float = 0.0
    ) -> None:
        self.folder = Path(folder)
        self.followed = Followed()
        self.failures = 0
        self.trouble: str | None = None
        self._name = name
        self._on_trouble = on_trouble
        self._pause_s = _FIRST_PAUSE_S
        self._not_before = 0.0
        self._fed = self._mirrored = 0  # events
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True: there is news; False: the last pass
        self._patience_s = patience_s  # so long nothing is done, if no trial ends
        self._first_end = threading.Event()
        # A daemon: a server that accepts connections and never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()

    @abstractmethod
    def update(self, opening: Opened, last: bool) -> None:
        """Bring the mirror level with the journal that `opening` begins; `last` leaves nothing half done."""

    @abstractmethod
    def disconnect(self) -> None:
        """After a failure: find everything anew next time."""

    def feed(self, event: Event) -> None:
        """Take notice that the journal has grown: what it says is read there."""
        self._fed += 1
        self._wake.put(True)
        if isinstance(event, Ended):
            self._first_end.set()

    def close(self, timeout_s: float = 60.0) -> str | None:
        """Mirror what is left and stop; says what is missing if that failed or took longer."""
        self._wake.put(False)
        self._first_end.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.trouble = f"{self._name} was still busy after {timeout_s:.0f} s"
        if self.trouble is None:
            return None
        return f"{self.trouble}; nothing is lost: `{self.remedy()}` brings it up to date from the journal"

    @property
    def lag(self) -> int:
        """Events that were fed and are not mirrored yet."""
        return self._fed - self._mirrored

    def reason(self, error: Exception) -> str:
        """What went wrong, in a line that may be printed."""
        return in_a_line(error)

    def remedy(self) -> str:
        """What to type to catch up."""
        return typed_again(["plastsearch", "sync", str(self.folder)])

    def _work(self) -> None:
        self._first_end.wait(self._patience_s)
        going = True
        while going:
            going = self._wake.get()
            while going and not self._wake.empty():  # one pass serves all that came meanwhile
                going = self._wake.get()
            # While it rests after a failure nothing is tried, except at the end: that is the last chance.
            if not going or time.monotonic() >= self._not_before:
                self._pass(last=not going)

    def _pass(self, last: bool) -> None:
        fed = self._fed  # the journal has these by now, and perhaps more
        try:
            self._read()
            if self.followed.opening is not None:
                self.update(self.followed.opening, last)
            self.trouble = None
            self._pause_s = _FIRST_PAUSE_S
            self._mirrored = fed
        except Exception as error:  # noqa: BLE001 - a mirror that breaks in any way must not end the sweep
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        # Said once, however long the outage: the display belongs to the sweep, and `close` says what is missing.
        self.trouble = f"{self._name} cannot be written ({self.reason(error)})"
        if self.failures == 1 and self._on_trouble is not None:
            self._on_trouble(f"{self.trouble}; the sweep goes on and its journal keeps everything")
        self.disconnect()
        self.followed = Followed()  # read again from the start: what was mirrored last may be lost
        self._not_before = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _read(self) -> None:
        """Apply the journal's new whole lines."""
        followed = self.followed
        path = self.folder / FILE
        if not path.is_file():
            return
        with path.open("rb") as file:
            file.seek(followed.offset)
            block = file.read()
        whole = block.rfind(b"\n") + 1  # the driver may be in the middle of a line
        followed.offset += whole
        for line in block[:whole].splitlines():
            if line.strip(b"\0 \r"):
                self._take(parse(line))

    def _take(self, event: Event) -> None:
        followed = self.followed
        followed.at = event.at
        if isinstance(event, Opened):
            followed.opening = event
        if isinstance(event, SessionBegun | Finished):
            followed.closing = event if isinstance(event, Finished) else None
            followed.news = True
        if isinstance(event, SessionBegun):
            followed.sessions.append(event)
        record = apply(followed.records, event)
        if record is not None and isinstance(event, Started | Ended):
            followed.changed.add(record.number)


def in_a_line(error: Exception, address: str = "") -> str:
    """An error without more than its first line, and without the secrets of addresses."""
    words = without_secrets(str(error), address).strip().splitlines()
    return f"{type(error).__name__}: {words[0][:300]}" if words else type(error).__name__
