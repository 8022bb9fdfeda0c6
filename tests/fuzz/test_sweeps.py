"""Commands that look at sweeps and stores, or go on with one, given damaged journals, stores and folders."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import yaml

from tests.fuzz.boxes import Recipe, as_json, as_lines, fuzz
from tests.fuzz.children import run

SEED = int(os.environ.get("PLASTSEARCH_FUZZ_SEED", "0"))
MANY = int(os.environ.get("PLASTSEARCH_FUZZ", "2000"))


def as_shuffled(rng: random.Random, path: Path) -> None:
    """Lines missing, twice, or in another order."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        case 2:
            lines.insert(rng.randrange(len(lines)), lines.pop(at))
        case _:
            lines[at] = lines[at][: rng.randrange(len(lines[at]))] + b"\n"
    path.unlink()
    path.write_bytes(b"".join(lines))


def as_crowded(rng: random.Random, path: Path) -> None:
    """Files, folders and links that nobody of us put there, below a folder."""
    inside = [path, *(one for one in path.rglob("*") if one.is_dir() and not one.is_symlink())]
    place = rng.choice(inside) / rng.choice(
        ("foreign", ".hidden", "ü" * 80, "a b", "\udcff", "\x1b[31m", "00", "register")
    )
    match rng.randrange(5):
        case 0:
            place.mkdir(exist_ok=True)
        case 1:
            place.mkdir(exist_ok=True)
            (place / "stage.json").write_text(rng.choice(("", "{}", "[]", "null", '{"format": 1}', "\x00")))
        case 2:
            place.symlink_to(rng.choice((".", "/dev/null", "nowhere", place.name)))
        case 3:
            place.write_bytes(rng.randbytes(30))
        case _:
            place.mkdir(exist_ok=True)
            place.chmod(0)


JOURNAL = [("in/grnn/trials.jsonl", as_lines)] * 3 + [("in/grnn/trials.jsonl", as_shuffled)]
REPORT = {"writes": ["in/grnn/report"]}
RESUME = ["sweep", "in/space.yaml", "--out", "in", "--name", "grnn", "--resume", "--no-finalists", "--trials", "2",
          "--executor", "inline", "--quiet"]  # fmt: skip
DRIVEN = {"writes": ["in/grnn", "in/store", "in/cache"], "grows": ["in/grnn/trials.jsonl"], "limit_s": 60.0}


def _recipes(stage: str) -> list[Recipe]:
    store = [(f"{stage}/stage.json", as_json)] * 3 + [("in/store", as_crowded)] * 2
    return [
        Recipe(["report", "in/grnn"], [*JOURNAL, ("in/grnn", as_crowded)], **REPORT),
        Recipe(["report", "in/grnn", "--json", "--under", "params_total=1e6"], JOURNAL, **REPORT),
        Recipe(["store", "ls", "--store", "in/store"], store),
        Recipe(["store", "ls", "--store", "in/store", "--json"], store),
        Recipe(["store", "gc", "--store", "in/store", "--max-gb", "0.00001"], store, writes=["in/store"]),
        Recipe([*RESUME, "--mlflow", "none"], [*JOURNAL, ("in/grnn", as_crowded), *store], **DRIVEN),
        Recipe(["report", "in/grnn", "--skip-bad-lines"], JOURNAL, **REPORT),
        Recipe(["journal", "repair", "in/grnn"], JOURNAL, writes=["in/grnn"]),
        Recipe(["ls", "in"], [*JOURNAL, ("in/grnn", as_crowded)]),
        Recipe(["ablate", "in/grnn", "1", "--dry-run", "--dry-run"], JOURNAL),
    ]


MIRROR = Recipe(["ui", "in/grnn", "--no-serve"], JOURNAL, writes=["in/grnn"])


@pytest.fixture(scope="module")
def whole(found_root, tmp_path_factory) -> Path:
    """A finished sweep, its store, its space."""
    folder = tmp_path_factory.mktemp("whole") / "in"
    for name in ("grnn", "store", "cache"):
        shutil.copytree(found_root / name, folder / name)
    settle(folder)
    return folder


def settle(folder: Path) -> None:
    """Leave nothing for a resume to run: of the controls that were asked for, one is there."""
    path = folder / "grnn" / "trials.jsonl"
    head, *rest = path.read_text().splitlines(keepends=True)
    plain = json.loads(head)
    plain["spec"]["controls"] = ["baseline"]
    path.write_text(json.dumps(plain) + "\n" + "".join(rest))
    (folder / "space.yaml").write_text(yaml.safe_dump(plain["spec"]))


@pytest.fixture(scope="module")
def recipes(whole) -> list[Recipe]:
    stage = min(path.name for path in (whole / "store" / "stages").iterdir())
    return _recipes(f"in/store/stages/{stage}")


def _looks(recipes: list[Recipe]) -> list[Recipe]:
    """Those that only look: to go on with a sweep takes seconds each."""
    return [recipe for recipe in recipes if recipe.words[0] != "sweep"]


def test_the_unbroken_inputs_serve(whole, recipes, tmp_path):
    for recipe in _looks(recipes):
        box = tmp_path / "box"
        shutil.rmtree(box, ignore_errors=True)
        shutil.copytree(whole, box / "in")
        outcome = run(recipe.words, box, recipe.stdin, limit_s=60)
        assert outcome.status == 0, (recipe.words, outcome.err)


def test_a_few_damaged_sweeps_end_in_a_sentence(whole, recipes, tmp_path):
    tally = fuzz(_looks(recipes), whole, tmp_path, SEED, 24)
    assert tally.faults == [], "\n".join([tally.text(), *tally.faults])


@pytest.mark.slow
def test_many_damaged_sweeps_end_in_a_sentence(whole, recipes, tmp_path, capsys):
    resumed = run([*RESUME, "--mlflow", "none"], whole.parent, limit_s=120)  # decodes what each of them would decode
    assert resumed.status == 0, resumed.err
    tally = fuzz([*recipes, *recipes, MIRROR], whole, tmp_path, SEED + 1, MANY)
    with capsys.disabled():
        print(f"\n{tally.text()}")
    assert tally.faults == [], "\n".join([tally.text(), *tally.faults[:50]])
