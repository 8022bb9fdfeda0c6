"""The light CNN with recurrent layers: what was published, that it grows and shrinks, what it refuses."""

import copy
import json

import pytest
import torch
from torch import nn

from plastsearch.errors import GrowthError, PlastsearchError
from plastsearch.growth import add_neurons_, find_sites, fold, grow_kernels_, remove_neurons_, score
from plastsearch.growth.site import Refusal
from plastsearch.models.build import build, from_config, save_pretrained
from plastsearch.models.sites import site_table
from plastsearch.models.widths import widths_of
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.methods import check
from plastsearch.trial.run import run_trial
from tests.exactness import adding_nothing, close, same

GROWN = {"conv.0": 6, "conv.1": 3, "conv.2": 4, "conv.3": 2, "conv.7": 8, "lstm.0": 5}
WAVE = torch.randn(4, 8000, generator=torch.Generator().manual_seed(1))
PUBLISHED = {"bins": 20, "deltas": 2}  # LFCC of 60 rows


def lively(**settings):
    """In float64, with statistics that are not those of a new network, and logits that differ."""
    net = build("lcnn", normalise="none", seed=3, **settings).double()
    g = torch.Generator().manual_seed(2)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(torch.randn(part.num_features, generator=g) / 4)
            part.running_var.copy_(1 + torch.rand(part.num_features, generator=g))
    return net.eval()


@pytest.fixture(scope="module")
def picture():
    return build("lcnn", normalise="none").front_end(WAVE).double()


def logits(net, picture):
    return net.suffix(picture, "features")


def test_base_has_the_parameters_of_the_published_network():
    net = build("lcnn", "base", **PUBLISHED)
    assert sum(parameter.numel() for parameter in net.parameters()) == 269_826
    # The code that its authors released ends in an embedding of 64 numbers and two directions: 275,968 with those.
    assert 269_826 - (96 * 2 + 2) + (96 * 64 + 64) + 64 * 2 == 275_968
    assert [(layer.input_size, layer.hidden_size) for layer in net.lstm] == [(96, 48), (96, 48)]
    assert [block.conv.out_channels for block in net.conv] == [64, 64, 96, 96, 128, 128, 64, 64, 64]


def test_four_times_half_of_the_picture_goes_and_a_way_leads_past_the_recurrent_layers(picture):
    net = lively(pooling="mean_std")
    hidden = net.read(picture)
    rows = []
    for _, block in net.blocks():
        before = hidden
        hidden = net.run_block(block, hidden)
        rows.append(hidden.shape[2])
    assert rows == [20, 20, 10, 10, 5, 5, 5, 5, 2, 16]
    frames = before.permute(0, 3, 1, 2).flatten(2)
    close(hidden, net.lstm[1](net.lstm[0](frames)[0])[0] + frames)
    assert net.head.in_features == 32
    assert logits(net, picture[..., :1]).shape == (4, 2)  # the shortest clip leaves a frame


