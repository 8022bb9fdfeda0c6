"""What is asked for beside the folder is checked before anything is written, and told in a sentence each."""

import numpy as np
import pytest
from typer.testing import CliRunner

from plastsearch import load_model
from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.export import extras, mlflow_model, onnx_file
from plastsearch.export.extras import Extras, write_extras
from plastsearch.export.onnx_check import Parity
from plastsearch.export.onnx_file import OnnxFile
from plastsearch.tracking.mlflow_models import Logged


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Extras(register="spoofs"), "--register names a model in MLflow: say in which, with --mlflow ADDRESS"),
        (Extras(mlflow="http://x", alias="best"), "--alias is given to a registered model: add --register NAME"),
        (Extras(mlflow="http://x", register="a:b"), "--register a:b: a model's name has no / : or @"),
        (
            Extras(mlflow="env:NOT_SET_HERE"),
            "--mlflow env:NOT_SET_HERE: the environment variable NOT_SET_HERE is not set",
        ),
        (Extras(mlflow=""), "--mlflow needs an address"),
        (Extras(onnx=True), "--onnx needs onnxscript 99"),
    ],
)
def test_what_cannot_work_is_refused_first(wanted, said, monkeypatch):
    monkeypatch.setitem(onnx_file.OLDEST, "onnxscript", (99,))
    with pytest.raises(PlastsearchError, match=said):
        wanted.check()


def test_each_is_told_with_the_names_it_has_now(tmp_path, monkeypatch):
    asked = []
    found = OnnxFile(tmp_path / "model.onnx", 2_500_000, 20, Parity(11, (1, 2, 3, 4, 5), 3e-7, 4, 2e-6))
    logged = Logged("ab12", "models:/m-1", "spoofs", "3", "best")
    monkeypatch.setattr(extras, "write_onnx", lambda model, path: asked.append(path) or found)
    monkeypatch.setattr(mlflow_model, "log_exported", lambda model, *rest: asked.append(rest) or logged)
    monkeypatch.setenv("STORE", "http://someone:secret@mlflow:5000")
    wanted = Extras(True, "env:STORE", "spoofs", "best")
    assert write_extras(None, tmp_path, wanted) == [
        f"{tmp_path}/model.onnx: 2.5 MB, opset 20; its scores of 11 clips of 5 other lengths are within 2.0e-06 of the "
        "network's",
        "MLflow at http://…@mlflow:5000: runs:/ab12/model, models:/spoofs/3, models:/spoofs@best",
        "serve it: mlflow models serve -m models:/spoofs@best --env-manager local --port 5001",
    ]
    assert asked == [tmp_path / "model.onnx", (tmp_path, "env:STORE", "spoofs", "best")]
    assert write_extras(None, tmp_path, Extras()) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_makes_both_and_the_registered_model_is_a_name_like_any_other(found_root, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    words = ["export", f"{found_root / 'grnn'}:2", str(tmp_path / "out"), "--onnx", "--mlflow", address,
             "--register", "spoofs", "--alias", "champion"]  # fmt: skip
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "models:/spoofs/1, models:/spoofs@champion" in " ".join(done.output.split())
    kept = (tmp_path / "out/SHA256SUMS").read_text()
    assert "  model.onnx\n" in kept
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    wave = np.random.default_rng(0).uniform(-0.4, 0.4, 9_000).astype(np.float32)
    expected = load_model(f"{found_root / 'grnn'}:2", "cpu").score(wave, 16_000)
    assert load_model("models:/spoofs@champion", "cpu").score(wave, 16_000) == expected
