"""Rings around kernels: the function stays, a frozen kernel stays bit for bit, what grew can be cut and saved."""

import copy
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, AdamW

from plastsearch.errors import GrowthError
from plastsearch.growth.checkpoint import GrowthPlan, load_grown_, plan_of, reshape_, save_grown
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold, fold_
from plastsearch.growth.freeze import trainable
from plastsearch.growth.kernels.grow import grow_kernels_
from plastsearch.growth.kernels.rings import GrownKernel, resize_kernel_
from plastsearch.growth.optimizer import COHORT
from plastsearch.growth.paths import at
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.survey import find_sites
from tests.exactness import adding_nothing, close, same

CONVS = ("layer1.0.conv1", "layer1.0.conv2")
layouts = st.fixed_dictionaries(
    {
        "kernel_size": st.sampled_from((3, 5)), "stride": st.sampled_from((1, 2, 3)),
        "dilation": st.sampled_from((1, 2)), "padding": st.sampled_from((0, 1, 2, "valid", "same")),
        "groups": st.sampled_from((1, 2)),
        "padding_mode": st.sampled_from(("zeros", "circular", "reflect", "replicate")), "bias": st.booleans(),
    }
)  # fmt: skip


@given(st.sampled_from((nn.Conv1d, nn.Conv2d)), layouts, st.sampled_from((7, 9)), st.integers(0, 99))
@settings(max_examples=60)
def test_any_convolution_computes_what_it_did(kind, layout, taps, seed):
    """Beside it to the bit, within it to rounding; stride, dilation, groups and every padding are respected."""
    if layout["padding"] == "same":
        layout = layout | {"stride": 1}
    torch.manual_seed(seed)
    dims = 1 if kind is nn.Conv1d else 2
    conv = kind(4, 6, **layout).double()
    x = torch.randn(2, 4, *[23] * dims).double()
    before = conv(x)
    kernel = (taps,) * dims
    block = GrownKernel(conv, kernel)
    assert torch.equal(block(x), before)
    nn.init.normal_(block.ring)
    changed = block(x)
    assert changed.shape == before.shape
    assert not torch.allclose(changed, before)
    wide = copy.deepcopy(conv)
    resize_kernel_(wide, kernel, ring=block)
    close(wide(x), changed)
    small = conv.kernel_size
    resize_kernel_(wide, small)
    same(wide.state_dict(), conv.state_dict())
    close(wide(x), before)
    plain = kind(4, 6, **layout | {"kernel_size": taps, "padding": conv.padding})
    resize_kernel_(conv, kernel)
    close(conv(x), before)
    assert conv.weight.shape == plain.weight.shape
    assert f"kernel_size={kernel}" in repr(conv)


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kernels", [{"layer1.0": 5}, {"layer2.0": 7, "layer1.1": 5}])
def test_the_function_stays(nets, mode, training, kernels):
    case = nets.build("resnet")
    before = copy.deepcopy(case.net).train(training)
    rings = grow_kernels_(case.net, kernels, mode=mode, also=["fc"])
    case.net.train(training)
    if mode == "frozen":
        for part in before.modules():  # whose statistics stay, too
            part.training = part.training and not isinstance(part, nn.BatchNorm2d)
        with adding_nothing(case.net):
            close(case.net(case.x), before(case.x))
    else:
        close(case.net(case.x), before(case.x))
    assert {path: kernel[0] for path, kernel in rings.after.items()} == {
        f"{site}.{conv}": taps for site, taps in kernels.items() for conv in ("conv1", "conv2")
    }


@pytest.mark.parametrize(
    "make", [lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), lambda p: AdamW(p, lr=0.01)]
)
def test_frozen_leaves_the_kernel_bit_for_bit_under_decay_and_momentum(nets, make):
    """Also in an optimiser that held the network before and holds its momentum."""
    case = nets.build("resnet")
    case.net.train()
    optimizer = make(case.net.parameters())
    nets.train_(case, 2, optimizer)
    original = {name: tensor.clone() for name, tensor in case.net.state_dict().items()}
    rings = grow_kernels_(case.net, {"layer1.0": 5}, mode="frozen", optimizer=optimizer)
    optimizer.zero_grad()
    assert [name for name, p in case.net.named_parameters() if p.requires_grad] == list(rings.parameters)
    assert sum(p.numel() for p in trainable(case.net)) == 2 * 4 * 4 * (25 - 9)
    nets.train_(case, 3, optimizer)
    assert all(bool(case.net.get_parameter(name).any()) for name in rings.parameters)
    now = case.net.state_dict()
    same({name: now[name.replace("layer1.0.conv1.", "layer1.0.conv1.base.").replace(
        "layer1.0.conv2.", "layer1.0.conv2.base.")] for name in original}, original)  # fmt: skip
    changed = case.net(case.x)
    whole = fold(case.net, case.x).eval()
    close(whole(case.x), case.net.eval()(case.x))
    assert whole.layer1[0].conv1.weight.shape[2:] == (5, 5)
    rings.undo_(case.net)
    same(case.net.state_dict(), original)
    assert not torch.allclose(case.net(case.x), changed)


