"""Bad requests say what is wrong and what is possible, before anything has changed."""

import copy

import pytest
import torch
from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.prune import choose, remove_neurons_
from plastsearch.growth.site import conv_pair, declare_, hidden
from plastsearch.growth.survey import find_sites

ADD = [
    ("wav2vec2", {"encoder.0.ffn": 0}, {}, r"'encoder\.0\.ffn' cannot grow by 0: give a whole number above 0"),
    ("wav2vec2", {"encoder.0.ffn": -3}, {}, "cannot grow by -3"),
    ("wav2vec2", {"encoder.0.ffn": 2.5}, {}, r"cannot grow by 2\.5"),
    ("wav2vec2", {"encoder.0.attention": 6}, {}, "multiples of 4, its head width; try 4 or 8"),
    ("wav2vec2", {"encoder.0.head_width": 2}, {}, "multiples of 4, its number of heads; try 4"),
    ("wav2vec2", {"encoder.7.ffn": 4}, {}, r"no site 'encoder\.7\.ffn' in Speech; its sites: encoder\.0\.attention"),
    ("wavlm", {"encoder.0.attention": 4}, {}, "WavLM's attention hands its weights to one fused call"),
    ("wav2vec2", {"encoder.0.ffn": 4}, {"mode": "froze"}, "unknown mode 'froze'; known: frozen, unfrozen"),
    ("wav2vec2", {"encoder.0.ffn": 4}, {"init": "zero"}, "unknown init 'zero'; known: random, orthogonal, pairs"),
    ("wav2vec2", {"encoder.0.ffn": 4}, {"operator": "wide"}, "unknown operator 'wide'"),
    ("gru", {"gru.0": 1}, {"lateral": "none"}, "unknown lateral 'none'"),
    ("gru", {"gru.0": 3}, {"init": "pairs"}, "pairs need an even number of units; 3 is odd"),
    ("resnet", {"layer1.0": 2}, {"init": "net2net"}, "net2net shares out the outgoing weights of the original"),
    ("resnet", {"layer1.0": 2}, {"init": "gradmax"}, "gradmax starts from zero incoming weights"),
    ("wav2vec2", {"encoder.0.ffn": 2}, {"init": "gradmax"}, "gradmax needs `loss`"),
    ("wav2vec2", {"encoder.0.head_width": 4}, {"operator": "parallel"}, r"grow 'encoder\.0\.attention' in parallel"),
    ("wav2vec2", {"encoder.0.head_width": 4}, {"operator": "stack"}, "head width is no layer"),
    ("wav2vec2", {"encoder.0.ffn": 4}, {"also": ["head"]}, "no parameters under 'head'"),
]


@pytest.mark.parametrize(("name", "neurons", "how", "words"), ADD)
def test_growth_that_cannot_be(nets, name, neurons, how, words):
    case = nets.build(name)
    before = copy.deepcopy(case.net)
    with pytest.raises(GrowthError, match=words):
        add_neurons_(case.net, neurons, **{"mode": "frozen", **how})
    assert repr(case.net) == repr(before)
    assert all(torch.equal(a, b) for a, b in zip(case.net.parameters(), before.parameters(), strict=True))
    assert [p.requires_grad for p in case.net.parameters()] == [p.requires_grad for p in before.parameters()]


def test_heads_and_their_width_cannot_both_carry_blocks(nets):
    net = nets.build("wav2vec2").net
    add_neurons_(net, {"encoder.0.attention": 4}, mode="frozen")
    with pytest.raises(GrowthError, match="cannot both carry blocks; fold first"):
        add_neurons_(net, {"encoder.0.head_width": 5}, mode="frozen")
    both = {"encoder.1.attention": 4, "encoder.1.head_width": 4}
    with pytest.raises(GrowthError, match="cannot both carry blocks; fold"):
        add_neurons_(net, both, mode="frozen")
    with pytest.raises(GrowthError, match="fold the network before it grows unfrozen"):
        add_neurons_(net, {"encoder.0.attention": 4}, mode="unfrozen")
    with pytest.raises(GrowthError, match="fold the network first"):
        remove_neurons_(net, {"encoder.0.attention": torch.tensor([0])})


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ([0, 1, 2, 3], "has 4 units; cannot remove 4, one must stay"),
        ([4], "has units 0 to 3: unit 4 does not exist"),
        ([1, 1], "a unit is named twice"),
    ],
)
def test_prunes_that_cannot_be(nets, units, words):
    with pytest.raises(GrowthError, match=words):
        remove_neurons_(nets.build("resnet").net, {"layer1.0": torch.tensor(units)})


