"""`plastsearch trial` and `plastsearch store`, as a user types them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.errors import SpecError
from plastsearch.spec.load import read_trial

RUN = CliRunner()
SPACE = """
base:
  model: {name: grnn}
  data: {clips: 48, length_samples: 8000}
  train: {steps: 6, batch_size: 8, evaluations: 1}
  method: dropin
  timing_batch: 2
  timing_steps: 3
space:
  layers: {kind: subset, of: "gru.*", min: 1, max: 2}
  neurons: {kind: int, low: 2, high: 8, step: 2}
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def test_the_base_of_a_space_is_run_and_its_values_may_be_set(space: Path) -> None:
    config = read_trial(space, ["neurons=4", "base.layers=[gru.1]", "train.lr=1e-2"])
    assert config.model.name == "grnn"
    assert (config.growth(), config.train.lr) == ({"gru.1": 4}, 0.01)


def test_without_a_file_values_are_set_on_the_defaults() -> None:
    assert read_trial(None, ["method=baseline", "train.steps=50"]).train.steps == 50


def test_every_mistake_is_said_at_once() -> None:
    with pytest.raises(SpecError, match=r"method.*unknown value(.|\n)*stepz"):
        read_trial(None, ["method=foo", "train.stepz=3"])


@pytest.mark.slow
def test_a_trial_prints_one_document_and_its_stages_can_be_listed_and_dropped(space: Path, tmp_path: Path) -> None:
    words = ["trial", str(space), "--set", "layers=[gru.1]", "--set", "neurons=4", "--out", str(tmp_path), "--json"]
    done = RUN.invoke(app, words, catch_exceptions=False)
    document = json.loads(done.stdout)
    assert document["metrics"]["steps_total"] == 6
    assert "retrain" in done.stderr
    store = ["--store", str(tmp_path / "store"), "--json"]
    listed = json.loads(RUN.invoke(app, ["store", "ls", *store]).stdout)
    assert {stage["stage"] for stage in listed["stages"]} == {"train", "dropin", "retrain"}
    dropped = json.loads(RUN.invoke(app, ["store", "gc", *store, "--max-gb", "0"]).stdout)
    assert len(dropped["dropped"]) == 3
    again = RUN.invoke(app, words[:-1], catch_exceptions=False)
    assert "backward_ratio" in again.stdout


def test_gc_without_a_bound_is_refused(tmp_path: Path) -> None:
    done = RUN.invoke(app, ["store", "gc", "--store", str(tmp_path)])
    assert "give --max-gb or --unused-days" in str(done.exception)
