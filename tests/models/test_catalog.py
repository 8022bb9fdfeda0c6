"""The torch-free site table says what the built networks are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from plastsearch.errors import PlastsearchError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build, from_config, save_pretrained
from plastsearch.models.catalog import BINS, PRESETS
from plastsearch.models.frontend import build_front_end
from plastsearch.models.sites import layer_sites, missing_sites, site_table, table_of
from plastsearch.models.widths import SitesUnknownError, widths_of
from plastsearch.spec.model import ModelConfig

VARIANTS = [
    {"name": "wav2vec2"},
    {"name": "resnet18"},
    {"name": "resnet18", "front_end": "lfcc", "pooling": "mean_std"},
    {"name": "grnn"},
    {"name": "grnn", "bidirectional": True, "pooling": "mean_std"},
    {"name": "grnn", "bidirectional": True, "pooling": "attention", "front_end": "log_mel"},
    {"name": "grnn", "preset": "small"},
    {"name": "cnn", "preset": "small"},
    {"name": "lcnn"},
    {"name": "lcnn", "bins": 20, "deltas": 2, "preset": "base"},
]
ALL_PRESETS = [(name, preset) for name, presets in PRESETS.items() for preset in presets]


def built(model: ModelConfig) -> torch.nn.Module:
    return build(
        model.name,
        model.preset,
        front_end=model.front_end,
        pooling=model.pooling,
        bidirectional=model.bidirectional,
        bins=model.bins,
        deltas=model.deltas,
    )


@pytest.mark.parametrize("values", VARIANTS, ids=lambda v: "-".join(map(str, v.values())))
def test_the_table_equals_the_sites_of_the_built_network(values: dict) -> None:
    model = ModelConfig.model_validate(values)
    found = find_sites(built(model))
    said = [(row.name, row.kind, row.units, row.step, row.neurons) for row in site_table(model)]
    assert said == [(name, site.kind, site.units, site.step, site.width) for name, site in found.items()]


@pytest.mark.parametrize("values", VARIANTS, ids=lambda v: "-".join(map(str, v.values())))
def test_parameters_per_neuron_are_the_real_difference(values: dict) -> None:
    model = ModelConfig.model_validate(values)
    network = built(model)
    table = site_table(model)
    for row in table[:3] + table[-3:]:
        before = sum(parameter.numel() for parameter in network.parameters())
        grown = built(model)
        add_neurons_(grown, {row.name: row.step}, mode="unfrozen", generator=torch.Generator().manual_seed(0))
        after = sum(parameter.numel() for parameter in grown.parameters())
        assert (after - before) / row.step == row.parameters_per_neuron, row.name


@pytest.mark.parametrize(("name", "preset"), ALL_PRESETS)
def test_every_preset_has_a_table_with_whole_heads(name: str, preset: str) -> None:
    rows = site_table(ModelConfig.model_validate({"name": name, "preset": preset}))
    assert len({row.name for row in rows}) == len(rows) >= 3
    widths = PRESETS[name][preset]
    if name == "wav2vec2":
        assert widths["hidden_size"] % widths["num_attention_heads"] == 0


def test_base_shapes_are_the_published_ones() -> None:
    ffn = {row.name: row for row in site_table(ModelConfig(preset="base"))}["encoder.11.ffn"]
    assert (ffn.neurons, ffn.parameters_per_neuron) == (3072, 2 * 768 + 1)
    heads = {row.name: row for row in site_table(ModelConfig(preset="base"))}["encoder.0.attention"]
    assert (heads.units, heads.step) == (12, 64)


@pytest.mark.parametrize("kind", BINS)
def test_bins_are_what_the_front_end_gives(kind: str) -> None:
    assert build_front_end(kind, 16_000, bins=BINS[kind])(torch.randn(1, 16_000)).shape[1] == BINS[kind]


@pytest.mark.parametrize("name", PRESETS)
def test_a_saved_folder_gives_the_same_table(name: str, tmp_path: Path) -> None:
    save_pretrained(build(name), tmp_path / "model")
    saved = site_table(ModelConfig.model_validate({"name": name, "from": str(tmp_path / "model")}))
    assert saved == site_table(ModelConfig.model_validate({"name": name}))


def test_a_truncated_network_has_the_table_of_its_config() -> None:
    for name, count in (("wav2vec2", 2), ("resnet18", 5), ("grnn", 2)):
        network = build(name)
        network.truncate_(count)
        assert [row.name for row in table_of(network.plain_config())] == list(find_sites(network))
        assert list(find_sites(from_config(network.plain_config()))) == list(find_sites(network))


def folder(tmp_path: Path, **config: object) -> str:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps(config))
    return str(tmp_path)


def test_wavlm_folders_say_why_attention_is_missing(tmp_path: Path) -> None:
    model = ModelConfig.model_validate({"name": "wav2vec2", "from": folder(tmp_path, model_type="wavlm")})
    assert [row.kind for row in site_table(model)] == ["ffn"] * 12
    assert "so that heads cannot be added" in missing_sites(model)[0]


def test_a_hub_name_is_known_once_its_download_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    model = ModelConfig.model_validate({"name": "wav2vec2", "from": "someone/encoder"})
    with pytest.raises(SitesUnknownError, match="only known once its weights are here"):
        site_table(model)
    download = tmp_path / "models--someone--encoder"
    (download / "refs").mkdir(parents=True)
    (download / "refs" / "main").write_text("abc")
    (download / "snapshots").mkdir()
    folder(download / "snapshots" / "abc", model_type="hubert", num_hidden_layers=2)
    (download / "snapshots" / "abc" / "model.safetensors").touch()
    assert len(site_table(model)) == 6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "grnn", "front_end": "waveform"}, "grnn cannot read 'waveform'; it reads a spectrogram or cepstra"),
        ({"name": "wav2vec2", "front_end": "lfcc"}, "wav2vec2 cannot read 'lfcc'; it reads the waveform itself"),
    ],
)
def test_a_front_end_that_does_not_fit_is_refused(values: dict, message: str) -> None:
    with pytest.raises(PlastsearchError, match=message):
        widths_of(ModelConfig.model_validate(values))


def test_folders_that_are_no_such_model_are_refused(tmp_path: Path) -> None:
    for name, config in (("resnet18", {"model_type": "hubert"}), ("wav2vec2", {"model_type": "bert"})):
        model = ModelConfig.model_validate({"name": name, "from": folder(tmp_path, **config)})
        with pytest.raises(PlastsearchError, match=f"model_type '{config['model_type']}' is no {name}"):
            site_table(model)


def test_layer_sites_gather_the_sites_of_a_block() -> None:
    blocks = layer_sites(site_table(ModelConfig()))
    assert blocks["encoder.3"] == ["encoder.3.attention", "encoder.3.head_width", "encoder.3.ffn"]


def test_the_command_needs_no_torch_and_gives_one_document() -> None:
    code = (
        "import sys; from plastsearch.cli.search.sites import sites; sites('wav2vec2', 'base', None, False, True);"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    document = json.loads(run.stdout)
    assert len(document["sites"]) == 36
    assert document["sites"][2] == {
        "name": "encoder.0.ffn",
        "kind": "ffn",
        "neurons": 3072,
        "kernel": None,
        "units": 3072,
        "step": 1,
        "counts": "intermediate units",
        "parameters_per_neuron": 1537,
    }