def test_unfrozen_rings_learn_and_the_optimiser_follows(nets):
    """Kernel and ring all move; entries of the ring are younger, and the state has the new shape."""
    case = nets.build("resnet")
    case.net.train()
    optimizer = AdamW(case.net.parameters(), lr=1e-2)
    nets.train_(case, 2, optimizer)
    before = case.net.layer1[0].conv1.weight.detach().clone()
    rings = grow_kernels_(case.net, {"layer1.0": 5}, mode="unfrozen", optimizer=optimizer)
    weight = case.net.layer1[0].conv1.weight
    assert rings.parameters == ()
    assert optimizer.state[weight]["exp_avg"].shape == weight.shape
    assert int(optimizer.state[weight][COHORT].sum()) == 4 * 4 * 16
    nets.train_(case, 2, optimizer)
    assert bool((weight[:, :, 0] != 0).all())
    inner = weight[:, :, 1:-1, 1:-1].detach().clone()
    assert not torch.equal(inner, before)
    rings.undo_(case.net, optimizer)
    weight = case.net.layer1[0].conv1.weight
    assert torch.equal(weight, inner)
    assert optimizer.state[weight]["exp_avg"].shape == weight.shape
    nets.train_(case, 1, optimizer)


@given(st.integers(0, 9), st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_saved_and_loaded_after_any_history(nets, tmp_path, seed, data):
    """Rings of both regimes, neurons and pruning in any order; loading gives the same bits and the same that learns."""
    case = nets.build("resnet", seed)
    sites = st.sampled_from(("layer1.0", "layer1.1", "layer2.0", "layer2.1"))
    steps = data.draw(st.lists(st.sampled_from(("ring", "ring in", "neurons", "neurons in", "prune")), max_size=4))
    for taps, step in enumerate(steps):
        site = data.draw(sites)
        mode = "unfrozen" if step.endswith("in") else "frozen"
        if step == "prune":
            remove_neurons_(case.net, {site: [0]})
        elif step.startswith("ring"):
            grow_kernels_(case.net, {site: 2 * taps + 5}, mode=mode)
        else:
            add_neurons_(case.net, {site: 2}, mode=mode)
        nets.stir_(case.net)
        fold_(case.net, case.x)
    add_neurons_(case.net, {"layer1.1": 2}, mode="frozen")
    grow_kernels_(case.net, {"layer2.0": 15}, mode="frozen")
    nets.stir_(case.net)
    save_grown(case.net, tmp_path / "grown")
    again = nets.build("resnet", seed + 1)
    load_grown_(again.net, tmp_path / "grown")
    same(again.net.state_dict(), case.net.state_dict())
    close(again.net(case.x), case.net(case.x))
    assert plan_of(again.net) == plan_of(case.net)
    close(fold_(again.net, case.x)(case.x), case.net(case.x))


def test_a_plan_from_before_rings_is_read(nets):
    """Plans of older versions say nothing of kernels, which then are as the network has them."""
    net = nets.build("resnet").net
    plain = json.loads(plan_of(net).to_json())
    assert plain.pop("kernels")["layer2.0.conv1"] == [3, 3]
    reshape_(net, GrowthPlan.from_json(json.dumps(plain)))
    assert at(net, "layer2.0.conv1").kernel_size == (3, 3)


def test_a_share_of_the_rings_may_stay(nets):
    """The outer ring goes first; what stays is what was learnt there."""
    case = nets.build("resnet")
    rings = grow_kernels_(case.net, {"layer1.0": 7}, mode="unfrozen")
    nets.stir_(case.net)
    learnt = case.net.layer1[0].conv1.weight.detach().clone()
    rings.cut_(case.net, 0.5)
    assert torch.equal(case.net.layer1[0].conv1.weight, learnt[:, :, 1:-1, 1:-1])
    assert case.net.layer1[0].conv1.padding == (2, 2)


@pytest.mark.parametrize(
    ("name", "kernels", "message"),
    [
        ("resnet", {"layer1.0": 4}, "site 'layer1.0': kernel 4: give an odd number of taps, 3 or more"),
        ("resnet", {"layer1.0": 3}, "its kernel has 3 taps already; ask for more than that"),
        ("resnet", {"layer1.0": True}, "give an odd number"),
        ("resnet", {"layer9.0": 5}, "no site 'layer9.0'"),
        ("resnet", {}, "no site was named"),
        ("gru", {"gru.0": 5}, "site 'gru.0' has no kernel that a ring could grow"),
        ("wav2vec2", {"encoder.0.ffn": 5}, "has no kernel that a ring could grow"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(nets, name, kernels, message):
    net = nets.build(name).net
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(GrowthError, match=message):
        grow_kernels_(net, kernels)
    same(net.state_dict(), before)
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_blocks_of_both_kinds_do_not_stand_around_one_layer(nets):
    net = nets.build("resnet").net
    grow_kernels_(net, {"layer1.0": 5})
    with pytest.raises(GrowthError, match="carries grown blocks; fold the network before its kernel grows"):
        grow_kernels_(net, {"layer1.0": 7})
    with pytest.raises(GrowthError, match="carries a ring around its kernel; fold"):
        add_neurons_(net, {"layer1.0": 2})
    with pytest.raises(GrowthError, match="carries grown blocks; fold the network first"):
        remove_neurons_(net, {"layer1.0": [0]})
    fold_(net, verify=False)
    add_neurons_(net, {"layer1.0": 2})
    with pytest.raises(GrowthError, match="carries grown blocks; fold the network before its kernel grows"):
        grow_kernels_(net, {"layer1.0": 7})
    assert find_sites(net)["layer1.0"].units == 6
