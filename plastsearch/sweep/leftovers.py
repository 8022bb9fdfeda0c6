"""Checkpoints of halted trials: nobody goes on from them, so they are deleted."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from plastsearch.store.room import forget_checkpoints
from plastsearch.tracking.events import Ended, Event
from plastsearch.tracking.journal import TrialRecord


class Leftovers:
    """A listener that deletes them whenever a trial ends: the worker of a halted one lets go of its stage a bit later.

    Those that stay (a worker on another node was killed) go with the next session, or with `plastsearch store gc`.
    """

    def __init__(self, store: Path, records: Mapping[int, TrialRecord]) -> None:
        self._store, self._records = store, records
        self._halted = {record.id for record in records.values() if record.state == "halted"}

    def feed(self, event: Event) -> None:
        """Remember who was halted; delete what can be deleted now."""
        if isinstance(event, Ended):
            if event.state == "halted":
                self._halted.add(self._records[event.trial].id)
            self._delete()

    def close(self) -> None:
        """The last of them."""
        self._delete()

    def _delete(self) -> None:
        if self._halted:
            with contextlib.suppress(OSError):  # a file server that does not answer: they are asked for again
                self._halted = forget_checkpoints(self._store, self._halted)
