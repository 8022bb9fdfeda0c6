"""What is to be scored, in the order in which it was named: files, folders, patterns, a list on standard input."""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from plastsearch.audio import SUFFIXES
from plastsearch.errors import DataError, PlastsearchError
from plastsearch.files import typed_path
from plastsearch.scores.keys import Key

STDIN = "-"
# Beyond what corpora are kept in: whatever else libsndfile opens, and what torchaudio opens where torchcodec is there.
HEARD = SUFFIXES | frozenset(
    {".aifc", ".snd", ".caf", ".w64", ".rf64", ".voc", ".sph", ".nist", ".oga", ".m4a", ".aac", ".mp4", ".webm", ".wma"}
)
MOST_LIST_BYTES = 1 << 28  # of standard input: over two million paths


def inputs(words: Sequence[str]) -> list[str]:
    """Every file that the words mean; a folder gives its audio by name, a pattern its matches, `-` the lines read."""
    if list(words).count(STDIN) > 1:
        raise PlastsearchError("-: standard input can be read once only")
    found = [path for word in words for path in (_lines() if word == STDIN else _meant(word))]
    if not found:
        raise DataError("nothing to score: the list on standard input is empty")
    return found


def _meant(word: str) -> list[str]:
    """A word of the command line; a file that is missing stays, to be listed with the others that cannot be read."""
    path = typed_path(word)
    if path.is_dir():
        below = sorted(_audio_in(path))
        if not below:
            raise DataError(f"{word}: no audio in that folder; known endings: {', '.join(sorted(HEARD))}")
        return below
    if path.exists() or not glob.has_magic(word):
        return [str(path)]
    every = glob.iglob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    matches = sorted(one for one in every if Path(one).is_file())
    if not matches:
        raise DataError(f"{word}: no file matches")
    return matches


def _audio_in(folder: Path) -> Iterator[str]:
    """Links to folders are not followed: they may lead round in circles."""
    for place, _, names in os.walk(folder):
        for name in names:
            if os.path.splitext(name)[1].lower() in HEARD and not name.startswith("."):  # noqa: PTH122 - of many
                yield os.path.join(place, name)  # noqa: PTH118


def _lines() -> list[str]:
    """One path a line, or ended by NUL bytes as `find -print0` writes them; `~` is nobody's home there."""
    content = sys.stdin.buffer.read(MOST_LIST_BYTES + 1)
    if len(content) > MOST_LIST_BYTES:
        raise DataError(f"-: more than {MOST_LIST_BYTES >> 20} MB of names on standard input")
    if b"\0" in content:
        parts = content.split(b"\0")
    else:
        parts = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(part) for part in parts if part.strip()]


def name_of(path: str) -> str:
    """A clip's name in protocols and score files: that of its file, without folder and ending."""
    return Path(path).stem


def of_protocol(paths: Sequence[str], key: Key) -> dict[str, str]:
    """Those files that a protocol names, in their order, each with its name there; each clip has one file."""
    names = set(key.ids)
    chosen: dict[str, str] = {}
    for path in paths:
        name = next((name for name in (name_of(path), Path(path).name) if name in names), None)
        if name is not None:
            chosen[path] = name
    if not chosen:
        raise DataError(
            f"none of the {len(paths):,} files (the first is {paths[0]}) is a clip of {key.source} "
            f"(the first is {key.ids[0]}); is that the protocol of these clips?"
        )
    check_names(list(chosen), "a protocol")
    return chosen


def check_names(paths: Sequence[str], of: str) -> None:
    """Refuse files that lines of a score file or of a protocol could not tell apart, or could not hold."""
    seen: dict[str, str] = {}
    for path in paths:
        name = name_of(path)
        if name.split() != [name] or not name.isprintable():
            raise DataError(f"{path}: {of} cannot hold that name: it has blanks or control characters")
        if name in seen:
            raise DataError(f"{path}: {of} names clips without folder and ending, and {seen[name]} has the same name")
        seen[name] = path
