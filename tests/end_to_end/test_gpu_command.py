"""`make gpu`: says that there is no GPU, needs none of the packages of a sweep, and reports whatever happens."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
OF_SWEEPS = ["ray", "mlflow", "optuna", "typer", "rich", "plotly", "matplotlib", "moocore"]
OF_TRIALS = ["pydantic", "soundfile", "cryptography"]
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")

HIDING = """
import sys
from importlib.machinery import PathFinder

if sys.path[-1] == {root!r}:  # an editable install; elsewhere nothing is installed
    sys.path.pop()

class Finder:  # pytest keeps it as an attribute of a class, where a function would become a method
    plain = staticmethod(PathFinder.find_spec)

    def __call__(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {names!r} else self.plain(name, path, target)

PathFinder.find_spec = Finder()
"""


def _without(folder: Path, names: list[str]) -> dict[str, str]:
    """An environment in which these packages are not installed, in child processes, too."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDING.format(names=names, root=str(ROOT)))
    return {**os.environ, "PYTHONPATH": str(folder)}


def _gpu(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "benchmarks/gpu.py", *arguments]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=840)


@no_gpu
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    ended = _gpu(_without(tmp_path / "less", OF_SWEEPS + OF_TRIALS), "--out", str(tmp_path / "out"))
    assert ended.returncode == 3
    assert ended.stdout.startswith(f"make gpu: no GPU: torch {torch.__version__} can use none here")
    assert ended.stderr == ""
    assert not (tmp_path / "out").exists()


@no_gpu
def test_make_passes_its_python_and_its_arguments_on(tmp_path: Path) -> None:
    words = ["make", "gpu", f"PYTHON={sys.executable}", f"ARGS=--out {tmp_path / 'out'}"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 2  # make's own, for any status but 0
    assert "no GPU" in ended.stdout
    assert "Error 3" in ended.stderr


def test_a_python_without_torch_is_named(tmp_path: Path) -> None:
    ended = _gpu(_without(tmp_path / "less", ["torch", "peft"]))
    assert (ended.returncode, ended.stderr) == (3, "")
    assert f"{sys.executable} has no torch, peft; name a Python that has" in ended.stdout


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module; its tests are not run."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("gpu_command", ROOT / "benchmarks" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_command", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "tests", lambda *_, **__: None)
    return module


def test_a_part_that_fails_is_reported_and_the_others_go_on(command: Any, tmp_path: Path, monkeypatch, capsys) -> None:
    import gpu_parts

    def good(where: Any) -> Any:
        yield gpu_parts.Row("good", "a figure", 0.5, "×", "of one")

    def bad(where: Any) -> Any:
        yield gpu_parts.Row("bad", "a first figure", 2.0, "ms")
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore | words")

    monkeypatch.setattr(gpu_parts, "PARTS", {"bad": bad, "trials": bad, "good": good})
    monkeypatch.setattr(command, "FOR_TRIALS", ("torch", "no_such_package"))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--quick", "--out", str(tmp_path)])
    threads = torch.get_num_threads()
    assert command.main() == 1
    torch.set_num_threads(threads)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [(row["part"], row["value"]) for row in found["rows"]] == [("bad", 2.0), ("good", 0.5)]
    assert found["failed"] == ["bad: RuntimeError: CUDA error: an illegal memory access was encountered"]
    assert "whole trials" in found["left_out"][0]
    assert "has no no_such_package (" in found["left_out"][0]
    table = [line for line in (tmp_path / "gpu.md").read_text().splitlines() if line.startswith("|")]
    assert table[2:4] == ["| bad | a first figure | 2 ms |  |", "| good | a figure | 0.5 × | of one |"]
    assert all(line.count("|") == 5 for line in table)
    assert "failed: bad: RuntimeError" in capsys.readouterr().out


def test_nothing_is_begun_when_the_time_is_over(command: Any, tmp_path: Path, monkeypatch) -> None:
    import gpu_parts

    monkeypatch.setattr(gpu_parts, "PARTS", {"late": lambda where: iter(())})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--minutes", "0", "--out", str(tmp_path)])
    assert command.main() == 0
    assert json.loads((tmp_path / "gpu.json").read_text())["left_out"] == ["late: no time was left"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lacking", [[], pytest.param(OF_TRIALS, marks=pytest.mark.slow)])
def test_every_part_runs_without_the_packages_of_a_sweep(lacking: list[str], tmp_path: Path) -> None:
    """On the CPU and next to nothing: what a GPU would run, tests included."""
    environment = _without(tmp_path / "less", OF_SWEEPS + lacking)
    ended = _gpu(environment, "--device", "cpu", "--quick", "--minutes", "30", "--out", str(tmp_path / "out"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    parts = {"training", "growth", "waiting", "determinism", "compile"} | (set() if lacking else {"loading", "trials"})
    assert {row["part"] for row in found["rows"]} == parts
    assert found["failed"] == []
    assert len(found["left_out"]) == len(lacking[:1])
    assert all(name in text for name in lacking for text in found["left_out"])
    assert found["tests"]["passed"] >= 5
    assert found["tests"]["failures"] == found["tests"]["errors"] == 0
    assert (tmp_path / "out" / "gpu.md").read_text().count("|---|---|---|---|") == 1
