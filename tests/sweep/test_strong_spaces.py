"""Every space that aims at a published figure runs as it stands, shrunken: a tiny random encoder of the same class."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.models.catalog import PUBLISHED
from plastsearch.spec.load import load_sweep
from tests.models.test_detectors import hugging

FOLDER = Path(__file__).parents[2] / "search_spaces" / "strong"
SPACES = sorted(FOLDER.glob("*.yaml"))
XLSR = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_each_names_a_known_encoder_and_the_figures_it_aims_at(path: Path) -> None:
    spec = load_sweep(path)
    assert spec.aims
    assert all(aim.source and aim.system for aim in spec.aims)
    assert spec.base.model.from_ is None or spec.base.model.from_ in PUBLISHED


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_a_shrunken_run_ends_with_a_report_that_judges_the_aims(path: Path, tmp_path: Path) -> None:
    model = yaml.safe_load(path.read_text())["base"]["model"]
    sets = [
        "base.data.corpus=synthetic", "base.data.root=null", "base.data.clips=48", "base.data.length_samples=8000",
        "base.train.epochs=null", "base.train.steps=6", "base.train.batch_size=4", "base.train.lr=1e-3",
        "base.train.evaluations=2", "base.calibration_clips=16", "base.timing_steps=3", "base.timing_batch=2",
        "search.trials=1", "controls=[baseline]", "finalists={top: 1, seeds: 2}", "halt={kind: none}", "resources={}",
        "space.layers.max=2",
    ]  # fmt: skip
    if "from" in model:
        kind = PUBLISHED[model["from"]]["model_type"]
        folder = hugging(kind, tmp_path / kind, **(XLSR if "xlsr" in path.stem else {}))
        sets.append(f"base.model.from={folder}")
    else:
        sets.append("base.model.preset=tiny")
    if "data.length_samples" in yaml.safe_load(path.read_text())["space"]:
        sets.append("space.data.length_samples={kind: choice, of: [8000, 12000]}")
    arguments = ["sweep", str(path), "--executor", "inline", "--mlflow", "none", "--out", str(tmp_path / "runs"),
                 "--store", str(tmp_path / "store"), "--cache", str(tmp_path / "cache")]  # fmt: skip
    result = CliRunner().invoke(app, [*arguments, *(part for one in sets for part in ("--set", one))])
    assert result.exit_code == 0, result.output
    (text,) = [one.read_text() for one in (tmp_path / "runs").rglob("report.md")]
    assert "Published figures" in text
    assert "not comparable" in text
    for aim in load_sweep(path).aims:
        assert f"arXiv {aim.source}" in text
