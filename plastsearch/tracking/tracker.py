"""Where a sweep's records may be mirrored: the protocol, and what a renderer hands over. The truth is journal.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from plastsearch.tracking.journal import Event


class Tracker(Protocol):
    """Follows the journal; its failures never end a sweep."""

    def feed(self, event: Event) -> None:
        """Take notice of an event that the journal already holds; returns at once."""

    def close(self, timeout_s: float = 60.0) -> str | None:
        """Finish what can be finished in that time; a message if anything is missing."""


@dataclass(frozen=True)
class Rendering:
    """Figures and tables of a sweep so far, for a place that can show them."""

    files: Mapping[str, Path]  # path among the artifacts → file
    page: str  # which of them is the interactive figure
    picture: str  # and which its picture
    note: str  # a few lines of Markdown
    front: frozenset[int] = frozenset()  # trial numbers
    summary: Mapping[str, float] = field(default_factory=dict)


Renderer = Callable[[Path], Rendering]


class NoTracker:
    """Tracks nothing."""

    def feed(self, event: Event) -> None:
        """Nothing to do."""

    def close(self, timeout_s: float = 60.0) -> str | None:  # noqa: ARG002
        """Nothing is missing."""
        return None
