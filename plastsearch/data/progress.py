"""How far a preparation is, as lines on standard error: for logs and for processes that own no terminal."""

import sys
import time
from typing import TextIO

EVERY_S = 5.0


class ProgressLines:
    """A line when a piece of work begins, every few seconds, and when it is done."""

    def __init__(self, to: TextIO, every_s: float = EVERY_S) -> None:
        self.to, self.every_s = to, every_s
        self.began: dict[str, float] = {}
        self.told = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        started = self.began.setdefault(what, now)
        if done >= total or now - self.told >= self.every_s or started == now:
            self.told = now
            self.say(f"{what}: {done:,} of {total:,} clips, {now - started:.0f} s")

    def say(self, text: str) -> None:
        """One line, at once."""
        self.to.write(text + "\n")
        self.to.flush()


def progress_lines() -> ProgressLines:
    """Lines on standard error."""
    return ProgressLines(sys.stderr)
