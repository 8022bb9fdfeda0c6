"""How long an attempt waited for others, written where its driver reads it: a trial's time limit is on its own time.

It waits for a stage that another trial computes, for clips that are decoded or generated, and for its turn to time.
Whatever waits asks again and again whether to go on; the time between two such questions was spent waiting.
"""

import contextlib
import time
from pathlib import Path

from plastsearch.files import whole_file

GAP_S = 2.0  # not asked for longer than this: it worked in between
NOTE_S = 0.5


class Waits:
    """Adds up the time between questions whether to go on, which whatever waits asks again and again."""

    def __init__(self, path: Path | None = None) -> None:
        self.seconds = 0.0
        self._path = path  # None: nobody sets a limit
        self._asked = self._noted = float("-inf")

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._asked < GAP_S:
            self.seconds += now - self._asked
        self._asked = now
        if self._path is not None and now - self._noted >= NOTE_S:
            self._noted = now
            with contextlib.suppress(OSError):  # without the note the limit comes early, which is better than no trial
                _write(self._path, self.seconds)


def _write(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        draft.write_text(f"{seconds:.3f}")


def waited_s(path: Path | None) -> float:
    """The seconds that an attempt wrote there; 0 if it wrote none."""
    try:
        return float(path.read_text()) if path is not None else 0.0
    except OSError:
        return 0.0
