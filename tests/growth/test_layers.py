"""Layers whose weights are not their own are refused, each for itself; what stands beside them can still grow."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from plastsearch.errors import GrowthError
from plastsearch.growth import attach
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.site import declare_, ffn
from plastsearch.growth.stack import RecurrentStack, restack_, unstack_
from plastsearch.growth.survey import find_sites, survey

PLACES = {
    "resnet": ("layer1.0", "layer1.1", "layer1.0.conv1"),
    "resnet_out": ("layer1.0", "layer1.1", "layer1.0.conv2"),
    "gru": ("gru.0", "gru.2", "layers.1"),  # the second layer reads the first
    "wav2vec2": ("encoder.0.ffn", "encoder.0.attention", "encoder.encoder.layers.0.feed_forward.intermediate_dense"),
    "hubert": ("encoder.1.head_width", "encoder.1.ffn", "encoder.encoder.layers.1.attention.k_proj"),
}


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Same(nn.Conv2d):
    """As some libraries pad: by what the input needs."""

    def forward(self, x):
        return self._conv_forward(nn.functional.pad(x, (1, 1, 1, 1)), self.weight, self.bias)


def change_(net, path, how):
    layer = net.get_submodule(path)
    name = "weight_ih_l0" if isinstance(layer, nn.GRU) else "weight"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        match how:
            case "weight norm":
                nn.utils.parametrizations.weight_norm(layer, name)
            case "spectral norm":
                nn.utils.parametrizations.spectral_norm(layer, name)
            case "old weight norm":
                nn.utils.weight_norm(layer, name)
            case "mask":
                prune.random_unstructured(layer, name, 0.5)
            case "bias":
                nn.utils.parametrize.register_parametrization(layer, name.replace("weight", "bias"), nn.Identity())
            case _:
                raise AssertionError(how)


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
@pytest.mark.parametrize("how", ["weight norm", "spectral norm", "old weight norm", "mask"])
@pytest.mark.parametrize("place", PLACES)
def test_computed_weights_are_refused_at_their_site_alone(nets, place, how, mode):
    """Frozen growth left uninitialised memory there (NaN), unfrozen growth a forward that fails."""
    site, other, path = PLACES[place]
    case = nets.build(place.removesuffix("_out"))
    change_(case.net, path, how)
    assert site not in find_sites(case.net)
    assert other in find_sites(case.net)
    for request in (
        lambda: add_neurons_(case.net, {site: 4}, mode=mode),
        lambda: remove_neurons_(case.net, {site: [0]}),
    ):
        with pytest.raises(GrowthError, match=rf"site '{site}' cannot change its width: the .* of {path} is computed"):
            request()
    before = case.net(case.x)
    add_neurons_(case.net, {other: 4}, mode=mode)
    torch.testing.assert_close(case.net(case.x), before, rtol=1e-12, atol=1e-12)


def test_a_computed_bias_is_refused_too(nets):
    case = nets.build("wav2vec2")
    change_(case.net, PLACES["wav2vec2"][2], "bias")
    assert "the bias of" in survey(case.net)[1]["encoder.0.ffn"]


def test_other_layers_that_only_look_plain_are_refused(nets):
    """A forward of a subclass's own, tensors beside the weight, and packed weights."""
    net = nets.build("wav2vec2").net
    first, second, third = (net.encoder.encoder.layers[k].feed_forward for k in range(3))
    first.intermediate_dense = Scaled(16, 24)
    second.output_dense.register_buffer("scale", torch.ones(16))
    third.output_dense.weight = nn.Parameter(torch.zeros(24 * 8, 1, dtype=torch.uint8), requires_grad=False)
    reasons = survey(net)[1]
    assert "a Scaled with a forward of its own" in reasons["encoder.0.ffn"]
    assert "holds a tensor 'scale' that a Linear does not have" in reasons["encoder.1.ffn"]
    assert "do not have the shape that it says" in reasons["encoder.2.ffn"]
    assert sum(name.endswith(".attention") for name in find_sites(net)) == 3
    net = nets.build("resnet").net
    net.layer1[1].conv2 = Same(4, 4, 3)
    assert "a Same with a forward of its own" in survey(net)[1]["layer1.1"]