@pytest.mark.parametrize(
    ("scores", "count", "pool", "added", "words"),
    [
        ([1.0, float("nan")], 1, "all", 0, "1 of 2 neuron scores are not finite"),
        ([1.0, 2.0], 2, "all", 0, "cannot remove 2 of 2 units"),
        ([1.0, 2.0, 3.0], 2, "added", 1, r"cannot remove 2 of 3 units \(pool 'added' has 1"),
        ([1.0, 2.0], 1, "old", 0, "unknown pool 'old'; known: added, all"),
        ([1.0, 2.0], -1, "all", 0, "cannot remove -1"),
    ],
)
def test_choices_that_cannot_be(scores, count, pool, added, words):
    with pytest.raises(GrowthError, match=words):
        choose(torch.tensor(scores), count, pool, added)


@pytest.mark.parametrize("name", ["encoder.1.stream", "encoder.1", "encoder.hidden_size"])
def test_the_residual_stream_is_refused_with_the_reason(nets, name):
    with pytest.raises(GrowthError, match="LayerNorm averages over the stream"):
        add_neurons_(nets.build("wav2vec2").net, {name: 4})


def test_modules_of_another_kind_are_refused(nets):
    net = nets.build("resnet").net
    with pytest.raises(GrowthError, match=r"layer1\.0\.bn1 is a BatchNorm2d, not a Conv2d"):
        conv_pair(net, "layer1.0", "layer1.0.bn1", None, "layer1.0.conv2", 0)
    with pytest.raises(GrowthError, match=r"no module 'layer1\.7\.conv1'"):
        conv_pair(net, "layer1.7", "layer1.7.conv1", None, "layer1.0.conv2", 0)
    gru = nets.build("gru").net
    with pytest.raises(GrowthError, match=r"only nn\.GRU, nn\.LSTM and nn\.Linear can read"):
        hidden(gru, "gru.0", "layers.0", ["layers"], 0)
    with pytest.raises(GrowthError, match="no multiple of the layer's 4"):
        hidden(gru, "gru.0", "layers.0", ["layers.2"], 0)
    net = nn.Sequential(nn.RNN(3, 4))
    with pytest.raises(GrowthError, match="no site that can grow"):
        find_sites(net)
    declare_(gru, lambda net: [hidden(net, "gru", "layers.0", ["layers.1"], 0)] * 2)
    with pytest.raises(GrowthError, match="declared twice"):
        find_sites(gru)


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
@pytest.mark.parametrize("what", ["layer", "weight", "attention"])
def test_weights_that_stand_elsewhere_too_are_refused(nets, mode, what):
    """Growing them in one place would break the other, or tear a tie apart without a word."""
    net = nets.build("wav2vec2").net
    first, last = (net.encoder.encoder.layers[k] for k in (0, 2))
    if what == "layer":
        last.feed_forward.intermediate_dense = first.feed_forward.intermediate_dense
    elif what == "weight":
        last.feed_forward.intermediate_dense.weight = first.feed_forward.intermediate_dense.weight
    else:
        last.attention = first.attention
    site = "encoder.0.attention" if what == "attention" else "encoder.0.ffn"
    with pytest.raises(GrowthError, match=r"is also .*layers\.2"):
        add_neurons_(net, {site: 4}, mode=mode)
    with pytest.raises(GrowthError, match=r"is also .*layers\.2"):
        remove_neurons_(net, {site: [0]})


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_a_whole_block_used_twice_grows_in_both_places(nets, mode):
    case = nets.build("wav2vec2")
    case.net.encoder.encoder.layers[2] = case.net.encoder.encoder.layers[0]
    before = case.net(case.x)
    add_neurons_(case.net, {"encoder.0.ffn": 3, "encoder.0.attention": 4}, mode=mode)
    torch.testing.assert_close(case.net(case.x), before, rtol=1e-12, atol=1e-12)
    nets.stir_(case.net)
    torch.testing.assert_close(fold(case.net, case.x)(case.x), case.net(case.x), rtol=1e-12, atol=1e-12)


def test_a_recurrent_layer_that_reads_itself_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = self.second = nn.GRU(4, 4, batch_first=True)
            self.fc = nn.Linear(4, 2)

    with pytest.raises(GrowthError, match="first is also second"):
        add_neurons_(Twice(), {"gru.0": 2})


@pytest.mark.parametrize("units", [torch.tensor([True, False]), torch.tensor([0.5]), torch.tensor([[0]]), 3])
def test_units_to_remove_are_indices(nets, units):
    with pytest.raises(GrowthError, match="units to remove are a row of whole numbers"):
        remove_neurons_(nets.build("resnet").net, {"layer1.0": units})


def test_plain_and_foreign_whole_numbers_are_welcome(nets):
    net = nets.build("resnet").net
    dropin = add_neurons_(net, {"layer1.0": torch.ones(3).numpy().astype(int).sum()}, mode="unfrozen", also="fc")
    assert dropin.neurons == {"layer1.0": 3}
    assert remove_neurons_(net, {"layer1.0": [0, 5]}) == {"layer1.0": 5}
    with pytest.raises(GrowthError, match=r"cannot remove 1\.5 units"):
        choose(torch.ones(3), 1.5)
    with pytest.raises(GrowthError, match="one number for each unit"):
        choose(torch.ones(3, 2), 1)
