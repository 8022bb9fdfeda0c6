"""How far a preparation is, as lines: for logs and for processes that own no terminal."""

import sys
import time
from typing import TextIO

FIRST_S, EVERY_S = 1.0, 5.0


class ProgressLines:
    """A line every few seconds and at the end; nothing about work that is over at once.

    Work that announces itself (0 done) cannot tell more until it is done, so its start is told, too.
    """

    def __init__(self, to: TextIO, first_s: float = FIRST_S, every_s: float = EVERY_S) -> None:
        self.to, self.first_s, self.every_s = to, first_s, every_s
        self.began: dict[str, float] = {}
        self.told: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        spent_s = now - self.began.setdefault(what, now)
        due = now - self.told[what] >= self.every_s if what in self.told else spent_s >= self.first_s
        if due or done == 0 or (done >= total and what in self.told):
            self.told[what] = now
            self.say(f"{what}: {done:,} of {total:,} clips, {spent_s:.0f} s")

    def say(self, text: str) -> None:
        """One line, at once."""
        self.to.write(text + "\n")
        self.to.flush()


def progress_lines() -> ProgressLines:
    """Lines on standard error."""
    return ProgressLines(sys.stderr)
