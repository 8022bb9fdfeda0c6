"""Counts of neurons say what a network has gained or kept, also where two sites of one layer multiply."""

import copy

import pytest
import torch

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.preflight.forecast_child import grown_parameters

HEADS, WIDTH = "encoder.1.attention", "encoder.1.head_width"


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2_pre_norm", "hubert"])
@pytest.mark.parametrize(("heads", "dims"), [(1, 1), (2, 3)])
def test_heads_and_their_width_in_one_call(nets, name, heads, dims):
    """4 heads of 4: one more head has 4 neurons, one more dimension then 5, since the new head is wider too."""
    case = nets.build(name)
    before, width = case.net(case.x), find_sites(case.net)[HEADS].width
    growth = {WIDTH: 4 * dims, HEADS: 4 * heads}
    forecast = grown_parameters(case.net, find_sites(case.net), growth, apart=False)
    dropin = add_neurons_(case.net, growth, mode="unfrozen")
    after = find_sites(case.net)
    assert dropin.neurons == {HEADS: 4 * heads, WIDTH: dims * (4 + heads)}
    assert sum(dropin.neurons.values()) == after[HEADS].width - width == after[WIDTH].width - width
    assert after[HEADS].width == (4 + heads) * (4 + dims)
    assert dropin.units == {HEADS: heads, WIDTH: dims}
    assert parameters(case.net) == forecast
    torch.testing.assert_close(case.net(case.x), before, rtol=1e-12, atol=1e-12)
    gone = {site: list(dropin.new_units(site)) for site in (HEADS, WIDTH)}
    shape = copy.deepcopy(case.net)
    assert remove_neurons_(case.net, gone) == {HEADS: 16, WIDTH: 16}
    assert remove_neurons_(shape, {HEADS: gone[HEADS]}) == {HEADS: 4 * (4 + dims)}
    torch.testing.assert_close(case.net(case.x), before, rtol=1e-12, atol=1e-12)


def test_means_of_heads_and_their_width_are_taken_one_after_the_other(nets):
    net = nets.build("wav2vec2").net
    means = {HEADS: torch.ones(16), WIDTH: torch.ones(16)}
    with pytest.raises(GrowthError, match="with means, remove first one, then the other"):
        remove_neurons_(net, {HEADS: [0], WIDTH: [1]}, means=means)
    assert remove_neurons_(net, {WIDTH: [1]}, means=means) == {WIDTH: 12}
    assert remove_neurons_(net, {HEADS: [0]}, means={HEADS: torch.ones(12)}) == {HEADS: 9}


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_growth_of_no_site_is_refused_and_freezes_nothing(nets, mode):
    net = nets.build("resnet").net
    with pytest.raises(GrowthError, match=r"no site was named to grow; to freeze .* freeze\.freeze_base_"):
        add_neurons_(net, {}, mode=mode, also=["fc"])
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert remove_neurons_(net, {}) == {}
