"""What is asked for beside the folder is checked before anything is written, and told in a sentence each."""

import pytest

from plastsearch.errors import PlastsearchError
from plastsearch.export import extras, onnx_file
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
        (Extras(onnx=True), "--onnx needs onnxscript 99"),
    ],
)
def test_what_cannot_work_is_refused_first(wanted, said, monkeypatch):
    monkeypatch.setitem(onnx_file.OLDEST, "onnxscript", (99,))
    with pytest.raises(PlastsearchError, match=said):
        wanted.check()


def test_each_is_told_with_the_names_it_has_now(tmp_path, monkeypatch):
    asked = []
    found = OnnxFile(tmp_path / "model.onnx", 2_500_000, 20, Parity(11, (1, 2, 3, 4, 5), 3e-7, 4))
    monkeypatch.setattr(extras, "write_onnx", lambda model, path: asked.append(path) or found)
    monkeypatch.setattr(
        "plastsearch.export.mlflow_model.log_exported",
        lambda model, folder, *rest: (
            asked.append((folder, *rest)) or Logged("ab12", "models:/m-1", "spoofs", "3", "best")
        ),
    )
    monkeypatch.setenv("STORE", "http://someone:secret@mlflow:5000")
    said = write_extras(None, tmp_path, Extras(True, "env:STORE", "spoofs", "best"))
    assert asked == [tmp_path / "model.onnx", (tmp_path, "env:STORE", "spoofs", "best")]
    assert said == [
        f"{tmp_path}/model.onnx: 2.5 MB, opset 20; over 11 clips of 5 other lengths within 3.0e-07 of the network",
        "MLflow at http://…@mlflow:5000: runs:/ab12/model, models:/spoofs/3, models:/spoofs@best",
        "serve it: mlflow models serve -m models:/spoofs@best --env-manager local --port 5001",
    ]
    assert write_extras(None, tmp_path, Extras()) == []
