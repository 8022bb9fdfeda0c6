"""What a fuzzed command finds: a folder `in` of whole inputs, one of which is then broken, and one for output."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import mutations
from tests.fuzz.children import LIMIT_S, Outcome, run

Change = Callable[[random.Random, Path], None]  # breaks one file in place


def as_text(rng: random.Random, path: Path) -> None:
    _write(path, mutations.text(rng, path.read_text()))


def as_json(rng: random.Random, path: Path) -> None:
    _write(path, mutations.document(rng, json.loads(path.read_text())))


def as_lines(rng: random.Random, path: Path) -> None:
    """One line of a file of JSON lines, or the file as a text."""
    if rng.random() < 0.3:
        as_text(rng, path)
        return
    lines = path.read_text().splitlines()
    at = rng.randrange(len(lines))
    broken = mutations.document(rng, json.loads(lines[at]))
    _write(path, b"\n".join([*(line.encode() for line in lines[:at]), broken, *(x.encode() for x in lines[at + 1 :])])
           + b"\n")  # fmt: skip


def as_bytes(rng: random.Random, path: Path) -> None:
    _write(path, mutations.binary(rng, path.read_bytes()))


def as_place(rng: random.Random, path: Path) -> None:
    """A folder, a loop of links, a pipe that nobody writes, or nothing where the file should be."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    match rng.randrange(4):
        case 0:
            path.mkdir()
        case 1:
            path.symlink_to(path.name)
        case 2:
            path.symlink_to("/dev/null")
        case _:
            pass


def _write(path: Path, content: bytes) -> None:
    path.unlink()  # it may be a second name of the whole one
    path.write_bytes(content)


@dataclass(frozen=True)
class Recipe:
    """A command line over `in/…` and `out/…`, and which of its inputs may be broken how."""

    words: Sequence[str]
    breakable: Sequence[tuple[str, Change]] = ()
    stdin: bytes = b""
    writes: Sequence[str] = ()  # what it may change beside `out`, such as the report in a sweep's folder
    grows: Sequence[str] = ()  # files that it may only add to, as finished work
    limit_s: float = LIMIT_S  # more for what may train


@dataclass
class Tally:
    """What came of many of them."""

    inputs: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def note(self, told: str, outcome: Outcome, fault: str | None) -> None:
        self.inputs += 1
        key = str(outcome.status)
        self.statuses[key] = self.statuses.get(key, 0) + 1
        self.slowest = max(self.slowest, outcome.seconds)
        if fault:
            tail = "\n    ".join((outcome.err or outcome.out).strip().splitlines()[-6:])
            self.faults.append(f"{told}: {fault}\n    {tail}")

    def text(self) -> str:
        counts = ", ".join(f"{number:,} with status {status}" for status, number in sorted(self.statuses.items()))
        return f"{self.inputs:,} inputs: {counts}; slowest {self.slowest:.1f} s; {len(self.faults)} faults"


def fuzz(
    recipes: Sequence[Recipe], whole: Path, folder: Path, seed: int, count: int, limit_s: float = LIMIT_S
) -> Tally:
    """So many broken inputs, drawn in turn over the recipes; each box is made anew and its inputs looked at after."""
    tally = Tally()
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        recipe = recipes[number % len(recipes)]
        box = folder / "box"
        shutil.rmtree(box, ignore_errors=True)
        (box / "out").mkdir(parents=True)
        shutil.copytree(whole, box / "in", copy_function=os.link, symlinks=True)
        _unlink(box, (*recipe.writes, *recipe.grows))
        words, told = list(recipe.words), []
        if not recipe.breakable or rng.random() < 0.25:
            words = mutations.arguments(rng, words)
        else:
            name, change = rng.choice(list(recipe.breakable))
            change = as_place if rng.random() < 0.04 else change
            change(rng, box / name)
            told.append(f"{change.__name__} {name}")
        before, grown = _state(box), {name: _bytes(box / name) for name in recipe.grows}
        outcome = run(words, box, recipe.stdin, max(limit_s, recipe.limit_s))
        fault = (
            outcome.fault()
            or _touched(before, _state(box), (*recipe.writes, *recipe.grows, *_named(words)))
            or _lost(box, grown)
        )
        tally.note(f"#{seed}/{number} {' '.join(words)[:200]!r} {' '.join(told)}", outcome, fault)
    return tally


def _unlink(box: Path, names: Sequence[str]) -> None:
    """Copies for links: what a command writes in place must not reach the whole ones."""
    for name in names:
        for path in (box / name).rglob("*") if (box / name).is_dir() else [box / name]:
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _lost(box: Path, grown: dict[str, bytes | None]) -> str | None:
    """Whole lines that are no more where they were."""
    for name, content in grown.items():
        whole = content[: content.rfind(b"\n") + 1] if content else b""
        if not (_bytes(box / name) or b"").startswith(whole):
            return f"{name} lost lines"
    return None


def _state(box: Path) -> dict[str, str]:
    """What lies outside `out`, by content."""
    found = {}
    for folder, folders, files in os.walk(box):
        inside = Path(folder).relative_to(box)
        if inside.parts[:1] == ("out",):
            continue
        for name in (*folders, *files):
            path = Path(folder) / name
            found[str(inside / name)] = _content(path)
    return found


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return "folder"
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def _named(words: Sequence[str]) -> list[str]:
    """Places beside `in` that the broken command line itself may have asked for."""
    firsts = [Path(word.rpartition("=")[2]).parts[:1] for word in words[1:]]
    return [first[0] for first in firsts if first and first[0] not in ("in", "/", "..")]


def _touched(before: dict[str, str], after: dict[str, str], writes: Sequence[str]) -> str | None:
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    changed = [name for name in changed if name != "out" and not any(_within(name, place) for place in writes)]
    return f"{sorted(changed)[0]} was changed outside the output folder" if changed else None


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}/")
