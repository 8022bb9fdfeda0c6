"""What an examination says of one thing: whether it is well, and if not what to do."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "fault"]  # a note is worth knowing and stops nothing


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    said: str
    remedy: str = ""
    seconds: float = 0.0


def ok(name: str, said: str) -> Finding:
    """It is as it should be."""
    return Finding(name, "ok", said)


def note(name: str, said: str, remedy: str = "") -> Finding:
    """It works, and somebody may want to know."""
    return Finding(name, "note", said, remedy)


def fault(name: str, said: str, remedy: str) -> Finding:
    """It will not work, or not well, until this is done."""
    return Finding(name, "fault", said, remedy)
