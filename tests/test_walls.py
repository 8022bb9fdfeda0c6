"""The rooms of the house keep their walls: imports point down only, and each foreign library has one door."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
MOST_FILES = 25  # of one room, so that its list can be read at a glance


def test_every_import_keeps_to_the_contracts(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True) == 0


def test_every_room_is_named_in_the_layers_and_none_is_crowded():
    rooms = sorted(path.parent for path in (ROOT / "plastsearch").glob("*/__init__.py"))
    layers = (ROOT / "pyproject.toml").read_text().split("layers = [")[1].split("]")[0]
    assert [room.name for room in rooms if f"plastsearch.{room.name}" not in layers] == []
    assert [room.name for room in rooms if len(list(room.glob("[!_]*.py"))) > MOST_FILES] == []


@pytest.mark.parametrize("key", ["plastsearch.data.evaluation_key", "plastsearch.trial.finalist"])
def test_what_selects_can_import_neither_the_maker_of_evaluation_keys_nor_its_user(tmp_path, key):
    """The wall is tried: a copy of the package, in which those who select import what they must not."""
    shutil.copytree(ROOT / "plastsearch", tmp_path / "plastsearch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    intruders = (
        "search/proposer.py",
        "sweep/run.py",
        "training/fit.py",
        "trial/stages.py",
        "report/publish.py",
        "data/corpus.py",
    )
    for name in intruders:
        path = tmp_path / "plastsearch" / name
        path.write_text(f"{path.read_text()}\n\ndef late():\n    import {key}\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    law = "What trains, searches and selects reaches no key to the evaluation split"
    told = done.stdout.split("Broken contracts")[1].split(law)[1]
    for name in intruders:
        assert f"plastsearch.{name[:-3].replace('/', '.')} -> {key}" in told, told
