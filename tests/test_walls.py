"""The rooms of the house keep their walls: imports point down only, and each foreign library has one door."""

from pathlib import Path

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
