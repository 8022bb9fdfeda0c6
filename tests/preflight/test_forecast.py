"""The dry run says which activations will fit: its sizes are those that a trial really keeps."""

import math
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.data.choice import clip_counts
from plastsearch.data.corpus import open_corpus
from plastsearch.models.build import build
from plastsearch.preflight.forecast import Activations, ForecastAnswer, ForecastRequest, kept
from plastsearch.preflight.forecast_child import answer, cut_of, item_bytes
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.data import DataConfig
from plastsearch.trial.run import run_trial

SPACE = """
base: {model: {name: grnn}, data: {corpus: synthetic, clips: 48, length_samples: 8000, crops: 1}, method: dropin}
space:
  layers: {kind: subset, of: "gru.*", min: 1, max: 2}
  neurons: {kind: int, low: 4, high: 8, step: 4}
"""


def config(**changes) -> TrialConfig:
    plain = {
        "model": {"name": "grnn"}, "data": {"clips": 48, "length_samples": 8000, "crops": 1}, "layers": ("gru.1",),
        "neurons": 4, "method": "dropin", "train": {"steps": 24, "batch_size": 8}, "timing_steps": 3, "timing_batch": 2,
    }  # fmt: skip
    return TrialConfig.model_validate(plain | changes)


def forecast(*configs: TrialConfig, cache: Path, most: float | None = 1.0):
    return kept(configs[0], answer(ForecastRequest(configs=configs, cache=cache, cache_max_gb=most)).kept)


@pytest.mark.slow
def test_a_forecast_is_what_a_trial_takes(tmp_path):
    from plastsearch.spec.running import RunSettings

    one = config(data={"clips": 48, "length_samples": 8000, "crops": 1})
    expected = forecast(one, cache=tmp_path)
    list(run_trial(one, RunSettings(store=tmp_path / "store", cache=tmp_path, device="cpu", exclusive_timing=False)))
    held = sum(path.stat().st_size for path in (tmp_path / "prefix").rglob("values.bin"))
    assert list(expected.gb) == ["gru.1"]
    assert held == round(expected.gb["gru.1"] * 1e9)


@pytest.mark.parametrize(("name", "length"), [("wav2vec2", 8000), ("resnet18", 8000), ("grnn", 6000), ("lcnn", 8000)])
def test_sizes_at_every_cut_are_those_of_the_network(name, length):
    import torch

    one = config(model={"name": name}, data={"clips": 48, "length_samples": length})
    module = build(name, "tiny").eval()
    with torch.inference_mode():
        true = {cut: 4 * module.prefix(torch.zeros(1, length), cut).numel() for cut in module.cuts()}
    assert item_bytes(one, module) == true


@pytest.mark.parametrize(
    ("changes", "cut"),
    [
        ({}, "gru.1"),
        ({"regime": "unfrozen"}, None),
        ({"method": "baseline"}, None),
        ({"method": "lora", "layers": ("gru.2",), "neurons": 4}, "gru.2"),
        ({"method": "lora", "lora_on": "all"}, "gru.0"),
        ({"method": "last_k", "last_k": 1}, "gru.2"),
        ({"method": "adalora", "layers": ("gru.1", "gru.2"), "neurons": 4}, "gru.1"),
        ({"method": "lora_growth", "layers": ("gru.1", "gru.2"), "neurons": 4}, "gru.1"),
        ({"method": "adaptive", "layers": ("gru.1", "gru.2"), "neurons": 4}, "gru.1"),
    ],
)
def test_the_cut_is_below_what_learns(changes, cut):
    assert cut_of(config(**changes), build("grnn", "tiny")) == cut


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"regime": "unfrozen"}, "no part of a network is frozen"),
        ({"data": {"clips": 48, "augment": ("spec_masks",)}}, "data.augment makes new waveforms in every epoch"),
    ],
)
def test_where_nothing_is_kept_the_reason_is_said(changes, why, tmp_path):
    found = forecast(config(**changes), cache=tmp_path)
    assert (dict(found.gb), found.text()) == ({}, f"kept activations: none, for {why}")


@pytest.mark.slow
def test_clips_are_counted_without_writing_or_decoding_any(tmp_path):
    data = DataConfig(clips=48)
    view = open_corpus(data, tmp_path)
    assert clip_counts(data) == (len(view.train), len(view.search_dev))


@pytest.mark.parametrize(
    ("most", "precision", "said"),
    [
        (80, "float32", "(float32, 1 crop): 26.1 GB a cut, 12 cuts; 3 fit in 80 GB here (--cache-max-gb) at once"),
        (400, "float32", "; all fit in 400 GB here"),
        (8, "float32", "none fits in 8 GB here (--cache-max-gb): frozen parts will be computed in every step"),
        (80, "bf16", "kept activations (float16, 1 crop): 13.1 GB a cut, 12 cuts; 6 fit"),
    ],
    ids=["some", "all", "none", "half"],
)
def test_what_fits_of_a_base_network_on_a_corpus_of_asvspoof_s_size(most, precision, said, tmp_path):
    model, data = {"name": "wav2vec2", "preset": "base"}, {"clips": 25_380, "crops": 1}
    cuts = [
        config(model=model, data=data, layers=(f"encoder.{i}.ffn",), neurons=64, train={"precision": precision})
        for i in range(12)
    ]
    found = forecast(*cuts, cache=tmp_path, most=most)
    assert found.clips == (25_380, 16_920)
    assert said in found.text()


@pytest.mark.slow
def test_a_dry_run_says_it_and_makes_no_cache_for_it(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    line = ["sweep", str(tmp_path / "space.yaml"), "--dry-run", "--no-finalists", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [*line, "--cache-max-gb", "0.005"], catch_exceptions=False)
    said = " ".join(done.stdout.split())
    assert "kept activations (float32, 1 crop): 914 kB to 1.1 MB a cut, 3 cuts; all fit in 5 MB here" in said
    assert not (tmp_path / "cache").exists()


def test_by_default_half_of_the_free_disk_is_allowed(tmp_path):
    found = forecast(config(), cache=tmp_path / "not" / "there", most=None)
    assert found.budget_gb == pytest.approx(shutil.disk_usage(tmp_path).free / 2e9, rel=0.2)


def test_a_budget_without_end_crosses_to_the_child_and_back(tmp_path):
    asked = ForecastRequest(configs=(TrialConfig(),), cache=tmp_path, cache_max_gb=math.inf)
    assert ForecastRequest.model_validate_json(asked.model_dump_json(by_alias=True)) == asked
    found = ForecastAnswer(kept=Activations(bytes={"gru.1": 4}, half=False, budget=math.inf))
    assert ForecastAnswer.model_validate_json(found.model_dump_json()) == found


def test_parameters_of_sites_to_be_found_are_foretold_where_they_cost_the_same_everywhere():
    """Every feed-forward neuron of 48 features costs 2 × 48 + 1; a recurrent one costs what its reader is like."""
    ffn = {"model": {"name": "wav2vec2"}, "layers": ("encoder.0.ffn", "encoder.3.ffn"), "neurons": 8}
    configs = tuple(config(method="adaptive", **one) for one in (
        ffn, {"model": {"name": "grnn"}, "layers": ("gru.1", "gru.2"), "neurons": 4}))  # fmt: skip
    known, unknown = answer(ForecastRequest(configs=configs)).counts
    assert known is not None
    assert known.params_total - known.params_baseline == 16 * 97
    assert unknown is None
