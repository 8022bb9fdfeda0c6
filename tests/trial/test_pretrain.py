"""A pretrained start of one's own: learnt on clips, kept as a folder that `model.from` takes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.data.clips import ClipSet
from plastsearch.data.corpus import open_corpus
from plastsearch.errors import PlastsearchError
from plastsearch.models.build import build
from plastsearch.models.masked import MaskedPretraining, _others, _spans
from plastsearch.models.sites import site_table
from plastsearch.spec.data import DataConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.trial.pretrain import Objective, Pretraining, pretrain
from tests.trial.conftest import AS_TRAINED

SHORT = {"steps": 3, "batch_size": 8, "length_samples": 8000}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips(cache: Path) -> ClipSet:
    return open_corpus(DataConfig(clips=48, length_samples=8000), cache).train


def test_a_contrastive_start_is_an_ordinary_transformers_folder(clips: ClipSet, tmp_path: Path) -> None:
    from transformers import AutoModel

    reports = list(pretrain(ModelConfig(), clips, Pretraining(**SHORT), tmp_path / "start", CPU))
    assert reports[-1]["step"] == 3
    _, notes = AutoModel.from_pretrained(tmp_path / "start", output_loading_info=True)
    assert not notes["missing_keys"]
    assert not notes["unexpected_keys"]
    config = ModelConfig.model_validate({"name": "wav2vec2", "from": str(tmp_path / "start")})
    assert site_table(config) == site_table(ModelConfig())
    started, fresh = build("wav2vec2", source=str(tmp_path / "start")), build("wav2vec2")
    key = "backbone.encoder.layers.0.attention.q_proj.weight"
    assert not torch.equal(started.state_dict()[key], fresh.state_dict()[key])
    record = json.loads((tmp_path / "start" / "pretraining.json").read_text())
    assert record["clips_fingerprint"] == clips.fingerprint
    assert record["history"] == reports


@pytest.mark.parametrize("objective", ["contrastive", "supervised"])
def test_the_same_seed_gives_the_same_start(objective: Objective, clips: ClipSet, tmp_path: Path) -> None:
    """Dropout included."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        plan = Pretraining(objective, **SHORT, seed=seed)
        list(pretrain(ModelConfig(dropout=0.1), clips, plan, tmp_path / name, CPU))
    weights = {name: load_file(tmp_path / name / "model.safetensors") for name in "abc"}
    assert apart(weights["a"], weights["b"]) < AS_TRAINED
    assert apart(weights["a"], weights["c"]) > 0.01


def test_a_stem_can_stay_as_it_came(clips: ClipSet, tmp_path: Path) -> None:
    list(pretrain(ModelConfig(), clips, Pretraining("supervised", **SHORT), tmp_path / "first", CPU))
    again = ModelConfig.model_validate({"name": "wav2vec2", "from": str(tmp_path / "first")})
    list(pretrain(again, clips, Pretraining("supervised", **SHORT, train_stem=False), tmp_path / "next", CPU))
    first, after = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "next"))
    moved = {name for name in first if not torch.equal(first[name], after[name])}
    assert any(name.startswith("encoder.layers.0.") for name in moved)
    assert not {name for name in moved if not name.startswith(("encoder.layers.", "encoder.layer_norm"))}


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of two weights; softmax ignores a key's bias, whose gradient is rounding alone."""
    assert one.keys() == other.keys()
    return max(float((one[key] - other[key]).abs().max()) for key in one if not key.endswith("k_proj.bias"))


@pytest.mark.parametrize("name", ["wav2vec2", "resnet18", "grnn"])
def test_every_network_can_start_from_labels(name: str, clips: ClipSet, tmp_path: Path) -> None:
    plan = Pretraining("supervised", **SHORT)
    list(pretrain(ModelConfig.model_validate({"name": name}), clips, plan, tmp_path / "start", CPU))
    wave = torch.randn(2, 8000)
    started = build(name, source=str(tmp_path / "start")).eval()
    assert not torch.equal(started(wave), build(name).eval()(wave))


def test_masks_cover_about_half_and_others_are_masked_frames_of_the_same_clip() -> None:
    generator = torch.Generator().manual_seed(0)
    mask = _spans(50, 49, generator)
    assert 0.4 < mask.float().mean() < 0.6
    assert (mask.sum(1) >= 2).all()
    assert (_spans(200, 5, generator).sum(1) >= 2).all()
    others = _others(mask, generator)
    assert mask.flatten()[others].all()
    assert torch.equal(others // 49, torch.arange(50)[:, None, None].expand_as(others))


def test_the_task_of_a_network_that_knows_nothing_is_at_chance() -> None:
    module = MaskedPretraining(build("wav2vec2"))
    loss, hits = module(torch.randn(8, 16_000), torch.Generator().manual_seed(0), temperature=1.0)
    assert loss.item() == pytest.approx(3.04, abs=0.5)  # log 21, and the small term for unused codes
    assert hits < 0.2


def test_mistakes_are_refused_before_any_work(clips: ClipSet, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(PlastsearchError, match="exists and is not empty"):
        next(pretrain(ModelConfig(), clips, Pretraining(), tmp_path / "full", CPU))
    with pytest.raises(PlastsearchError, match="grnn can be pretrained 'supervised'"):
        next(pretrain(ModelConfig(name="grnn"), clips, Pretraining(), tmp_path / "new", CPU))
    one_class = clips.select((clips.labels == 1).nonzero()[0])
    with pytest.raises(PlastsearchError, match="both classes"):
        next(pretrain(ModelConfig(), one_class, Pretraining("supervised"), tmp_path / "new", CPU))


@pytest.mark.slow
def test_the_command_writes_a_folder_and_one_document(cache: Path, tmp_path: Path) -> None:
    arguments = [
        "pretrain",
        str(tmp_path / "start"),
        "--most",
        "48",
        "--steps",
        "2",
        "--batch",
        "4",
        "--cache",
        str(cache),
    ]
    result = CliRunner().invoke(app, [*arguments, "--length-s", "0.5", "--json", "--quiet"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["step"] == 2
    assert (tmp_path / "start" / "config.json").is_file()
    another = ["pretrain", str(tmp_path / "another"), *arguments[2:], "--objective", "contrast"]
    with pytest.raises(PlastsearchError, match="unknown objective 'contrast'; known: contrastive, supervised"):
        CliRunner().invoke(app, another, catch_exceptions=False)


def test_a_start_is_not_made_from_the_clips_that_trials_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generated corpora of `pretrain` and of trials differ by default."""
    asked: list[DataConfig] = []

    def noted(data: DataConfig, cache: Path) -> None:
        asked.append(data)
        raise PlastsearchError("seen")

    monkeypatch.setattr("plastsearch.data.corpus.open_corpus", noted)
    for more in ((), ("--data-seed", "7")):
        with pytest.raises(PlastsearchError, match="seen"):
            CliRunner().invoke(app, ["pretrain", str(tmp_path / "start"), *more], catch_exceptions=False)
    assert [data.seed for data in asked] == [1, 7]
    assert DataConfig().seed == 0
