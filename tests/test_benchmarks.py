"""What benchmarks found stands in one JSON each, and the pages that people read are made from them."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
NO_FIGURES = ("results", "record_parts")  # the latter writes a table that others measure on
SCRIPTS = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text() and path.stem not in NO_FIGURES
)


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/results.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("benchmark_results", FOLDER / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "benchmark_results", module)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_those_that_the_figures_make(results: ModuleType) -> None:
    assert results.PAGE.read_text("utf-8") == results.page(results.TEMPLATE.read_text("utf-8"))
    found = json.loads((results.FOLDER / "gpu.json").read_text("utf-8"))
    assert results.GPU_PAGE.read_text("utf-8") == results.gpu_page(found)


def test_every_table_has_its_place_and_every_file_says_how_it_came_about(results: ModuleType) -> None:
    places = {place.groups() for place in results.PLACE.finditer(results.TEMPLATE.read_text("utf-8"))}
    files = {path.stem: json.loads(path.read_text("utf-8")) for path in results.FOLDER.glob("*.json")}
    for name, found in files.items():
        assert {"machine", "date", "versions", "command"} <= set(found), name
    shown = {(name, table) for name, found in files.items() for table in found.get("tables", {})}
    assert places == shown


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_writes_its_figures_down(name: str) -> None:
    assert "write(" in (FOLDER / f"{name}.py").read_text("utf-8")


def test_a_table_keeps_its_numbers_and_shows_them_as_it_should(
    results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    table = results.Table(
        [("arm", ""), ("ratio", ".3f"), ("count", ",.0f")], [['[one] "two"', 0.12345, 1000], ["x", None, 1]]
    )
    results.write("some", {"first": table})
    results.write("some", {"second": results.Table([("a", "")], [])})
    found = json.loads((tmp_path / "some.json").read_text("utf-8"))
    assert found["tables"]["first"]["rows"] == [['[one] "two"', 0.12345, 1000], ["x", None, 1]]
    assert found["versions"]["python"]
    said = results.read(tmp_path / "some.json")["first"].markdown().splitlines()
    assert said == ["| arm | ratio | count |", "|---|---|---|", '| [one] "two" | 0.123 | 1,000 |', "| x |  | 1 |"]
    assert results.page("before\n{{some/first}}\nafter").splitlines()[1] == said[0]
    with pytest.raises(SystemExit, match=r"some\.json has no such table"):
        results.page("{{some/third}}")


@pytest.mark.slow
@pytest.mark.ray
def test_the_driver_is_measured_as_it_is() -> None:
    """The one benchmark that listens to a sweep: it reads the events that the driver writes today."""
    command = [sys.executable, "-m", "benchmarks.driver", "--arm", "ours", "--trials", "4"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["trials"] == 4
    assert found["modules"] == []


@pytest.mark.slow
def test_the_clock_that_is_wound_forward_drives_the_driver_as_it_is() -> None:
    """With every event taken to last 2 ms a sweep of four slots repeats itself, and no slot stands idle."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", "4", "--waves", "1", "--fixed-ms", "2"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent), "PYTHONWARNINGS": "ignore"}
    found = []
    for _ in range(2):
        done = subprocess.run(command, cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert found[0]["digest"] == found[1]["digest"]
    assert found[0]["trials"] == 200
    assert found[0]["events"] > 1000
    assert 0.99 < found[0]["utilisation"] <= 1
