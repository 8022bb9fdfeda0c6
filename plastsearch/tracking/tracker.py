"""What a renderer hands over to a place that can show figures and tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


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
