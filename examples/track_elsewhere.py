"""A sweep in another tracker, here a folder of JSON files: python examples/track_elsewhere.py SWEEP INTO

Beside a running sweep or afterwards: it follows the journal, makes up for outages, and has each trial once.
"""

import json
import sys
import time
from pathlib import Path

from plastsearch.tracking.events import Note, Opened
from plastsearch.tracking.follower import Follower
from plastsearch.tracking.journal import driver_lives


class Elsewhere(Follower):
    """`update` does the work, in a thread of its own. It may raise: it is then tried again, from the start."""

    def __init__(self, folder: Path, into: Path) -> None:
        self.into = into
        super().__init__(folder, f"the folder {into}", on_trouble=print)  # last: it starts the thread

    def update(self, opening: Opened, last: bool) -> None:  # noqa: ARG002 - `last`: leave nothing half done
        self.into.mkdir(exist_ok=True)  # here one logs in
        for number in sorted(self.followed.changed):
            record = self.followed.records[number]
            # One trial, always under one name, as with `wandb.init(id=name, resume="allow")`: nothing is there twice.
            name = f"{opening.name}-{number}"
            curve = [{"step": one.step, "at": one.at, **one.metrics} for one in record.history]
            told = {"state": record.state, "config": record.config, "curve": curve, "metrics": record.metrics}
            (self.into / f"{name}.json").write_text(json.dumps(told))  # here `run.log` and `run.finish`
            self.followed.mirrored(number)

    def disconnect(self) -> None:
        """After a failure: here one forgets the connection."""


if __name__ == "__main__":
    tracker = Elsewhere(Path(sys.argv[1]), Path(sys.argv[2]))
    while driver_lives(tracker.folder):
        tracker.feed(Note())  # it only wakes the thread, which reads what is new
        time.sleep(1)
    print(tracker.close() or "level with the journal")
