"""Changes to sweeps, stores, caches and folders: lines lost or shuffled, foreign things beside ours, bytes turned."""

import json
import random
from pathlib import Path

from tests.fuzz import mutations
from tests.fuzz.breaking import as_bytes, as_json, as_lines, as_text

NOT_OURS = (".lock", "register")  # of which nothing is read


def as_shuffled(rng: random.Random, path: Path) -> None:
    """Lines missing, twice, in another order, cut, or very many."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        case 2:
            lines.insert(rng.randrange(len(lines)), lines.pop(at))
        case 3:
            rng.shuffle(lines)
        case 4:
            lines += [lines[at]] * rng.choice((5, 300))
        case _:
            lines[at] = lines[at][: rng.randrange(len(lines[at]))] + b"\n"
    path.unlink()
    path.write_bytes(b"".join(lines))


def as_swapped(rng: random.Random, path: Path) -> None:
    """A field of one line with the value of another: of the right kind, at the wrong place."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    one, other = rng.choice(lines), rng.choice(lines)
    key = rng.choice(list(one))
    match rng.randrange(3):
        case 0:
            one[key] = other.get(key, rng.choice(mutations.VALUES))
        case 1:
            one[key] = dict(other)  # a copy: of a line itself would have no end
        case _:
            one[rng.choice(list(other))] = one.pop(key)
    path.unlink()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def as_crowded(rng: random.Random, path: Path) -> None:
    """Files, folders and links that nobody of us put there, below a folder."""
    inside = [path, *(one for one in path.rglob("*") if one.is_dir() and not one.is_symlink())]
    names = ("foreign", ".hidden", "ü" * 80, "a b", "\udcff", "\x1b[31m", "00", "register", "report", "index.json")
    place = rng.choice(inside) / rng.choice(names)
    match rng.randrange(5):
        case 0:
            place.mkdir(exist_ok=True)
        case 1:
            place.mkdir(exist_ok=True)
            (place / "stage.json").write_text(rng.choice(("", "{}", "[]", "null", '{"format": 1}', "\x00")))
        case 2:
            if not place.exists():
                place.symlink_to(rng.choice((".", "/dev/null", "nowhere", place.name)))
        case 3:
            if not place.is_dir():
                place.write_bytes(rng.randbytes(30))
        case _:
            place.mkdir(exist_ok=True)
            place.chmod(0)


def as_damaged(rng: random.Random, path: Path) -> None:
    """One of all files below a folder, as its kind asks for."""
    files = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.endswith(NOT_OURS))
    kinds: dict[str, list[Path]] = {}
    for one in files:  # not one of a hundred clips each time
        kinds.setdefault(one.suffix, []).append(one)
    chosen = rng.choice(kinds[rng.choice(sorted(kinds))])
    match chosen.suffix:
        case ".json" if chosen.stat().st_size:
            as_json(rng, chosen)
        case ".jsonl":
            as_lines(rng, chosen)
        case ".txt" | ".yaml" | ".csv":
            as_text(rng, chosen)
        case _:
            as_bytes(rng, chosen)


def as_lost(rng: random.Random, path: Path) -> None:
    """One of all files below a folder is not there, or a folder in its place."""
    files = sorted(one for one in path.rglob("*") if one.is_file())
    chosen = rng.choice(files)
    chosen.unlink()
    if rng.random() < 0.4:
        chosen.mkdir()
