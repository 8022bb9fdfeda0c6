"""Whitespace-separated rows of score and key files, every mistake collected with its line.

Large files in which there is none are read by columns: large.py.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plastsearch.errors import DataError, PlastsearchError
from plastsearch.files import text_of

MOST_BYTES = 1 << 28  # of a score file or key; those of the largest corpora have some 30 MB
HEADERS = frozenset({"filename", "file", "utt", "utterance", "trial"})  # a first line that names its columns
LARGE = 1 << 20  # bytes: below, line by line is as fast as loading pyarrow
NAMED = 5  # mistakes that a message spells out

Row = tuple[int, list[str]]  # line number, words


@dataclass
class Mistakes:
    """What is wrong in a file: all counted, the first few told."""

    count: int = 0
    told: list[str] = field(default_factory=list)

    def add(self, place: str, what: str) -> None:
        """Count a mistake, and keep its words if it is one of the first."""
        self.count += 1
        if len(self.told) < NAMED:
            self.told.append(f"{place}: {what}")

    def raise_any(self) -> None:
        """End with all of them, if there are any."""
        if self.count:
            more = f"\n… and {self.count - len(self.told)} more such mistakes" if self.count > len(self.told) else ""
            raise DataError("\n".join(self.told) + more)


def is_large(path: Path) -> bool:
    """Whether reading by columns is worth a try; what is wrong with a path is said by `read_rows`."""
    try:
        return path.is_file() and LARGE <= path.stat().st_size <= MOST_BYTES
    except (OSError, ValueError):
        return False


def read_rows(path: Path) -> list[Row]:
    """Lines that are not blank, split at blanks."""
    try:
        text = text_of(Path(path), MOST_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check its name and folder") from None
    except PlastsearchError as error:
        raise DataError(str(error)) from None
    return [(number, words) for number, line in enumerate(text.splitlines(), 1) if (words := line.split())]


def of_width(path: Path, rows: Sequence[Row], width: int, example: str, mistakes: Mistakes) -> list[Row]:
    """The rows that have as many columns as they should."""
    found = []
    for line, words in rows:
        if len(words) == width:
            found.append((line, words))
        else:
            mistakes.add(f"{path}:{line}", f"{len(words)} columns instead of {width} (`{example}`)")
    return found


def numbers(path: Path, rows: Sequence[Row], column: int, mistakes: Mistakes) -> list[float]:
    """One column as finite numbers."""
    return [_number(path, line, words[column], mistakes) for line, words in rows]


def _number(path: Path, line: int, word: str, mistakes: Mistakes) -> float:
    try:
        value = float(word)
    except ValueError:
        mistakes.add(f"{path}:{line}", f"'{word}' is not a number; write the clip's score there")
        return 0.0
    if not math.isfinite(value):
        mistakes.add(f"{path}:{line}", f"the score is {word}; every score must be a finite number")
    return value


def once(path: Path, rows: Sequence[Row], column: int, mistakes: Mistakes) -> None:
    """Note each clip that stands in a file more than once."""
    seen: dict[str, int] = {}
    for line, words in rows:
        if words[column] in seen:
            mistakes.add(f"{path}:{line}", f"{words[column]} stands already in line {seen[words[column]]}")
        seen.setdefault(words[column], line)


def chosen(
    path: Path, rows: Sequence[Row], column: int, known: Callable[[str], bool], say: str, mistakes: Mistakes
) -> list[str]:
    """One column of words out of a known few."""
    for line, words in rows:
        if not known(words[column]):
            mistakes.add(f"{path}:{line}", f"'{words[column]}' in column {column + 1} is not {say}")
    return [words[column] for _, words in rows]
