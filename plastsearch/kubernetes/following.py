"""A sweep's journal, read through a Pod: what has grown since the last look, and what it adds up to."""

import json
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from plastsearch.errors import PlastsearchError
from plastsearch.kubernetes.running import Place
from plastsearch.sweep.options import EXIT
from plastsearch.tracking.events import Event, Finished, Opened, SessionBegun, State, parse
from plastsearch.tracking.follower import in_a_line
from plastsearch.tracking.journal import FILE
from plastsearch.tracking.records import TrialRecord, apply

VERDICT = "verdict.json"  # an attempt's last word, where no other could do better


@dataclass
class Progress:
    """What the journal said so far."""

    folder: PurePosixPath
    records: dict[int, TrialRecord] = field(default_factory=dict)
    trials: int | None = None  # planned
    finished: Finished | None = None  # of the latest session, once it has ended
    offset: int = 0
    begun: bool = False

    def read(self, place: Place) -> None:
        """Take in the whole lines that have been written since."""
        path = shlex.quote(str(self.folder / FILE))
        # Its size comes first: a tail that a killed driver left torn is cut off by the next, and all is read again.
        script = f"test -f {path} || exit 0; wc -c < {path}; tail -c +{self.offset + 1} {path}"
        size, _, block = place.ask(script).partition(b"\n")
        if not size.strip():
            return None
        if int(size) < self.offset:
            self._forget()
            return self.read(place)
        whole = block.rfind(b"\n") + 1
        self.offset += whole
        for line in block[:whole].splitlines():
            if line.strip(b"\0 \r"):
                try:
                    self._take(parse(line))
                except (ValueError, KeyError) as error:
                    raise PlastsearchError(
                        f"{self.folder / FILE}: a line cannot be read ({in_a_line(error)})"
                    ) from None
        return None

    def verdict(self, place: Place) -> tuple[int, str] | None:
        """Exit status and message of the attempt that ended the sweep for good."""
        path = shlex.quote(str(self.folder / VERDICT))
        try:
            said = json.loads(place.ask(f"cat {path} 2>/dev/null || true") or b"null")
            return int(said["exit_code"]), str(said["message"])
        except (ValueError, TypeError, KeyError):
            return None

    @property
    def exit_code(self) -> int | None:
        """The status with which the last session ended; None while one runs, or before the first."""
        return EXIT[self.finished.status] if self.finished is not None else None

    def line(self) -> str:
        """Trials in a line."""
        if not self.begun:
            return "no trial yet: the driver has not opened its folder"
        counts = Counter(record.state for record in self.records.values())
        names: tuple[State, ...] = ("done", "running", "halted", "failed", "reused")
        parts = [f"{counts[name]} {name}" for name in names if counts[name] or name in ("done", "running")]
        planned = f" of {self.trials} planned and what they are compared with" if self.trials is not None else ""
        last = f"; ended: {self.finished.status}" if self.finished is not None else ""
        return f"{', '.join(parts)}{planned}{last}"

    def _forget(self) -> None:
        self.records, self.finished, self.offset, self.begun = {}, None, 0, False

    def _take(self, event: Event) -> None:
        if isinstance(event, Opened):
            self.begun = True
            search = event.spec.get("search")
            planned = search.get("trials") if isinstance(search, dict) else None
            self.trials = planned if isinstance(planned, int) else None
        elif isinstance(event, SessionBegun):
            self.finished = None
        elif isinstance(event, Finished):
            self.finished = event
        apply(self.records, event)
