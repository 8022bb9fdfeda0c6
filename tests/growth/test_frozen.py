"""Frozen means: no parameter and no buffer of the original moves, and no gradient goes where none is needed."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import AdamW

from plastsearch.errors import GrowthError
from plastsearch.growth.chunked import chunk_paths
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.freeze import freeze_base_, learn_only_, logical_names, train_sites_, trainable, unfreeze_
from plastsearch.growth.paths import at
from plastsearch.growth.resize import entries
from plastsearch.growth.survey import find_sites
from tests.exactness import FAMILIES, close, same
from tests.growth.conftest import ONE_OF_EACH


def tensors(net):
    """All tensors of the ordinary modules by the names they have without grown blocks."""
    named = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    return {name: named[name].detach().clone() for name in named}


@given(st.sampled_from(FAMILIES), st.sampled_from(("widen", "parallel", "stack")), st.booleans(), st.data())
@settings(max_examples=25)
def test_the_original_is_bit_identical_after_training(nets, name, operator, head, data):
    case = nets.build(name)
    original = tensors(case.net)
    kinds = "ffn" if name in ("wavlm",) else data.draw(st.sampled_from(("ffn", "attention")))
    sites = [s for s in find_sites(case.net) if "encoder" not in s or s.endswith(kinds)]
    chosen = data.draw(st.lists(st.sampled_from(sites), min_size=1, unique=True))
    steps = {site: 2 * find_sites(case.net)[site].step for site in chosen}
    add_neurons_(case.net, steps, mode="frozen", operator=operator, also=["fc"] if head else [])
    optimizer = AdamW(trainable(case.net), lr=1e-2, weight_decay=0.1)
    for training in (True, False, True):
        case.net.train(training)
        nets.train_(case, 2, optimizer)
    now = tensors(case.net)
    logical = {logical_name(case.net, key): key for key in now}
    moved = [key for key, tensor in original.items() if not torch.equal(now[logical[key]], tensor)]
    assert moved == (["fc.weight", "fc.bias"] if head else [])


def logical_name(net, name):
    """A tensor's name without the steps into grown blocks' bases; new tensors keep a name of their own."""
    parts, found = [], net
    for part in name.split("."):
        inside = getattr(type(found), "wraps_base", False)
        if not (inside and part == "base"):
            parts.append(f"new:{part}" if inside else part)
        found = getattr(found, part)
    return ".".join(parts)


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm"])
def test_no_gradient_below_the_first_grown_layer(nets, name):
    """The feature encoders' flag would let autograd run back to the waveform; frozen networks have it off."""
    case = nets.build(name)
    case.net.train()
    counts = {}
    for layer in range(3):
        net = copy.deepcopy(case.net)
        add_neurons_(net, {f"encoder.{layer}.ffn": 4}, mode="frozen")
        counts[layer] = operations(net(case.x))
    probe = copy.deepcopy(case.net)
    freeze_base_(probe, ["fc"])
    counts["probe"] = operations(probe(case.x))
    trapped = copy.deepcopy(case.net)
    for parameter in trapped.encoder.parameters():
        parameter.requires_grad_(False)
    counts["trap"] = operations(trapped(case.x))
    assert counts["probe"] <= 4
    assert counts["probe"] < counts[2] < counts[1] < counts[0] < counts["trap"]
    assert counts[2] <= 25


