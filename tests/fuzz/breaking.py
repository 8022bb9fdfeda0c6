"""Changes that break one file of a command's inputs in place, whatever it is a file of."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import mutations

Change = Callable[[random.Random, Path], None]


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


def as_it_was(rng: random.Random, path: Path) -> None:
    """Nothing is changed: what is broken is in the command line."""
