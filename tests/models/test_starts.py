"""Starts that come along: under their name everywhere, without a network, known by what they hold."""

import hashlib
import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from plastsearch.errors import PlastsearchError
from plastsearch.models.build import build
from plastsearch.models.sites import site_table
from plastsearch.models.widths import COME_ALONG, local_folder
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.starts import STARTS
from plastsearch.trial.keys import weights_id


@pytest.mark.parametrize("name", STARTS)
def test_a_start_is_what_its_digest_says_and_small(name):
    weights = COME_ALONG / name / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest().startswith(STARTS[name])
    assert weights.stat().st_size < 1_000_000
    assert {path.name for path in COME_ALONG.iterdir() if path.is_dir()} == set(STARTS)


def test_the_name_means_the_folder_in_the_package(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert local_folder("tiny-speech") == COME_ALONG / "tiny-speech"
    names = [row.name for row in site_table(ModelConfig(from_="tiny-speech"))]
    assert "encoder.5.ffn" in names
    kept = load_file(COME_ALONG / "tiny-speech" / "model.safetensors")
    loaded = build("wav2vec2", source="tiny-speech").backbone.state_dict()
    key = "encoder.layers.3.feed_forward.intermediate_dense.weight"
    assert (loaded[key].numpy() == kept[key]).all()


def test_its_content_is_part_of_what_a_trial_is(monkeypatch):
    config = TrialConfig(model=ModelConfig(from_="tiny-speech"))
    before = config.trial_id()
    assert weights_id("tiny-speech") == weights_id(str(COME_ALONG / "tiny-speech"))
    monkeypatch.setitem(STARTS, "tiny-speech", "0" * 16)
    assert config.trial_id() != before
    assert "weights" not in ModelConfig(from_="owner/other").identity()


def test_a_folder_of_that_name_goes_first(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-speech").mkdir()
    assert local_folder("tiny-speech").resolve() == tmp_path / "tiny-speech"


def test_it_is_no_start_for_another_network():
    with pytest.raises(PlastsearchError, match="model_type 'wav2vec2' is no grnn"):
        build("grnn", source="tiny-speech")


def test_its_record_names_no_place():
    record = json.loads((COME_ALONG / "tiny-speech" / "pretraining.json").read_text())
    assert record["plan"]["model"]["from"] is None
    assert record["clips"] > 2000
    assert str(Path.home()) not in json.dumps(record)