def operations(output):
    """Nodes of the backward graph that compute something."""
    seen, todo = set(), [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [child for child, _ in node.next_functions]
    return sum("AccumulateGrad" not in type(node).__name__ for node in seen)


def test_gradient_stops_at_the_first_grown_layer(nets):
    """The graph of a grown network is that of its upper part alone, fed with the activations below."""
    for name, site, low in (("resnet", "layer2.0", "layer2"), ("gru", "gru.1", "layers.1")):
        case = nets.build(name)
        add_neurons_(case.net, {site: 2}, mode="frozen")
        case.net.train()
        entered = []
        case.net.get_submodule(low).register_forward_pre_hook(lambda _, args, entered=entered: entered.append(args[0]))
        case.net(case.x)
        assert not entered[0].requires_grad


@given(
    st.sampled_from(ONE_OF_EACH),
    st.data(),
)
@settings(max_examples=40)
def test_gradients_are_those_of_the_folded_network(nets, name, data):
    """In float64, for one-way GRUs with the old units' reads of new ones held at zero, for chunks without either."""
    case = nets.build(name)
    site = data.draw(st.sampled_from(list(find_sites(case.net).values())))
    lateral = data.draw(st.sampled_from(("into_new", "both")))
    dropin = add_neurons_(case.net, {site.name: 2 * site.step}, mode="frozen", lateral=lateral)
    nets.stir_(case.net)
    whole = fold(case.net, case.x)
    for net in (case.net, whole):
        nn.functional.cross_entropy(net(case.x), case.labels).backward()
    split = sum(float(p.grad.square().sum()) for p in trainable(case.net))
    new, merged = torch.tensor(list(dropin.new_units(site.name))), 0.0
    found = find_sites(whole)[site.name]
    counted = {}
    for slot in found.slots:
        if slot.tensor.startswith("running"):
            continue
        grad = getattr(at(whole, slot.module), slot.tensor).grad
        mask = counted.setdefault((slot.module, slot.tensor), torch.zeros_like(grad))
        index = entries(slot, found.units, new, slot.gates * found.units * slot.width)
        mask.index_fill_(slot.dim, index, 1.0)
        one_way = slot.tensor.startswith("weight_hh") and lateral == "into_new"
        if slot.role == "in" and one_way and isinstance(at(whole, slot.module), nn.GRU):
            mask.view(3, found.units, -1)[2, -2:, :-2] = 0  # the candidate gate does not see the old state
        if slot.module in [conv for conv, _ in chunk_paths(site)]:
            if slot.role == "in" and mask.dim() > 1:
                mask[:, : site.units] = 0
            if slot.role == "recurrent":
                mask[: site.units] = 0
            continue
        if slot.role == "recurrent" and lateral == "into_new":
            gates = 4 if isinstance(at(whole, slot.module), nn.LSTM) else 3
            mask.view(gates, found.units, -1)[:, :-2] = 0
    for (module, tensor), mask in counted.items():
        merged += float((getattr(at(whole, module), tensor).grad * mask).square().sum())
    assert split == pytest.approx(merged, rel=1e-9, abs=1e-24)


def test_batch_norm_without_learning_parameters_stays_in_eval_mode(nets):
    net = nets.build("resnet").net
    freeze_base_(net, ["layer2.1", "fc"])
    net.train()
    assert not net.layer1[0].bn1.training
    assert net.layer2[1].bn1.training
    unfreeze_(net)
    assert net.train().layer1[0].bn1.training
    assert type(net.layer1[0].bn1) is nn.BatchNorm2d


def test_a_frozen_gru_stays_in_train_mode(nets):
    """cuDNN runs no backward through a GRU in eval mode."""
    net = nets.build("gru").net
    add_neurons_(net, {"gru.0": 2}, mode="frozen")
    assert all(part.training for part in net.train().modules())


def test_survivors_at_sites_learn(nets):
    case = nets.build("resnet")
    learning = train_sites_(case.net, ["layer2.0"], also=["fc"])
    assert learning == [f"layer2.0.{t}" for t in ("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight")] + [
        "fc.weight",
        "fc.bias",
    ]
    with pytest.raises(GrowthError, match="no parameters under 'head'"):
        train_sites_(case.net, ["layer2.0"], also=["head"])
    with pytest.raises(GrowthError, match=r"no site 'layer9\.0'"):
        train_sites_(case.net, ["layer9.0"])


def test_names_see_through_grown_blocks(nets):
    net = nets.build("wav2vec2").net
    before = set(dict(net.named_parameters()))
    add_neurons_(net, {"encoder.0.ffn": 4, "encoder.0.attention": 4}, mode="frozen")
    assert before <= set(logical_names(net).values())
    assert learn_only_(net, ["fc.bias"]) == ["fc.bias"]


class OwnNorm(nn.BatchNorm2d):
    """Somebody's subclass."""


@pytest.mark.parametrize("kind", ["subclass", "sync", "instance", "no weights", "spectral"])
def test_every_kind_of_running_statistics_stays(nets, kind):
    """Statistics of frozen layers do not move in train mode, whatever class holds them; unfreezing lets them move."""
    case = nets.build("resnet", dtype=torch.float32)
    stem = case.net.stem
    match kind:
        case "subclass":
            stem[1] = OwnNorm(4)
        case "sync":
            stem[1] = nn.SyncBatchNorm(4)
        case "instance":
            stem[1] = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
        case "no weights":
            stem[1] = nn.BatchNorm2d(4, affine=False)
        case _:
            stem[0] = nn.utils.parametrizations.spectral_norm(stem[0])
    plain = [type(part) for part in case.net.modules()]
    freeze_base_(case.net, ["fc"])
    net = copy.deepcopy(case.net).train()
    before = tensors(net)
    net(case.x)
    assert [key for key, tensor in tensors(net).items() if not torch.equal(tensor, before[key])] == []
    unfreeze_(net)
    assert [type(part) for part in net.modules()] == plain
    if kind != "sync":  # which trains on GPUs only
        net(case.x)
        assert any(not torch.equal(tensor, before[key]) for key, tensor in tensors(net).items() if "stem" in key)


def test_a_frozen_network_can_be_pickled(nets):
    case = nets.build("resnet")
    add_neurons_(case.net, {"layer1.1": 2})
    again = pickle.loads(pickle.dumps(case.net)).train()
    same(again.state_dict(), case.net.state_dict())
    close(again(case.x), case.net.train()(case.x))
    assert [type(part) for part in again.modules()] == [type(part) for part in case.net.modules()]
