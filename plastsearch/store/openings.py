"""A ledger of who opened the evaluation split, beside the stage store, shared by all sweeps and trials that use it.

Each look at evaluation scores is a chance to choose by them. Nothing here stops anybody; it is counted and said.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from plastsearch.lock import hold

FILE = "evaluations.jsonl"


@dataclass(frozen=True)
class Openings:
    """How often clips of this content have been scored so far, this time included."""

    count: int
    configurations: int
    ledger: Path

    def text(self) -> str:
        """A sentence for whoever reads the scores."""
        times = "once" if self.count == 1 else f"{self.count:,} times"
        kinds = "1 configuration" if self.configurations == 1 else f"{self.configurations:,} configurations"
        warned = "" if self.count == 1 else "; a result that is chosen among them looks better than it is"
        return f"this evaluation split has been opened {times} here, for {kinds} ({self.ledger}){warned}"


def note_opening(store: Path, corpus: str, clips: str, trial: str) -> Openings:
    """Add a line to the ledger and count those of the same clips; one process at a time, also across nodes."""
    path = store.parent / FILE
    line = {"at": time.strftime("%FT%TZ", time.gmtime()), "corpus": corpus, "clips": clips, "trial": trial}
    with hold(path.with_name(f".{FILE}.lock"), "noting that the evaluation split is opened"):
        with path.open("a+b") as file:
            if file.tell() and not _ends_with_newline(file.fileno()):
                file.write(b"\n")  # a crash of the machine has cut the last line: it stays, as one that cannot be read
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return _count(path, clips)


def _ends_with_newline(file: int) -> bool:
    size = os.fstat(file).st_size
    return os.pread(file, 1, size - 1) == b"\n"


def _count(path: Path, clips: str) -> Openings:
    trials = []
    for text in path.read_text(errors="replace").splitlines():
        try:
            line = dict(json.loads(text))
        except ValueError:
            line = {"clips": clips, "trial": text}  # somebody opened something: counted rather than forgotten
        if line.get("clips") == clips:
            trials.append(line.get("trial"))
    return Openings(len(trials), len(set(trials)), path)
