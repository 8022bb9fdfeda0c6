"""New neurons do not change what a network computes, are alive from the first step, and are as many as the map says."""

import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.chunked import chunk_paths
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.freeze import freeze_base_
from plastsearch.growth.paths import at
from plastsearch.growth.resize import entries
from plastsearch.growth.survey import find_sites
from tests.exactness import FAMILIES, adding_nothing, close

NAMES = (*FAMILIES, "wav2vec2_eager")
INITS = ("random", "orthogonal", "pairs", "copies", "net2net", "gradmax")
REFUSALS = ("net2net shares", "no branch can", "nothing to stack", "gradmax", "carry blocks", "layer on top")
cases = st.tuples(
    st.sampled_from(NAMES),
    st.integers(0, 99),
    st.sampled_from(("frozen", "unfrozen")),
    st.sampled_from(("widen", "parallel", "stack")),
    st.sampled_from(INITS),
    st.sampled_from(("into_new", "both")),
)


def grow(case, data, mode, operator, init, lateral, seed):
    """Grows one to three sites, each by two or four units; None where the request is rightly refused."""
    sites = find_sites(case.net)
    names = data.draw(st.lists(st.sampled_from(sorted(sites)), min_size=1, max_size=3, unique=True))
    if mode == "frozen" or operator == "parallel":  # heads and their width cannot both carry blocks
        names = [n for n in names if not (n.endswith("head_width") and n.replace("head_width", "attention") in names)]
    neurons = {name: data.draw(st.sampled_from((2, 4))) * sites[name].step for name in names}
    loss = lambda: nn.functional.cross_entropy(case.net(case.x), case.labels)  # noqa: E731
    g = torch.Generator().manual_seed(seed)
    try:
        settings = {"mode": mode, "operator": operator, "init": init, "lateral": lateral}
        return add_neurons_(case.net, neurons, **settings, generator=g, loss=loss, also=["fc"])
    except GrowthError as refused:
        if any(word in str(refused) for word in REFUSALS):
            return None
        raise