def test_one_part_of_another_kind_does_not_block_the_rest(nets):
    """A projection that a library has wrapped, a grouped convolution, a stack of recurrent layers in one module."""
    net = nets.build("wav2vec2").net
    net.encoder.encoder.layers[1].attention.v_proj = nn.Sequential(nn.Linear(16, 16))
    sites, refused = survey(net)
    assert list(refused) == ["encoder.1.attention", "encoder.1.head_width"]
    assert len(sites) == 7
    with pytest.raises(GrowthError, match="v_proj is a Sequential, not a Linear"):
        add_neurons_(net, {"encoder.1.attention": 4, "encoder.0.ffn": 2})
    net = nets.build("resnet").net
    net.layer2[1].conv2 = nn.Conv2d(6, 6, 3, padding=1, groups=2)
    assert list(survey(net)[0]) == ["layer1.0", "layer1.1", "layer2.0"]
    net = nets.build("gru").net
    net.layers[1] = nn.GRU(4, 6, num_layers=2, batch_first=True)
    assert list(survey(net)[0]) == ["gru.2"]
    assert "unstack_" in survey(net)[1]["gru.0"]
    assert "unstack_" in survey(net)[1]["gru.1"]


def test_all_that_is_wrong_is_said_at_once(nets):
    net = nets.build("wav2vec2").net
    change_(net, PLACES["wav2vec2"][2], "weight norm")
    wrong = {"encoder.0.ffn": 4, "encoder.1.attention": 3, "encoder.1.ffn": 0, "encoder.2.ffn": 4}
    with pytest.raises(GrowthError) as caught:
        add_neurons_(net, wrong)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert [name for name in wrong if any(name in line for line in lines)] == list(wrong)[:3]


def test_declared_sites_are_checked_alike(nets):
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    declare_(net, lambda net: [ffn(net, f"row.{k}", f"{k}", f"{k + 2}", k, act=f"{k + 1}") for k in (0, 3)])
    nn.utils.parametrizations.weight_norm(net[2])
    assert list(find_sites(net)) == ["row.3"]
    with pytest.raises(GrowthError, match=r"site 'row\.0' cannot change its width"):
        add_neurons_(net, {"row.0": 1})
    nn.utils.parametrizations.weight_norm(net[3])
    with pytest.raises(GrowthError, match=r"(?s)'row.0' cannot change.*'row.3' cannot change"):
        find_sites(net)


def test_a_made_layer_has_every_value_given():
    """No layer of the growth code starts from memory that nobody filled."""
    with pytest.raises(RuntimeError, match="Missing key"):
        attach._made(nn.Linear, 3, 2, tensors={"bias": torch.zeros(2)})
    with pytest.raises(RuntimeError, match="Missing key"):
        attach._made(nn.GRU, 3, 2, tensors={"weight_ih_l0": torch.zeros(6, 3)})


@pytest.mark.parametrize("name", ["weight_ih_l1", "weight_hh_l0"])
def test_stacks_of_computed_weights_are_refused(name):
    net = nn.ModuleList([nn.GRU(3, 4, num_layers=2), nn.GRU(3, 4, num_layers=2)])
    kinds = [type(part) for part in net]
    nn.utils.parametrizations.weight_norm(net[1], name)
    with pytest.raises(GrowthError, match=f"the {name} of 1 is computed"):
        unstack_(net)
    assert type(net[0]) is kinds[0]
    nn.utils.parametrize.remove_parametrizations(net[1], name)
    unstack_(net)
    nn.utils.parametrizations.weight_norm(net[1].layers[1], "weight_hh_l0")
    with pytest.raises(GrowthError, match=r"the weight_hh_l0 of 1\.layers\.1 is computed"):
        restack_(net)
    assert isinstance(net[0], RecurrentStack)
    with pytest.raises(GrowthError, match="put the RecurrentStack into a module first"):
        restack_(net[0])
