"""What is said while a sweep runs where no table can be drawn: nothing, a line per start and end, or JSON lines."""

import json
import sys
import time
from collections import Counter
from typing import IO

from plastsearch.files import plain
from plastsearch.sweep.expected import part_of
from plastsearch.sweep.view import SweepView, describe, numbers, title
from plastsearch.tracking.events import Ended, Event, Finished, Note, Retried, Started
from plastsearch.tracking.records import TrialRecord

_EVERY_S = 30.0  # between two summaries


class Silent:
    """No display, for `--quiet`, and beside `--json`."""

    def feed(self, event: Event) -> None:
        """Nothing to say."""

    def close(self) -> None:
        """Nothing to clear."""


class JsonLines:
    """Every event of the journal, as it is written."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout  # looked up now, not at import: tests and notebooks replace it

    def feed(self, event: Event) -> None:
        """One object per line, flushed, for machines."""
        # A loss of NaN would make lines that strict JSON readers refuse: null stands for it, as in the journal.
        self._stream.write(json.dumps(plain(event.as_json()), allow_nan=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing to write: every line was flushed."""


class Lines:
    """A plain line for every start and end, and a summary now and then, for logs and pipes."""

    def __init__(self, view: SweepView, stream: IO[str] | None = None, *, dated: bool = False) -> None:
        self._view = view
        self._clock = "%F %T" if dated else "%H:%M:%S"
        self._stream = stream or sys.stderr  # standard output is for results
        self._said = time.monotonic()
        # Counted on, for to count all at every end would take longer with each.
        self._ended = Counter(part_of(record) for record in view.records.values() if record.ended)

    def feed(self, event: Event) -> None:
        """Say what happened, if it is of interest to a person."""
        if isinstance(event, Ended):
            self._ended[part_of(self._view.records[event.trial])] += 1
        text = self._text(event)
        if text is not None:
            self._say(text, event.at)
        if not isinstance(event, Finished):  # the last word is followed by a summary anyway
            self.tick()

    def tick(self) -> None:
        """Say where the sweep stands, every half a minute: trials of hours would else look as if all hung."""
        if time.monotonic() - self._said < _EVERY_S:
            return
        self._said = time.monotonic()
        if any(record.state == "running" for record in list(self._view.records.values())):
            self._say(f"… {self._view.summary()} · {self._view.best()}", time.time())

    def _say(self, text: str, at: float) -> None:
        clock = time.strftime(self._clock, time.localtime(at))
        self._stream.write(f"{clock} {text}\n")
        self._stream.flush()

    def close(self) -> None:
        """A last summary."""
        self._stream.write(self._view.summary(over=True) + "\n")

    def _text(self, event: Event) -> str | None:
        match event:
            case Note():
                return event.text
            case Finished():
                return f"sweep {event.status}"
            case Started():
                record = self._view.records[event.trial]
                again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                return f"{title(record)} started{again}: {describe(record)}{self._waits(record)}"
            case Retried():
                record = self._view.records[event.trial]
                why = "waits for a stage that another trial computes"
                return f"{title(record)} {why if event.waits else f'will run again: {event.reason}'}"
            case Ended():
                record = self._view.records[event.trial]
                outcome = f": {event.reason}" if event.reason else numbers(event.metrics)
                return f"{title(record)} {event.state}{outcome} · {self._progress(record)}"
        return None

    def _waits(self, record: TrialRecord) -> str:
        other = self._view.awaited(record)
        if other is None:
            return ""
        what = "baseline" if other.control == "baseline" else "start"
        return f"; waits for the {what} that trial {other.number} trains"

    def _progress(self, record: TrialRecord) -> str:
        """How many of its kind have ended, of how many."""
        name, runs = part_of(record), self._view.runs
        planned = 0 if runs is None else {"trials": runs.search, "controls": runs.controls}.get(name, runs.finalists)
        # A sweep resumed with fewer trials may have more already.
        return (
            f"{self._ended[name]}/{max(planned, self._ended[name])} {name}"
            if planned
            else f"{self._ended[name]} {name}"
        )
