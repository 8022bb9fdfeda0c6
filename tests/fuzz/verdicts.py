"""What no input may lead to: each kind of fault, and how it is told from a refusal in order."""

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.children import INTERRUPTED, STATUSES, Outcome

KINDS = (
    "hang", "status", "traceback", "warning", "control", "silent", "unnamed", "bare", "outside", "lost", "left",
)  # fmt: skip
HEARD = {"\n", "\t"}  # all that a terminal may be told but by words
BARE = 24  # letters beside the file's name, fewer of which say neither what is wrong nor what to do
PRIVATE = [f"tmp/ps-{os.getuid()}"]  # plastsearch/private_folder.py: a user's own, kept for all runs
MACHINE = [Path("/dev/null"), Path("/dev/full")]  # what every program of the machine needs, and root may replace
WARNING = re.compile(r"\.py:\d+: \w*Warning: ")


@dataclass(frozen=True)
class Fault:
    kind: str
    words: str


def of_outcome(outcome: Outcome, around: str = "plain", interrupted: bool = False) -> Fault | None:
    """What its end and its words alone show."""
    if outcome.status is None:
        return Fault("hang", f"still running after {outcome.seconds:.0f} s")
    if "Traceback (most recent call last)" in outcome.text:
        return Fault("traceback", "a traceback")
    if WARNING.search(outcome.text):
        return Fault("warning", "a warning of Python's")
    if outcome.status not in (*STATUSES.get(around, (0, 1, 2)), *((INTERRUPTED,) if interrupted else ())):
        return Fault("status", f"exit status {outcome.status}")
    if (raw := _control(outcome)) is not None:
        return Fault("control", f"{raw} reached the terminal")
    if outcome.status == 2 and not outcome.text.strip():  # with --json the words are on standard output
        return Fault("silent", "exit status 2 without a word")
    if outcome.left:
        return Fault("left", "processes of it were left")
    return None


def of_words(outcome: Outcome, broken: Sequence[str]) -> Fault | None:
    """Of a refusal for a broken file: one of its names must be told, and more than the name."""
    if outcome.status != 2 or not broken:
        return None
    said = "".join(outcome.text.replace("│", " ").split())  # a box breaks words
    named = [name for name in broken if "".join(ascii_of(name).split()) in ascii_of(said)]
    if not named:
        return Fault("unnamed", f"nothing of {', '.join(broken)} is named")
    if sum(mark.isalpha() for mark in said) < BARE + sum(mark.isalpha() for mark in named[0]):
        return Fault("bare", "a name and no words")
    return None


def ascii_of(text: str) -> str:
    return text.encode("unicode_escape", "surrogatepass").decode().replace("\\\\", "\\")


def _control(outcome: Outcome) -> str | None:
    """A mark that a terminal obeys, or a byte that is no character."""
    for said in (outcome.out, outcome.err):
        try:
            text = said.decode()
        except UnicodeDecodeError as error:
            return f"the byte {said[error.start]:#x}"
        if not text.isprintable():
            for mark in text:
                if mark not in HEARD and unicodedata.category(mark) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
                    return f"the control character {mark!r}"
    return None


@dataclass
class Watched:
    """What lies outside the output folder before a command, by content."""

    box: Path
    writes: Sequence[str] = ()  # what it may change beside `out`
    grows: Sequence[str] = ()  # what it may only add to
    before: dict[str, str] = field(default_factory=dict)
    grown: dict[str, bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before = self._seen()
        self.grown = {name: _bytes(self.box / name) for name in self.grows}

    def fault(self) -> Fault | None:
        """What was changed there."""
        after, before = self._seen(), self.before
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        for name in changed:
            if name in ("home", "tmp") and name not in before:
                continue  # made for it at the beginning
            if not any(_within(name, place) for place in (*PRIVATE, "out", *self.writes, *self.grows)):
                return Fault("outside", f"{name} was changed outside the output folder")
        for name, content in self.grown.items():
            whole = content[: content.rfind(b"\n") + 1] if content else b""
            if not (_bytes(self.box / name) or b"").startswith(whole):
                return Fault("lost", f"{name} lost lines")
        return None

    def _seen(self) -> dict[str, str]:
        return {str(path): _content(path) for path in MACHINE} | _state(self.box)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _state(box: Path) -> dict[str, str]:
    """What lies outside `out`, by content."""
    found = {}
    for folder, folders, files in os.walk(box):
        inside = Path(folder).relative_to(box)
        if inside.parts[:1] == ("out",):
            folders.clear()
            continue
        for name in (*folders, *files):
            found[str(inside / name)] = _content(Path(folder) / name)
    return found


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return "folder"
    found = path.stat()
    key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if not stat.S_ISREG(found.st_mode):
        return "no file"
    if key not in _HASHED:
        _HASHED[key] = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    return _HASHED[key]


# Boxes hold the whole inputs under further names, so that a file is read once for all of them.
_HASHED: dict[tuple[int, int, int, int], str] = {}


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith((f"{place}/", f".{place}.")) or (place == "." and not name.startswith("in"))