def test_of_two_maps_the_larger_one_counts_and_a_norm_sees_what_pooling_leaves():
    block = lively().conv[2]
    hidden = torch.randn(3, 8, 5, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    maps = block.conv(hidden)
    larger = torch.maximum(maps[:, :12], maps[:, 12:])[:, :, :4]
    pooled = nn.functional.max_pool2d(larger, 2)
    mean, deviation = (
        one.view(1, -1, 1, 1) for one in (block.norm.running_mean, (block.norm.running_var + block.norm.eps).sqrt())
    )
    close(block(hidden), (pooled - mean) / deviation)


def test_dropout_lies_below_the_recurrent_layers_and_goes_to_the_head_without_them(picture):
    net = lively(dropout=0.7)
    assert (net.lstm.share, net.head_dropout.p) == (0.7, 0.0)
    assert net.plain_config()["dropout"] == 0.7
    net.lstm.train()
    assert not torch.equal(logits(net, picture), logits(net, picture))
    net.truncate_(9)
    assert net.head_dropout.p == net.plain_config()["dropout"] == 0.7


@pytest.mark.parametrize("settings", [{}, {"preset": "base", **PUBLISHED}, {"front_end": "log_mel"}])
def test_the_table_of_sites_is_the_network_s(settings):
    rows = site_table(ModelConfig(name="lcnn", **settings))
    net = build("lcnn", **settings)
    assert {row.name: row.neurons for row in rows} == {name: site.width for name, site in find_sites(net).items()}
    before = sum(parameter.numel() for parameter in net.parameters())
    for row in rows:
        grown = copy.deepcopy(net)
        add_neurons_(grown, {row.name: 1}, mode="unfrozen", generator=torch.Generator().manual_seed(0))
        assert sum(parameter.numel() for parameter in grown.parameters()) - before == row.parameters_per_neuron
    refused = {site.name: site.reason for site in net.declare_sites() if isinstance(site, Refusal)}
    assert list(refused) == ["conv.8", "lstm.1"]
    assert "past the recurrent layers" in refused["conv.8"]
    assert "grow 'lstm.0'" in refused["lstm.1"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_growth_at_all_kinds_of_sites_keeps_the_function_and_folds(picture, mode, training):
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
        where = {name: [key for key in held if key.replace("base.", "") == name][-1] for name in before}
        learnt = [name for name, key in where.items() if not torch.equal(held[key], before[name])]
        assert all(name.startswith("head") for name in learnt)
    folded = fold(net, verify=False).eval()
    close(logits(folded, picture), logits(net.eval(), picture))
    widths = {name: site.width for name, site in find_sites(folded).items()}
    assert widths == {name: site.width + GROWN.get(name, 0) for name, site in find_sites(reference).items()}


def test_new_channels_add_exactly_nothing_at_first(picture):
    net = lively()
    add_neurons_(net, {name: 3 for name in find_sites(net) if name != "lstm.0"}, mode="frozen")
    with adding_nothing(net):
        logits(net, picture)


def test_new_neurons_taken_out_again_leave_what_was_there(picture):
    net = lively()
    reference = copy.deepcopy(net)
    places = {
        name: range(site.width, site.width + GROWN[name]) for name, site in find_sites(net).items() if name in GROWN
    }
    add_neurons_(net, GROWN, mode="unfrozen", generator=torch.Generator().manual_seed(0))
    remove_neurons_(net, places)
    close(logits(net, picture), logits(reference, picture))
    same(net.state_dict(), reference.state_dict())


def test_kernels_grow_where_there_are_some_and_a_shared_one_once(picture):
    net = lively()
    reference = copy.deepcopy(net)
    rings = grow_kernels_(net, {"conv.1": 5, "conv.2": 5}, mode="frozen")
    assert set(rings.after) == {"conv.2.conv"}
    close(logits(net, picture), logits(reference, picture))
    rings.undo_(net)
    same(net.state_dict(), reference.state_dict())


def test_criteria_score_its_units_and_one_wants_norms_with_weights():
    net = lively()
    sites = {name: site for name, site in find_sites(net).items() if name in ("conv.2", "lstm.0")}
    batches = [(WAVE.double(), torch.tensor([0, 1, 0, 1]))]
    loss = nn.CrossEntropyLoss(reduction="none")
    g = torch.Generator().manual_seed(0)
    for criterion, found in score(net, sites, ["taylor", "magnitude", "variance"], batches, loss, g).items():
        for name, units in found.items():
            assert units.shape == (sites[name].units,), criterion
            assert bool(units.isfinite().all())
            assert units.unique().numel() > 1
    with pytest.raises(GrowthError, match=r"bn_gamma' needs BatchNorm with weights; site 'conv.2' has none"):
        score(net, ["conv.2"], ["bn_gamma"], batches, loss, g)


def test_it_is_saved_and_comes_back(tmp_path):
    settings = {"pooling": "mean_std", "masks": 1, "dropout": 0.1}
    net = build("lcnn", normalise="corpus", seed=1, **PUBLISHED, **settings).eval()
    save_pretrained(net, tmp_path / "saved")
    again = build("lcnn", source=str(tmp_path / "saved"), **settings).eval()
    torch.testing.assert_close(again(WAVE), net(WAVE))
    assert again.front_end.n_bins == 60
    short = build("lcnn", seed=1)
    short.truncate_(2)
    assert [name for name, _ in from_config(short.plain_config()).blocks()] == ["conv.0", "conv.1"]
    assert from_config(short.plain_config())(WAVE).shape == (4, 2)
    assert list(find_sites(short)) == ["conv.0"]
    assert widths_of(ModelConfig(name="lcnn"))["channels"] == [8, 8, 12, 12, 16, 16, 8, 8, 8]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"channels": [8, 8]}, "an lcnn has 9 convolutions, not 2"),
        ({"channels": [8] * 8 + [7], "bins": 16}, "needs an even number of channels"),
        ({"bins": 13}, "halves its rows 4 times, so it needs 16 of them, and the front end gives 13"),
        ({"bins": 1000}, "bins: .*less than or equal to 128"),
    ],
)
def test_a_folder_with_another_shape_is_refused(tmp_path, config, words):
    plain = {**build("lcnn").plain_config(), **config}
    (tmp_path / "config.json").write_text(json.dumps(plain))
    with pytest.raises(PlastsearchError, match=words):
        widths_of(ModelConfig.model_validate({"name": "lcnn", "from": str(tmp_path)}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"name": "lcnn", "activation": "lif"}}, "lcnn has no spiking variant"),
        ({"model": {"name": "lcnn", "stem": "half"}}, "it is for resnet18 alone"),
        ({"model": {"name": "lcnn", "front_end": "waveform"}}, "lcnn cannot read 'waveform'"),
        (
            {"model": {"name": "lcnn", "bins": 8}},
            "needs 16 of them, and the front end gives 8; give more bins or deltas",
        ),
        ({"operator": "parallel"}, "blocks of an lcnn halve the picture"),
        ({"method": "stack"}, "use operator widen or ring"),
        ({"method": "adalora"}, "a site of lcnn is a recurrent one"),
        ({"method": "lora_growth"}, "would not hear its adapters"),
        ({"method": "plasticity", "criterion": "bn_gamma"}, "needs BatchNorm with weights; site 'conv.1' has none"),
        ({"train": {"compile": True}}, "lcnn is not compiled"),
        ({"operator": "ring", "kernel": 5, "layers": ["lstm.0"]}, "no kernel that a ring could grow"),
        ({"layers": ["lstm.1"]}, "no site 'lstm.1' in lcnn; its sites: conv.0, .*conv.7, lstm.0"),
    ],
)
def test_what_it_cannot_do_is_said(changes, words):
    plain = {"model": {"name": "lcnn"}, "method": "dropin", "layers": ["conv.1"], "neurons": 4}
    with pytest.raises(PlastsearchError, match=words):
        check(TrialConfig.model_validate({**plain, **changes}))


@pytest.mark.parametrize("regime", ["frozen", "unfrozen"])
def test_a_trial_grows_prunes_and_ends_at_its_first_size(tmp_path, regime):
    config = TrialConfig.model_validate({
        "model": {"name": "lcnn", **PUBLISHED, "masks": 1, "dropout": 0.2},
        "data": {"clips": 40, "length_samples": 4000},
        "train": {"steps": 8, "batch_size": 8}, "method": "plasticity", "regime": regime,
        "layers": ["conv.0", "conv.1", "lstm.0"], "neurons": {"conv.0": 4, "conv.1": 8, "lstm.0": 4},
        "calibration_clips": 8, "timing_steps": 3, "timing_batch": 2,
    })  # fmt: skip
    *_, final = run_trial(config, RunSettings(store=tmp_path / "store", cache=tmp_path / "cache"))
    assert final.metrics["params_final"] == final.metrics["params_baseline"] == 17_634
    assert final.metrics["params_total"] > final.metrics["params_final"]
    if regime == "frozen":
        assert final.metrics["params_trainable"] < final.metrics["params_baseline"]
