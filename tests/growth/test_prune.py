"""Neurons out: the identity after growth, masking as a brute-force twin, reordering, choice, compensation."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, AdamW

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.optimizer import load_state_, swap_
from plastsearch.growth.paths import at
from plastsearch.growth.prune import choose, remove_neurons_
from plastsearch.growth.resize import entries, narrow_
from plastsearch.growth.survey import find_sites
from tests.exactness import FAMILIES


def snapshot(net, optimizer=None):
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    if optimizer is not None:
        names = {id(parameter): name for name, parameter in net.named_parameters()}
        for parameter, entry in optimizer.state.items():
            state |= {f"{names[id(parameter)]}/{key}": torch.as_tensor(v).clone() for key, v in entry.items()}
    return state


def same(first, second):
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


@given(
    st.sampled_from(FAMILIES),
    st.sampled_from(("random", "orthogonal", "pairs", "copies")),
    st.sampled_from(("adamw", "sgd")),
    st.data(),
)
@settings(max_examples=25)
def test_grow_then_prune_the_newest_is_the_identity(nets, name, init, kind, data):
    """Bit for bit: weights, buffers, attributes, optimiser state; several sites, grown twice."""
    case = nets.build(name, dtype=torch.float32)
    make = {"adamw": lambda p: AdamW(p, lr=1e-2, amsgrad=True), "sgd": lambda p: SGD(p, lr=1e-2, momentum=0.9)}[kind]
    optimizer = make(case.net.parameters())
    nets.train_(case, 2, optimizer)
    before, shape = snapshot(case.net, optimizer), repr(case.net)
    sites = data.draw(st.lists(st.sampled_from(sorted(find_sites(case.net))), min_size=1, max_size=3, unique=True))
    units = {site: found.units for site, found in find_sites(case.net).items()}
    for _ in range(2):
        steps = {site: 2 * find_sites(case.net)[site].step for site in sites}
        add_neurons_(case.net, steps, mode="unfrozen", init=init, optimizer=optimizer)
    one_place_each(case.net, optimizer)
    case.net(case.x)
    remove_neurons_(case.net, {site: torch.arange(units[site], units[site] + 4) for site in sites}, optimizer)
    same(snapshot(case.net, optimizer), before)
    assert repr(case.net) == shape
    one_place_each(case.net, optimizer)
    nets.train_(case, 1, optimizer)


def one_place_each(net, optimizer):
    """Every live parameter is in one group, no dead one is, and state has the parameters' shapes."""
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in net.parameters())
    for parameter, entry in optimizer.state.items():
        assert id(parameter) in held
        assert all(v.shape == parameter.shape for v in entry.values() if isinstance(v, torch.Tensor) and v.dim())


@given(st.sampled_from(FAMILIES), st.integers(0, 99), st.data())
@settings(max_examples=25)
def test_a_pruned_network_equals_the_masked_one(nets, name, seed, data):
    """Removing units is setting what reads them to zero, to 1e-12; two prunes are one."""
    case = nets.build(name, seed)
    site = data.draw(st.sampled_from(list(find_sites(case.net).values())))
    some = st.sets(st.integers(0, site.units - 1), min_size=1, max_size=site.units - 1)
    gone = torch.tensor(sorted(data.draw(some)))
    masked = copy.deepcopy(case.net)
    for slot in site.slots:
        if slot.role in ("out", "recurrent") or (site.kind == "head_width" and ".k_proj" in slot.module):
            tensor = getattr(at(masked, slot.module), slot.tensor)
            index = entries(slot, site.units, gone, slot.gates * site.units * slot.width)
            tensor.data.index_fill_(slot.dim, index, 0.0)
    twice = copy.deepcopy(case.net)
    left = remove_neurons_(case.net, {site.name: gone})
    torch.testing.assert_close(case.net(case.x), masked(case.x), rtol=1e-12, atol=1e-12)
    assert left == {site.name: (site.units - len(gone)) * site.step}
    for unit in sorted(gone.tolist(), reverse=True):
        remove_neurons_(twice, {site.name: torch.tensor([unit])})
    same(snapshot(twice), snapshot(case.net))


@given(st.sampled_from(FAMILIES), st.integers(0, 99), st.data())
@settings(max_examples=20)
def test_reordering_units_keeps_the_function(nets, name, seed, data):
    case = nets.build(name, seed)
    site = data.draw(st.sampled_from(list(find_sites(case.net).values())))
    order = torch.tensor(data.draw(st.permutations(range(site.units))))
    before, state = case.net(case.x), snapshot(case.net)
    narrow_(case.net, site, order)
    torch.testing.assert_close(case.net(case.x), before, rtol=1e-12, atol=1e-12)
    narrow_(case.net, site, order.argsort())
    same(snapshot(case.net), state)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.data())
def test_the_lowest_scores_go_ties_by_index(scores, data):
    added = data.draw(st.integers(1, len(scores) - 1))
    pool = data.draw(st.sampled_from(("added", "all")))
    count = data.draw(st.integers(0, added))
    first = len(scores) - added if pool == "added" else 0
    brute = sorted(sorted(range(first, len(scores)), key=lambda j: (scores[j], j))[:count])
    assert choose(torch.tensor(scores, dtype=torch.float32), count, pool, added).tolist() == brute


