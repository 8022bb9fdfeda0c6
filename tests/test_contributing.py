"""CONTRIBUTING.md says how to add a criterion; this does what it says, in a copy, and looks whether it works."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from plastsearch.data.corpora import READERS
from plastsearch.growth.criteria import CRITERIA
from plastsearch.models.build import BUILDERS
from plastsearch.models.catalog import PRESETS
from plastsearch.models.heads.table import HEADS
from plastsearch.spec.constraints import METRICS
from plastsearch.spec.methods import METHODS
from plastsearch.spec.vocabulary import Corpus, Criterion, Head, Method, Model
from plastsearch.trial.result import SPLIT_METRICS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLE = TEXT[TEXT.index("## A worked example") :]
EDIT = re.compile(r'^```python file=(\S+) (above|below)="([^\n]*)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with the code blocks of the example where they say they belong."""
    place = tmp_path_factory.mktemp("contributing") / "copy"
    for name in ("plastsearch", "search_spaces", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    edits = EDIT.findall(EXAMPLE)
    assert len(edits) == 3, "a function, a line and a word"
    for name, side, mark, code in edits:
        path = place / name
        whole = path.read_text("utf-8")
        assert whole.count(mark) == 1, f"{name}: {mark}"
        path.write_text(whole.replace(mark, code + mark if side == "above" else f"{mark}\n{code.rstrip()}"), "utf-8")
    return place


@pytest.fixture(scope="module")
def typed(copy: Path) -> list[subprocess.CompletedProcess[str]]:
    """Every command of the example, as typed in the copy."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    lines = [line for block in TYPED.findall(EXAMPLE) for line in block.splitlines()]
    assert lines
    return [
        subprocess.run(
            [sys.executable, *shlex.split(line)[1:]],
            cwd=copy, env=environment, capture_output=True, text=True, check=False,
        )
        for line in lines
    ]  # fmt: skip


@pytest.mark.slow
def test_every_command_of_the_example_succeeds(typed: list[subprocess.CompletedProcess[str]]) -> None:
    for done in typed:
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_trial_prunes_by_the_new_criterion(typed: list[subprocess.CompletedProcess[str]]) -> None:
    trial, check, tests = typed
    found = json.loads(trial.stdout)
    assert found["config"]["criterion"] == "outgoing"
    assert found["metrics"]["params_final"] == found["metrics"]["params_baseline"]
    assert "one of outgoing, random" in check.stdout
    assert re.search(r"\d+ passed", tests.stdout)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md", "docs/walks.md"])
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.py)`", (ROOT / page).read_text("utf-8"))
    assert named
    for name in named:
        assert (ROOT / name).is_file() or (ROOT / "plastsearch" / name).is_file(), name


def test_every_word_that_a_space_may_use_has_its_line_in_the_table() -> None:
    assert set(get_args(Criterion)) == set(CRITERIA)
    assert set(get_args(Method)) == set(METHODS)
    assert set(get_args(Corpus)) == {"synthetic", *READERS}
    assert set(get_args(Model)) == set(BUILDERS) == set(PRESETS)
    assert set(get_args(Head)) == {"linear", *HEADS}


def test_every_metric_of_a_split_says_what_is_better() -> None:
    """All but the second reading of the EER, which no search should aim at beside the first."""
    assert {f"dev_{name}" for name in SPLIT_METRICS} - {"dev_eer_tie_safe"} <= set(METRICS)
