"""A folded network is an ordinary one that computes the same; pruned to its old widths it is the old architecture."""

import copy
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.blocks import outermost
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold, fold_
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.survey import find_sites
from tests.exactness import FAMILIES, close, same


@given(st.sampled_from(FAMILIES), st.integers(0, 99), st.sampled_from(("into_new", "both")), st.data())
@settings(max_examples=40)
def test_folding_keeps_the_function_and_the_names(nets, name, seed, lateral, data):
    """Three rounds of growth, at any sites, the same ones again included; to 1e-12 in float64."""
    case = nets.build(name, seed)
    untouched = copy.deepcopy(case.net)
    units = {site: found.units for site, found in find_sites(case.net).items()}
    drop = data.draw(st.sampled_from(("head_width", "attention")))  # one layer's heads and their width do not both grow
    sites = [site for site in units if not site.endswith(drop)]
    for k in range(3):
        chosen = data.draw(st.lists(st.sampled_from(sites), min_size=1, max_size=3, unique=True))
        counts = {site: data.draw(st.integers(1, 3)) * find_sites(case.net)[site].step for site in chosen}
        g = torch.Generator().manual_seed(seed + k)
        for site, count in add_neurons_(case.net, counts, mode="frozen", lateral=lateral, generator=g).units.items():
            units[site] += count
        nets.stir_(case.net, seed)
    assert {site: found.units for site, found in find_sites(case.net).items()} == units
    before, state = case.net(case.x), copy.deepcopy(case.net.state_dict())
    folded = fold(case.net, case.x)
    close(folded(case.x), before)
    same(case.net.state_dict(), state)
    assert list(folded.state_dict()) == list(untouched.state_dict())
    assert [type(part) for part in folded.modules()] == [type(part) for part in untouched.modules()]
    assert {site: found.units for site, found in find_sites(folded).items()} == units
    same(fold(folded).state_dict(), folded.state_dict())


@pytest.mark.parametrize("name", FAMILIES)
def test_grow_fold_prune_the_newest_is_the_identity(nets, name):
    """Grown, trained beside a frozen base, folded and pruned of the newest: bit for bit what it was, attributes too."""
    case = nets.build(name)
    untouched = copy.deepcopy(case.net)
    for site, found in find_sites(case.net).items():
        dropin = add_neurons_(case.net, {site: 2 * found.step}, mode="frozen")
        nets.stir_(case.net)
        fold_(case.net, case.x)
        remove_neurons_(case.net, {site: torch.tensor(list(dropin.new_units(site)))})
    fresh = nets.build(name, seed=1).net
    fresh.load_state_dict(case.net.state_dict(), strict=True)
    for net in (fresh, case.net):
        for key, tensor in untouched.state_dict().items():
            assert torch.equal(net.state_dict()[key], tensor), key
        assert repr(net) == repr(untouched)
    close(fresh(case.x), untouched(case.x))
    for old, new in zip(untouched.modules(), case.net.modules(), strict=True):
        for attribute in ("num_heads", "head_dim", "scaling", "hidden_size", "input_size", "in_features"):
            assert getattr(old, attribute, None) == getattr(new, attribute, None)


def test_what_cannot_fold_says_so(nets):
    for operator, what in (("stack", "a stacked layer"), ("parallel", "a parallel recurrent branch")):
        net = nets.build("gru").net
        add_neurons_(net, {"gru.1": 2}, operator=operator)
        with pytest.raises(GrowthError, match=f"layers.1 carries {what}, which has no ordinary module"):
            fold(net)


def test_parallel_branches_fold_where_they_add_a_row(nets):
    case = nets.build("wav2vec2")
    add_neurons_(case.net, {"encoder.0.ffn": 4, "encoder.1.attention": 8}, operator="parallel", mode="unfrozen")
    nets.stir_(case.net)
    before = case.net(case.x)
    torch.testing.assert_close(fold(case.net, case.x)(case.x), before, rtol=1e-12, atol=1e-12)


def test_a_pruned_speech_model_goes_through_its_own_class(nets, tmp_path):
    """transformers' save_pretrained and from_pretrained round trip, without anything of this package."""
    from transformers import HubertModel, Wav2Vec2Model

    for name, kind in (("wav2vec2", Wav2Vec2Model), ("hubert", HubertModel)):
        case = nets.build(name, dtype=torch.float32)
        steps = {"encoder.0.ffn": 4, "encoder.1.attention": 8}
        add_neurons_(case.net, steps, mode="frozen")
        nets.stir_(case.net)
        fold_(case.net, case.x)
        remove_neurons_(case.net, {"encoder.0.ffn": torch.arange(4), "encoder.1.attention": torch.tensor([0, 3])})
        case.net.encoder.save_pretrained(tmp_path / name)
        again = kind.from_pretrained(tmp_path / name).eval()
        same(again.state_dict(), case.net.encoder.state_dict())
        with torch.no_grad():
            close(again(case.x).last_hidden_state, case.net.encoder(case.x).last_hidden_state)


def test_a_folded_network_has_no_blocks_and_learns(nets):
    case = nets.build("resnet")
    add_neurons_(case.net, {"layer1.0": 2}, mode="frozen")
    folded = fold(case.net, case.x)
    assert not outermost(folded)
    assert all(parameter.requires_grad for parameter in folded.parameters())
    nn.functional.cross_entropy(folded(case.x), case.labels).backward()


@pytest.mark.parametrize("order", list(permutations(("conv.0", "conv.1", "lstm.0"))))
def test_rows_one_behind_the_other_fold_whatever_grew_first(nets, order):
    """A convolution that one row's neurons leave is the one that another's enter: blocks of both stand around it."""
    case = nets.build("lcnn")
    before = case.net(case.x)
    for name in order:
        add_neurons_(case.net, {name: 2}, mode="frozen")
    add_neurons_(case.net, dict.fromkeys(order, 1), mode="frozen")
    close(case.net(case.x), before)
    nets.stir_(case.net)
    whole = fold(case.net, case.x)
    close(whole(case.x), case.net(case.x))
    assert [site.units for site in find_sites(whole).values()] == [7, 9, 8]
