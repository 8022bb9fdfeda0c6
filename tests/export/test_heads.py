"""A head leaves the house with its encoder: as a folder of ours, for transformers, as ONNX, and explained."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from plastsearch import load_model
from plastsearch.explain.inputs import Inputs
from plastsearch.explain.relevance import Settings, explain
from plastsearch.export.export import Asked, export
from plastsearch.export.mlflow_model import _copy_code
from plastsearch.export.onnx_check import TOLERANCE
from plastsearch.export.onnx_file import write_onnx
from plastsearch.models.heads.table import HEADS
from tests.export.made_models import clips_in, encoder, grown, model_of
from tests.export.test_onnx import model_of as onnx_model_of

JUDGED = [(head, "last") for head in HEADS] + [("linear", "weighted_sum")]


@pytest.mark.parametrize(
    ("head", "layers_in"), [one if one[0] == "mhfa" else pytest.param(*one, marks=pytest.mark.slow) for one in JUDGED]
)
def test_a_folder_is_a_model_itself_and_opens_in_transformers(head, layers_in, tmp_path, monkeypatch):
    from transformers import AutoModelForAudioClassification

    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    network = grown(encoder("wav2vec2", head=head, layers_in=layers_in), {"encoder.0.ffn": 5})
    model = model_of(network, calibrated=True)
    clip = clips_in(tmp_path)[1]
    exported = export(model, tmp_path / "out", Asked())
    said = "its head is" if layers_in == "last" else "its head reads a mix of all layers"
    assert any(said in note for note in exported.notes)
    score = model.score(clip).score
    assert load_model(str(tmp_path / "out")).score(clip).score == pytest.approx(score, rel=1e-6, abs=1e-5)
    theirs = AutoModelForAudioClassification.from_pretrained(tmp_path / "out" / "transformers", trust_remote_code=True)
    wave = torch.randn(2, 9_600, generator=torch.Generator().manual_seed(1)) / 10
    with torch.inference_mode():
        normal = network.normalized(wave)
        logits = theirs.eval()(input_values=normal).logits
    expected = 1.7 * (network(wave)[:, 1] - network(wave)[:, 0]) - 0.4
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], expected.detach(), rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("head", "layers_in"), JUDGED)
def test_an_onnx_file_scores_clips_of_other_lengths_as_the_network_does(head, layers_in, tmp_path):
    network = encoder("wav2vec2", head=head, layers_in=layers_in, num_hidden_layers=1)
    written = write_onnx(onnx_model_of(network), tmp_path / "model.onnx")
    assert written.parity.worst <= TOLERANCE
    assert len(written.parity.lengths) >= 5


@pytest.mark.parametrize(
    ("head", "layers_in"),
    [("mhfa", "last"), ("linear", "weighted_sum"), pytest.param("aasist", "last", marks=pytest.mark.slow)],
)
def test_each_way_to_explain_works_with_a_head(head, layers_in):
    inputs = Inputs(encoder("wav2vec2", head=head, layers_in=layers_in))
    read = inputs.read(torch.from_numpy(np.random.default_rng(2).standard_normal((1, 8000)).astype(np.float32)))[0]
    for method in ("attention", "grad-cam", "integrated-gradients"):
        found = explain(inputs, method, read, Settings(steps=4))
        assert found.map.shape == (1, read.shape[1])
        assert found.map.isfinite().all()
        assert found.map.any()
    assert found.missed is not None
    if head != "aasist":  # whose graphs drop nodes: the score jumps along the path, and the report says by how much
        assert found.missed < 0.2  # integrated gradients add up to the way that the score goes


def test_code_beside_an_mlflow_model_holds_the_heads(tmp_path):
    """Every network is loaded by way of the encoders' file, which imports them."""
    _copy_code(tmp_path / "plastsearch")
    copied = {path.name for path in (tmp_path / "plastsearch" / "models" / "heads").iterdir()}
    assert {"__init__.py", "table.py", "back_end.py", "aasist.py"} <= copied
    done = subprocess.run(
        [sys.executable, "-c", "import plastsearch.models.build as b; print(b.__file__)"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
