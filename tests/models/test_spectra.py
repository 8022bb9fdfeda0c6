"""Laws of what a network reads of a front end: normalisation, slopes, stems, masks, and the cut behind it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plastsearch.errors import GrowthError, PlastsearchError
from plastsearch.models.build import build, save_pretrained
from plastsearch.models.detector import FEATURES, Masks
from plastsearch.models.frontend import build_front_end, slopes
from plastsearch.models.sites import site_table
from plastsearch.models.widths import widths_of
from plastsearch.spec.model import ModelConfig
from tests.exactness import close


def waves(clips: int = 4, samples: int = 8000, seed: int = 1) -> Tensor:
    return torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed)) * torch.linspace(0.1, 1, samples)


@pytest.mark.parametrize("deltas", [0, 2])
def test_statistics_of_the_corpus_leave_each_bin_around_zero_over_its_clips(deltas: int) -> None:
    front_end = build_front_end("lfcc", normalise="corpus", deltas=deltas)
    clips = [waves(seed=seed) for seed in range(3)]
    front_end.measure_(clips)
    value_FN = torch.cat([front_end(wave_BT) for wave_BT in clips]).transpose(0, 1).flatten(1)
    assert len(value_FN) == front_end.n_bins == 40 * (1 + deltas)
    assert value_FN.mean(1).abs().max() < 1e-4
    assert (value_FN.std(1, correction=0) - 1).abs().max() < 1e-3
    # One clip by itself is not around zero: what it has apart from others is left in it.
    assert front_end(clips[0][:1]).mean(2).abs().max() > 0.02


def test_a_bin_that_never_moves_stays_finite() -> None:
    front_end = build_front_end("log_mel", normalise="corpus")
    front_end.measure_([torch.zeros(2, 8000)])
    assert front_end(waves()).isfinite().all()


def test_slopes_of_a_ramp_are_its_steepness_and_of_a_constant_nothing() -> None:
    ramp = 3.0 * torch.arange(20.0).expand(1, 2, 20)
    close(slopes(ramp)[..., 2:-2], torch.full((1, 2, 16), 3.0))
    assert torch.equal(slopes(torch.full((1, 2, 20), 7.0)), torch.zeros(1, 2, 20))


@pytest.mark.parametrize(("stem", "rows"), [("quarter", 16), ("half", 32), ("whole", 64)])
def test_a_stem_leaves_the_share_of_the_picture_that_it_is_named_for(stem: str, rows: int) -> None:
    hidden = build("resnet18", stem=stem).eval().stem(waves())
    assert hidden.shape[2] == rows
    assert abs(hidden.shape[3] - 51 * rows / 64) <= 1


def test_small_presets_keep_half_of_the_picture_and_large_and_spiking_ones_are_as_published() -> None:
    plain = {preset: widths_of(ModelConfig(name="resnet18", preset=preset)) for preset in ("tiny", "small", "base")}
    assert [one.get("stem", "quarter") for one in plain.values()] == ["half", "half", "quarter"]
    assert widths_of(ModelConfig(name="resnet18", activation="lif")).get("stem", "quarter") == "quarter"
    kernel = build("resnet18", "base").state_dict()["conv1.weight"]
    assert tuple(kernel.shape) == (64, 1, 7, 7)


def test_masks_hide_bands_of_rows_and_frames_in_training_alone() -> None:
    masks = Masks(2)
    image = torch.ones(64, 1, 40, 100)
    assert torch.equal(masks.eval()(image), image)
    torch.manual_seed(0)
    seen = masks.train()(image)[:, 0]
    torch.manual_seed(0)
    assert torch.equal(masks(image)[:, 0], seen)
    rows, frames = (seen == 0).all(2).sum(1), (seen == 0).all(1).sum(1)
    assert rows.max() <= 2 * 40 // 8
    assert frames.max() <= 2 * 100 // 10
    assert len(rows.unique()) > 4  # each clip has its own
    assert 0.02 < (seen == 0).float().mean() < 0.3


@pytest.mark.parametrize(
    ("name", "choices"),
    [("resnet18", {}), ("grnn", {"deltas": 1}), ("resnet18", {"activation": "lif"}), ("grnn", {"normalise": "clip"})],
)
def test_cut_behind_the_front_end_it_gives_the_same_logits(name: str, choices: dict[str, Any]) -> None:
    network = build(name, **choices).eval()
    close(network.suffix(network.prefix(waves(), FEATURES), FEATURES), network(waves()))


def test_a_network_that_reads_the_waveform_has_no_such_cut() -> None:
    network = build("wav2vec2").eval()
    assert not network.has_front_end
    with pytest.raises(GrowthError, match="no cut 'features'"):
        network.prefix(waves(), FEATURES)
    with pytest.raises(GrowthError, match="has no front end"):
        network.suffix(waves(), FEATURES)


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [("normalise", "wav2vec2", "clip"), ("deltas", "wav2vec2", 1), ("masks", "wav2vec2", 2), ("stem", "grnn", "half")],
)
def test_what_a_network_does_not_have_is_refused_with_those_that_do(setting: str, name: str, value: Any) -> None:
    for ask in (
        lambda: build(name, **{setting: value}),
        lambda: site_table(ModelConfig(name=name, **{setting: value})),
    ):
        with pytest.raises(PlastsearchError, match=rf"model\.{setting}: {name} has nothing .* it is for "):
            ask()


@pytest.mark.parametrize("normalise", ["none", "corpus", "clip"])
def test_a_folder_brings_its_choices_and_statistics_and_others_are_refused(normalise: str, tmp_path: Path) -> None:
    network = build("grnn", normalise=normalise, deltas=1).eval()
    if normalise == "corpus":
        network.front_end.measure_([waves(seed=5)])
    save_pretrained(network, tmp_path / "net")
    again = build("grnn", source=str(tmp_path / "net")).eval()
    assert torch.equal(again(waves()), network(waves()))
    assert widths_of(ModelConfig(name="grnn", from_=str(tmp_path / "net")))["deltas"] == 1
    other = "clip" if normalise != "clip" else "none"
    with pytest.raises(PlastsearchError, match=f"were trained with '{normalise}', not '{other}'"):
        build("grnn", source=str(tmp_path / "net"), normalise=other)


def test_slopes_cost_the_first_recurrent_layer_what_the_table_says() -> None:
    counts = [sum(p.numel() for p in build("grnn", deltas=deltas).gru[0].parameters()) for deltas in (0, 2)]
    assert counts[1] - counts[0] == 3 * 48 * 80
    rows = [site_table(ModelConfig(name="grnn", deltas=deltas))[0].parameters_per_neuron for deltas in (0, 2)]
    assert rows[1] - rows[0] == 3 * 80
