"""A sweep of a spiking network from its shipped space to a front of error and spikes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app

SPACE = Path(__file__).parents[2] / "search_spaces" / "spiking.yaml"


@pytest.mark.slow
def test_a_sweep_ends_with_a_front_of_error_and_spikes(tmp_path: Path) -> None:
    line = ["sweep", str(SPACE), "--out", str(tmp_path), "--executor", "inline", "--mlflow", "none", "--no-finalists"]
    line += ["--trials", "3", "--set", "base.train.steps=12", "--set", "base.data.clips=32"]
    line += ["--set", "objectives=[{metric: dev_eer}, {metric: spikes_per_inference}]"]
    swept = CliRunner().invoke(app, line)
    assert swept.exit_code == 0, swept.output
    told = CliRunner().invoke(app, ["report", str(tmp_path / "spiking"), "--json"])
    assert told.exit_code == 0, told.output
    lines = (tmp_path / "spiking" / "trials.jsonl").read_text().splitlines()
    finals = [found for found in map(json.loads, lines) if "spikes_per_inference" in (found.get("metrics") or {})]
    assert finals
    assert all(found["metrics"]["spikes_per_inference"] > 0 for found in finals)
    report = (tmp_path / "spiking" / "report" / "report.md").read_text()
    assert "spikes_per_inference" in report
    front = json.loads(told.output)["front"]
    assert front