@given(cases, st.booleans(), st.data())
@settings(max_examples=80)
def test_the_function_stays(nets, drawn, training, data):
    """To 1e-12 in float64; separate blocks whose outgoing weights are zero add exactly nothing to what is there."""
    name, seed, mode, operator, init, lateral = drawn
    case = nets.build(name, seed)
    reference = copy.deepcopy(case.net)
    if mode == "frozen":
        freeze_base_(reference, ["fc"])  # its BatchNorm keeps its statistics in train mode
    rounds = [grow(case, data, mode, operator, init, lateral, seed + k) for k in range(2)]  # the second one is nested
    separate = mode == "frozen" or operator != "widen"
    exactly = (
        any(rounds)
        and separate
        and not any(kind in name for kind in ("gru", "lstm", "rawnet", "lcnn"))
        and init not in ("pairs", "gradmax")
    )
    grown = (case.net if any(rounds) else reference).train(training)
    with torch.no_grad(), adding_nothing(grown) if exactly else nullcontext():
        after = grown(case.x)
    with torch.no_grad():
        close(after, reference.train(training)(case.x))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_the_function_stays_in_float32(nets, name, mode):
    case = nets.build(name, dtype=torch.float32)
    before = case.net(case.x)
    for site, found in find_sites(case.net).items():
        if not site.endswith("head_width"):
            add_neurons_(case.net, {site: 3 * found.step}, mode=mode, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(case.net(case.x), before, rtol=1e-5, atol=1e-5 * float(before.detach().abs().max()))


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2_eager", "wav2vec2_pre_norm", "hubert"])
@pytest.mark.parametrize("kind", ["attention", "head_width", "ffn"])
def test_padding_masks_reach_what_is_new(nets, name, kind):
    """With a mask, grown blocks still keep the function, and still compute what they fold into."""
    case = nets.build(name)
    mask = torch.ones(2, 600, dtype=torch.long)
    mask[1, 300:] = 0
    before = case.net(case.x, attention_mask=mask)
    add_neurons_(case.net, {f"encoder.1.{kind}": 8}, mode="frozen")
    torch.testing.assert_close(case.net(case.x, attention_mask=mask), before, rtol=1e-12, atol=1e-12)
    nets.stir_(case.net)
    changed = case.net(case.x, attention_mask=mask)
    assert not torch.allclose(changed, before)
    torch.testing.assert_close(
        fold(case.net, case.x, attention_mask=mask)(case.x, attention_mask=mask), changed, rtol=1e-12, atol=1e-12
    )


@given(st.sampled_from(NAMES), st.sampled_from(("frozen", "unfrozen")), st.sampled_from(INITS[:3]), st.integers(0, 9))
@settings(max_examples=20)
@pytest.mark.slow
def test_no_new_unit_is_dead(nets, name, mode, init, seed):
    """One backward gives each new unit a gradient on one side; after two steps each has moved on both.

    Not asked of copies: that of an old unit which never fires never fires either.
    """
    case = nets.build(name, seed)
    sites = find_sites(case.net)
    names = [site for site in sites if not site.endswith("head_width")][:3]
    first = {site: sites[site].units for site in names}
    steps = {site: 2 * sites[site].step for site in names}
    add_neurons_(case.net, steps, mode=mode, init=init, lateral="both", generator=torch.Generator().manual_seed(seed))
    start = copy.deepcopy(case.net)
    case.net.train()
    optimizer = torch.optim.SGD([p for p in case.net.parameters() if p.requires_grad], lr=0.1)
    nets.train_(case, 1, optimizer)
    start = fold(start, case.x)
    sides = {site: _sides(start, fold(case.net, case.x), site, first[site]) for site in names}
    assert all(sum(moved) >= 1 for both in sides.values() for moved in both), sides
    nets.train_(case, 2, optimizer)
    sides = {site: _sides(start, fold(case.net, case.x), site, first[site]) for site in names}
    assert all(all(moved) for both in sides.values() for moved in both), sides


def _sides(start, now, site, first):
    """For each new unit: whether its incoming and its outgoing entries have changed."""
    found = find_sites(now)[site]
    changed = []
    for unit in range(first, found.units):
        moved = {"in": 0.0, "out": 0.0}
        for slot in found.slots:
            if slot.role == "norm":
                continue
            old, new = (getattr(at(net, slot.module), slot.tensor) for net in (start, now))
            index = entries(slot, found.units, torch.tensor([unit]), slot.gates * found.units * slot.width)
            side = "in" if slot.role == "in" else "out"
            moved[side] += float((new - old).detach().index_select(slot.dim, index).abs().sum())
        changed.append([moved["in"] > 0, moved["out"] > 0])
    return changed


@given(st.sampled_from(NAMES), st.sampled_from(("frozen", "unfrozen")), st.data())
@settings(max_examples=25)
def test_parameters_grow_by_what_the_map_says(nets, name, mode, data):
    case = nets.build(name)
    site = data.draw(st.sampled_from(list(find_sites(case.net).values())))
    count = data.draw(st.integers(1, 5))
    before = sum(p.numel() for p in case.net.parameters())
    expected, grown = 0, {}
    for slot in site.slots:
        shape = list(grown.get((slot.module, slot.tensor), getattr(at(case.net, slot.module), slot.tensor).shape))
        shape[slot.dim] = slot.gates * count * slot.width
        if slot.tensor not in ("running_mean", "running_var"):
            expected += torch.Size(shape).numel()
        whole = list(grown.get((slot.module, slot.tensor), getattr(at(case.net, slot.module), slot.tensor).shape))
        whole[slot.dim] += shape[slot.dim]
        grown[slot.module, slot.tensor] = whole
    if mode == "frozen":  # new chunks and old ones do not hear each other: what the map has twice is not there
        for conv, _ in chunk_paths(site):
            expected -= 2 * count * site.units * at(case.net, conv).weight[0, 0].numel()
    dropin = add_neurons_(case.net, {site.name: count * site.step}, mode=mode, lateral="both")
    added = sum(p.numel() for p in case.net.parameters()) - before
    assert added == expected
    assert dropin.new_units(site.name) == range(site.units, site.units + count)
    if mode == "frozen":
        assert sum(p.numel() for p in case.net.parameters() if p.requires_grad) == expected


def test_the_same_seed_draws_the_same_neurons(nets):
    for mode in ("frozen", "unfrozen"):
        pair = [nets.build("wav2vec2").net for _ in range(2)]
        torch.manual_seed(7)
        state = torch.random.get_rng_state()
        for net in pair:
            g = torch.Generator().manual_seed(3)
            add_neurons_(net, {"encoder.0.ffn": 8, "encoder.1.attention": 4}, mode=mode, generator=g)
        first, second = (net.state_dict() for net in pair)
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert torch.equal(torch.random.get_rng_state(), state)


def test_net2net_halves_learn_apart(nets):
    """Its copies share the outgoing weights unevenly, so their gradients differ at once."""
    case = nets.build("resnet")
    add_neurons_(case.net, {"layer1.0": 2}, mode="unfrozen", init="net2net", generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(case.net(case.x), case.labels).backward()
    grad = at(case.net, "layer1.0.conv1").weight.grad
    weight = at(case.net, "layer1.0.conv1").weight
    twin = next(k for k in range(4) if torch.equal(weight[k], weight[4]))
    assert not torch.allclose(grad[twin], grad[4])
