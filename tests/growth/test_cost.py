"""What a frozen step costs, counted rather than timed: exactly what growth needs, and less the later it is."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.freeze import freeze_base_
from plastsearch.growth.survey import find_sites
from tests.exactness import close


def backward_flops(net, x):
    loss = net.train()(x).square().sum()
    with FlopCounterMode(display=False) as counter:
        loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["resnet", "gru", "bigru", "wav2vec2_eager", "wav2vec2_pre_norm"])
def test_backward_is_cheaper_the_later_the_growth(nets, name):
    case = nets.build(name, dtype=torch.float32)
    kinds = [site for site in find_sites(case.net) if "encoder" not in site or site.endswith("ffn")]
    costs = []
    for site in kinds:
        net = copy.deepcopy(case.net)
        add_neurons_(net, {site: 2}, mode="frozen")
        costs.append(backward_flops(net, case.x))
    full = backward_flops(copy.deepcopy(case.net), case.x)
    assert costs == sorted(costs, reverse=True)
    assert costs[0] < full
    assert costs[-1] < 0.2 * full


def test_a_grown_feed_forward_costs_what_the_formula_says(nets):
    """Two FLOPs per multiply: the new rows' weights, the gradient of the new hidden units, nothing of the base."""
    torch.manual_seed(0)
    frames, width, hidden, new = 10, 16, 24, 4

    class Row(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.Identity()
            self.feed_forward = nn.Module()
            self.feed_forward.intermediate_dense = nn.Linear(width, hidden)
            self.feed_forward.intermediate_act_fn = nn.GELU()
            self.feed_forward.intermediate_dropout = nn.Dropout(0.0)
            self.feed_forward.output_dense = nn.Linear(hidden, width)

        def forward(self, x):
            row = self.feed_forward
            return x + row.output_dense(row.intermediate_act_fn(row.intermediate_dense(x)))

    from plastsearch.growth.families.found import encoder_sites
    from plastsearch.growth.site import declare_

    Row.attention = property(lambda self: type("WavLM", (), {"gru_rel_pos_const": 1})())
    net = nn.Sequential(Row(), Row())
    declare_(net, lambda net: encoder_sites(net))
    for layer in (1, 0):
        grown = copy.deepcopy(net)
        add_neurons_(grown, {f"encoder.{layer}.ffn": new}, mode="frozen")
        own = 2 * frames * (width * new + new * width + width * new)  # dW of both layers, d hidden
        above = 2 * frames * 2 * width * hidden if layer == 0 else 0  # d input of the frozen row above
        assert backward_flops(grown, torch.randn(frames, width)) == own + above


def test_a_grown_convolution_costs_what_the_formula_says(nets):
    net = nets.build("resnet", dtype=torch.float32).net
    add_neurons_(net, {"layer2.1": 3}, mode="frozen")
    x = torch.randn(2, 1, 8, 8)
    pixels, width, new, kernel = 2 * 4 * 4, 6, 3, 9
    own = 2 * pixels * kernel * (width * new + 2 * new * width)  # dW of the first, dW and d input of the second
    head = 2 * 2 * 2 * 6  # d input of the linear head
    assert backward_flops(net, x) == own + head


def test_the_head_alone_costs_almost_nothing(nets):
    for name in ("wav2vec2", "hubert", "wavlm", "resnet", "gru"):
        case = nets.build(name, dtype=torch.float32)
        full = backward_flops(copy.deepcopy(case.net), case.x)
        freeze_base_(case.net, ["fc"])
        assert backward_flops(case.net, case.x) < 0.01 * full


def test_cached_activations_give_the_same_step(nets):
    """The frozen prefix's output, stored once, gives the loss and gradients of the whole network."""
    case = nets.build("resnet")
    add_neurons_(case.net, {"layer2.0": 2}, mode="frozen", also=["fc"])
    nets.stir_(case.net)
    case.net.train()
    with torch.no_grad():
        cached = case.net.layer1(case.net.stem(case.x))
    results = []
    for forward in (case.net, lambda _: case.net.fc(case.net.layer2(cached).mean((2, 3)))):
        case.net.zero_grad()
        loss = nn.functional.cross_entropy(forward(case.x), case.labels)
        loss.backward()
        results.append([loss.detach(), *[p.grad.clone() for p in case.net.parameters() if p.grad is not None]])
    for first, second in zip(*results, strict=True):
        close(first, second)


@pytest.mark.parametrize("name", ["resnet", "wav2vec2"])
def test_grown_blocks_compile_without_a_break(nets, name):
    """One graph for a grown layer, as torch.compile(fullgraph=True) demands."""
    case = nets.build(name, dtype=torch.float32)
    site = {"resnet": "layer1.0", "wav2vec2": "encoder.0.ffn"}[name]
    add_neurons_(case.net, {site: 4}, mode="frozen")
    nets.stir_(case.net)
    layer = case.net.layer1[0] if name == "resnet" else case.net.encoder.encoder.layers[0].feed_forward
    x = torch.randn(2, 4, 5, 5) if name == "resnet" else torch.randn(2, 5, 16)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), layer(x))