def test_pairs_go_together():
    scores = torch.tensor([5.0, 1.0, 4.0, 0.0, 9.0, 2.0, 2.2])
    assert choose(scores, 2, "all", 4, pairs=True).tolist() == [1, 2]  # not 3, whose partner is worth 9
    assert choose(scores, 3, "all", 4, pairs=True).tolist() == [1, 5, 6]
    with pytest.raises(GrowthError, match="without breaking an opposite pair"):
        choose(scores, 3, "added", 4, pairs=True)


@pytest.mark.parametrize("name", ["gru", "bigru", "wav2vec2", "resnet"])
def test_compensation_is_exact_for_constant_units(nets, name):
    """A unit that always gives its mean can be removed without a trace, once its readers' biases take it up."""
    case = nets.build(name)
    site = {"gru": "gru.1", "bigru": "gru.1", "wav2vec2": "encoder.1.ffn", "resnet": "layer1.0"}[name]
    found = find_sites(case.net)[site]
    gone = torch.tensor([0, 2])
    with torch.no_grad():
        for slot in found.slots:
            if slot.role == "in" or slot.tensor == "weight":
                tensor = getattr(at(case.net, slot.module), slot.tensor)
                index = entries(slot, found.units, gone, slot.gates * found.units * slot.width)
                if slot.role != "out":
                    tensor.index_fill_(slot.dim, index, 0.0)
        if name == "resnet":
            at(case.net, "layer1.0.bn1").bias[gone] = 0.0
    seen = []
    tap = at(case.net, found.tap.module)
    if found.tap.end == "input":
        handle = tap.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    else:
        handle = tap.register_forward_hook(lambda _, __, out: seen.append(out[0]))
    before = case.net(case.x)
    handle.remove()
    axis = found.tap.dim % seen[0].dim()
    means = seen[0].mean([d for d in range(seen[0].dim()) if d != axis])
    remove_neurons_(case.net, {site: gone}, means={site: means})
    torch.testing.assert_close(case.net(case.x), before, rtol=1e-10, atol=1e-10)


def test_mean_compensation_moves_less_than_removal(nets):
    case = nets.build("wav2vec2")
    seen = []
    handle = at(case.net, "encoder.encoder.layers.1.feed_forward.output_dense").register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    before = case.net(case.x)
    handle.remove()
    shift = {}
    for means in (None, {"encoder.1.ffn": seen[0].mean((0, 1))}):
        net = copy.deepcopy(case.net)
        remove_neurons_(net, {"encoder.1.ffn": torch.arange(12)}, means=means)
        shift[means is None] = float((net(case.x) - before).detach().abs().max())
    assert shift[False] < shift[True]


def test_first_steps_of_new_entries_stay_within_the_learning_rate(nets):
    """Inside an old Adam tensor they would reach several times that; old entries step as if nothing had grown."""
    case = nets.build("wav2vec2")
    optimizer = AdamW(case.net.parameters(), lr=1e-3, weight_decay=0.0)
    nets.train_(case, 20, optimizer)
    plain = copy.deepcopy(case)
    plain_optimizer = AdamW(plain.net.parameters(), lr=1e-3, weight_decay=0.0)
    plain_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    add_neurons_(case.net, {"encoder.0.ffn": 8}, mode="unfrozen", optimizer=optimizer)
    old = {name: p.detach().clone() for name, p in case.net.named_parameters()}
    nets.train_(case, 1, optimizer)
    for name, parameter in case.net.named_parameters():
        if "layers.0.feed_forward" in name and parameter.dim() == 2:
            moved = (parameter - old[name]).detach()
            moved = moved[24:] if "intermediate" in name else moved[:, 24:]
            assert float(moved.abs().max()) <= 1.01e-3
    nets.train_(plain, 1, plain_optimizer)
    for name, parameter in plain.net.named_parameters():
        grown = dict(case.net.named_parameters())[name]
        cut = grown[tuple(slice(0, size) for size in parameter.shape)]
        torch.testing.assert_close(cut, parameter, rtol=1e-7, atol=1e-7)


def test_own_pace_is_that_of_a_tensor_of_its_own():
    """Young entries inside an old tensor move exactly as in a separate one, after saving and loading too."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 2, dtype=torch.float64))
    optimizer = AdamW([weight], lr=0.1, weight_decay=0.02)
    for _ in range(50):
        weight.grad = torch.randn_like(weight)
        optimizer.step()
    grown = nn.Parameter(torch.cat([weight.detach(), torch.randn(2, 2, dtype=torch.float64)]))
    alone = nn.Parameter(grown[3:].detach().clone())
    swap_(optimizer, weight, grown, lambda t, fill: torch.cat([t, torch.full((2, 2), fill, dtype=t.dtype)]))
    other = AdamW([alone], lr=0.1, weight_decay=0.02)
    for step in range(6):
        grown.grad = torch.randn_like(grown)
        alone.grad = grown.grad[3:].clone()
        optimizer.step()
        other.step()
        torch.testing.assert_close(grown[3:], alone, rtol=1e-6, atol=1e-6)
        if step == 2:
            state = optimizer.state_dict()
            optimizer = AdamW([grown], lr=0.1, weight_decay=0.02)
            load_state_(optimizer, state)


def test_unknown_optimiser_state_is_refused(nets):
    case = nets.build("resnet")
    optimizer = SGD(case.net.parameters(), lr=0.1)
    parameter = at(case.net, "layer1.0.conv1").weight
    optimizer.state[parameter]["row"] = torch.zeros(3)
    with pytest.raises(GrowthError, match="optimiser state 'row' has shape"):
        add_neurons_(case.net, {"layer1.0": 1}, mode="unfrozen", optimizer=optimizer)
