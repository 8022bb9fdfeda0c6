"""Other libraries as oracles, where they are right: Torch-Pruning's groups, gromo's kinds of new neurons."""

import copy
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.initialise import draw
from plastsearch.growth.paths import at
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.resize import widen_
from plastsearch.growth.survey import find_sites

tp = pytest.importorskip("torch_pruning")


def oracle(net, x, path, prune, units):
    """Torch-Pruning's own removal of some outputs of one layer, and of all that depends on them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = tp.DependencyGraph().build_dependency(net, example_inputs=x)
        graph.get_pruning_group(at(net, path), prune, idxs=list(units)).prune()


blocks = st.sampled_from(("layer1.0", "layer1.1", "layer2.0", "layer2.1"))


@given(blocks, st.sets(st.integers(0, 3), min_size=1, max_size=3))
@settings(max_examples=10)
def test_channels_are_torch_prunings_group(nets, site, units):
    case = nets.build("resnet", dtype=torch.float32)
    twin = copy.deepcopy(case.net)
    oracle(twin, case.x, f"{site}.conv1", tp.prune_conv_out_channels, units)
    remove_neurons_(case.net, {site: torch.tensor(sorted(units))})
    assert all(torch.equal(tensor, case.net.state_dict()[key]) for key, tensor in twin.state_dict().items())


@given(st.sampled_from(("wav2vec2", "hubert")), st.sets(st.integers(0, 23), min_size=1, max_size=9))
@settings(max_examples=6)
def test_feed_forward_units_are_torch_prunings_group(nets, name, units):
    case = nets.build(name, dtype=torch.float32)
    layer = case.net.encoder.encoder.layers[1].feed_forward
    twin = copy.deepcopy(layer)
    x = torch.randn(2, 5, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = tp.DependencyGraph().build_dependency(twin, example_inputs=x)
        graph.get_pruning_group(twin.intermediate_dense, tp.prune_linear_out_channels, idxs=sorted(units)).prune()
    remove_neurons_(case.net, {"encoder.1.ffn": torch.tensor(sorted(units))})
    assert all(torch.equal(tensor, layer.state_dict()[key]) for key, tensor in twin.state_dict().items())


def test_gradmax_is_the_best_direction(nets):
    """No other outgoing weights of the same norm give a larger first gradient of the incoming ones (brute force)."""
    case = nets.build("wav2vec2")
    loss = lambda net: torch.nn.functional.cross_entropy(net(case.x), case.labels)  # noqa: E731
    site = "encoder.1.ffn"
    grown = copy.deepcopy(case.net)
    add_neurons_(grown, {site: 1}, mode="unfrozen", init="gradmax", loss=lambda: loss(grown))
    before = loss(case.net)
    torch.testing.assert_close(loss(grown), before)
    up, down = (at(grown, f"encoder.encoder.layers.1.feed_forward.{n}") for n in ("intermediate_dense", "output_dense"))
    best = norm_of_gradient(grown, loss, up)
    length = down.weight[:, 24].norm()
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = torch.randn(16, generator=g, dtype=torch.float64)
        down.weight.data[:, 24] = other / other.norm() * length
        assert norm_of_gradient(grown, loss, up) <= best * (1 + 1e-9)


def norm_of_gradient(net, loss, up):
    net.zero_grad()
    loss(net).backward()
    return float(up.weight.grad[24].norm())


@pytest.mark.parametrize("pairing", [None, "vv_z_negz"])
def test_widening_is_gromos_extension(nets, pairing):
    """The same new neurons, applied by gromo to its own layers and by us to ordinary ones: the same weights."""
    from gromo.modules.linear_growing_module import LinearGrowingModule

    torch.manual_seed(0)
    here = {"device": torch.device("cpu")}
    first = LinearGrowingModule(16, 24, post_layer_function=torch.nn.GELU(), **here)
    second = LinearGrowingModule(24, 16, previous_module=first, **here)
    net = nets.build("wav2vec2", dtype=torch.float32).net
    row = at(net, "encoder.encoder.layers.0.feed_forward")
    row.intermediate_dense.load_state_dict(first.layer.state_dict())
    row.output_dense.load_state_dict(second.layer.state_dict())
    second.create_layer_extensions(extension_size=4, neuron_pairing=pairing, noise_ratio=0.0)
    site = find_sites(net)["encoder.0.ffn"]
    out = first.extended_output_layer
    extensions = (out.weight, out.bias, second.extended_input_layer.weight)
    x = torch.randn(3, 16)
    before = row(x)
    widen_(net, site, {slot: new.detach() for slot, new in zip(site.slots, extensions, strict=True)})
    second.apply_change(scaling_factor=1.0, extension_size=4)
    for ours, theirs in ((row.intermediate_dense, first.layer), (row.output_dense, second.layer)):
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)
    if pairing:
        torch.testing.assert_close(row(x), before)


def test_pairs_are_as_gromo_makes_them(nets):
    """Equal incoming and opposite outgoing weights; here the two of a pair are neighbours."""
    net = nets.build("wav2vec2").net
    site = find_sites(net)["encoder.0.ffn"]
    values = draw(net, site, 4, "pairs", torch.Generator().manual_seed(0))
    for slot, tensor in values.items():
        rows = tensor.movedim(slot.dim, 0)
        sign = -1 if slot.role == "out" else 1
        assert torch.equal(rows[0::2], sign * rows[1::2])
