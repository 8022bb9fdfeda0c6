"""The plain convolutional network: what it is, that it grows and shrinks like the others, and that it can be used."""

import copy

import pytest
import torch
from torch import nn

from plastsearch.errors import PlastsearchError
from plastsearch.growth import add_neurons_, find_sites, fold, remove_neurons_
from plastsearch.growth.site import Refusal
from plastsearch.models.build import build, from_config, save_pretrained
from plastsearch.models.sites import site_table
from plastsearch.models.widths import widths_of
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.methods import check
from plastsearch.trial.run import run_trial
from tests.exactness import close

GROWN = {"conv.0": 6, "conv.1": 4, "conv.2": 8}
WAVE = torch.randn(4, 8000, generator=torch.Generator().manual_seed(1))


def lively(**settings):
    """In float64, with statistics that are not those of a new network."""
    net = build("cnn", normalise="none", seed=3, **settings).double()
    g = torch.Generator().manual_seed(2)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d) and part.num_features > 1:
            part.running_mean.copy_(torch.randn(part.num_features, generator=g) / 4)
            part.running_var.copy_(1 + torch.rand(part.num_features, generator=g))
    return net.eval()


@pytest.fixture(scope="module")
def picture():
    return build("cnn", normalise="none").front_end(WAVE).double()


def logits(net, picture):
    return net.suffix(picture, "features")


def test_it_halves_the_picture_block_by_block_and_ends_in_frames(picture):
    net = lively(pooling="mean_std")
    hidden = net.read(picture)
    for (_, block), rows in zip(net.blocks(), (32, 16, 8, 4), strict=True):
        hidden = net.run_block(block, hidden)
        assert hidden.shape[2] == rows
    assert net.frames(hidden).shape[2] == 64
    assert net.head.in_features == 128
    assert logits(net, picture[..., :3]).shape == (4, 2)  # the shortest clip leaves a frame


@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_the_table_of_sites_is_the_network_s(preset):
    rows = site_table(ModelConfig(name="cnn", preset=preset))
    net = build("cnn", preset)
    assert {row.name: row.neurons for row in rows} == {name: site.width for name, site in find_sites(net).items()}
    before = sum(parameter.numel() for parameter in net.parameters())
    for row in rows:
        grown = copy.deepcopy(net)
        add_neurons_(grown, {row.name: 1}, mode="unfrozen", generator=torch.Generator().manual_seed(0))
        assert sum(parameter.numel() for parameter in grown.parameters()) - before == row.parameters_per_neuron
    top = [site for site in net.declare_sites() if isinstance(site, Refusal)]
    assert [site.name for site in top] == [f"conv.{len(rows)}"]
    assert "pooling and head" in top[0].reason


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_growth_at_all_sites_together_keeps_the_function_and_folds(picture, mode, training):
    net = lively()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    reference = copy.deepcopy(net)
    add_neurons_(net, GROWN, mode=mode, generator=torch.Generator().manual_seed(0))
    close(logits(net, picture), logits(reference, picture))
    if mode == "frozen":
        learns = [parameter for parameter in net.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learns, lr=0.05)
        net.train(training)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits(net, picture), torch.tensor([0, 1, 0, 1])).backward()
            optimizer.step()
        net.eval()
        held = net.state_dict()
        same = [name for name in before if name in held and not name.startswith("head")]
        assert all(torch.equal(held[name], before[name]) for name in same)
    folded = fold(net, verify=False).eval()
    close(logits(folded, picture), logits(net.eval(), picture))
    assert {name: site.width for name, site in find_sites(folded).items()} == {
        "conv.0": 22, "conv.1": 36, "conv.2": 72
    }  # fmt: skip


def test_new_neurons_taken_out_again_leave_what_was_there(picture):
    net = lively()
    reference = copy.deepcopy(net)
    add_neurons_(net, GROWN, mode="unfrozen", generator=torch.Generator().manual_seed(0))
    remove_neurons_(net, {"conv.0": range(16, 22), "conv.1": range(32, 36), "conv.2": range(64, 72)})
    close(logits(net, picture), logits(reference, picture))
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in reference.state_dict().items())


def test_it_is_saved_and_comes_back(tmp_path, picture):
    net = build("cnn", pooling="mean_std", masks=1, dropout=0.1, normalise="corpus", seed=1).eval()
    save_pretrained(net, tmp_path / "saved")
    again = build("cnn", source=str(tmp_path / "saved"), pooling="mean_std", masks=1, dropout=0.1).eval()
    torch.testing.assert_close(again(WAVE), net(WAVE))
    short = build("cnn", seed=1)
    short.truncate_(2)
    plain = short.plain_config()
    assert [name for name, _ in from_config(plain).blocks()] == ["conv.0", "conv.1"]
    assert widths_of(ModelConfig(name="cnn"))["channels"] == [16, 32, 64, 64]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"name": "cnn", "activation": "lif"}}, "cnn has no spiking variant"),
        ({"model": {"name": "cnn", "stem": "half"}}, "it is for resnet18 alone"),
        ({"model": {"name": "cnn", "front_end": "waveform"}}, "cnn cannot read 'waveform'"),
        ({"operator": "parallel"}, "use operator widen"),
        ({"method": "stack"}, "use operator widen"),
        ({"layers": ["conv.3"]}, "no site 'conv.3' in cnn; its sites: conv.0, conv.1, conv.2"),
    ],
)
def test_what_it_cannot_do_is_said(changes, words):
    plain = {"model": {"name": "cnn"}, "method": "dropin", "layers": ["conv.1"], "neurons": 4}
    with pytest.raises(PlastsearchError, match=words):
        check(TrialConfig.model_validate({**plain, **changes}))


@pytest.mark.parametrize(
    ("operator", "regime"),
    [
        ("widen", "frozen"),
        pytest.param("ring", "frozen", marks=pytest.mark.slow),
        pytest.param("widen", "unfrozen", marks=pytest.mark.slow),
        pytest.param("ring", "unfrozen", marks=pytest.mark.slow),
    ],
)
def test_a_trial_grows_prunes_and_ends_at_its_first_size(tmp_path, regime, operator):
    config = TrialConfig.model_validate({
        "model": {"name": "cnn", "pooling": "mean_std", "masks": 1},
        "data": {"clips": 40, "length_samples": 4000},
        "train": {"steps": 8, "batch_size": 8}, "method": "plasticity", "regime": regime, "operator": operator,
        "layers": ["conv.0", "conv.1"], "neurons": {"conv.0": 4, "conv.1": 8}, "calibration_clips": 8,
        "timing_steps": 3, "timing_batch": 2,
    })  # fmt: skip
    *_, final = run_trial(config, RunSettings(store=tmp_path / "store", cache=tmp_path / "cache"))
    assert final.metrics["params_final"] == final.metrics["params_baseline"] == 60660
    assert final.metrics["params_total"] > final.metrics["params_final"]
    if regime == "frozen":
        assert final.metrics["params_trainable"] < final.metrics["params_baseline"]
