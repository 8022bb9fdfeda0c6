"""What a worker process prints while it runs an attempt: into a file of the sweep's folder, kept if the attempt fails.

Ray writes it to the node's own disk, which goes with the node, and the last words of a process that a library aborts
are nowhere else.
"""

import contextlib
import os
import sys
from pathlib import Path


class Output:
    """Standard output and error of this process lead to the file until `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: list[tuple[int, int]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        except OSError:
            return  # a folder that workers cannot write costs the output, not the trial
        _flush()
        # by descriptor: what libraries written in other languages print goes past sys.stdout
        self._kept = [(number, os.dup(number)) for number in (1, 2)]
        for number, _ in self._kept:
            os.dup2(file, number)
        os.close(file)

    def close(self, *, keep: bool) -> None:
        """Lead them back; the file stays if it holds anything and is wanted."""
        if not self._kept:
            return
        try:
            _flush()
        except OSError:
            keep = False  # a full disk costs the output, not the trial
        finally:
            for number, before in self._kept:
                os.dup2(before, number)
                os.close(before)
            self._kept = []
        with contextlib.suppress(OSError):  # the driver tidies up, too
            if not keep or not self.path.stat().st_size:
                self.path.unlink()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
