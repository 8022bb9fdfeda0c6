"""The laws of growth on spiking networks: exact insertion at every site, a base that stays, prune that restores."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from plastsearch.growth.checkpoint import load_grown_, save_grown
from plastsearch.growth.criteria import CRITERIA, score
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold_
from plastsearch.growth.prune import choose, remove_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build
from plastsearch.models.detector import Detector
from plastsearch.models.lif import LIF

STEPS = 3
NETS: dict[str, dict[str, Any]] = {
    "resnet18": {"name": "resnet18", "threshold": 0.5},
    "grnn": {"name": "grnn", "threshold": 0.05},  # untrained layers give small currents
    "both ways": {"name": "grnn", "bidirectional": True, "pooling": "mean_std", "threshold": 0.05},
}
LATERALS = [("resnet18", "into_new"), ("grnn", "into_new"), ("grnn", "both"), ("both ways", "into_new")]


def network(kind: str, seed: int = 0) -> Detector:
    net = build(**NETS[kind], activation="lif", time_steps=STEPS, seed=seed).double().eval()
    for name, buffer in net.named_buffers():
        if "running_var" in name:
            buffer.uniform_(0.5, 2, generator=torch.Generator().manual_seed(seed))
    return net


def waves() -> Tensor:
    return torch.randn(3, 2400, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def firing(net: nn.Module, x: Tensor) -> list[Tensor]:
    """What every spiking layer gives, in the order in which they run."""
    seen: list[Tensor] = []
    handles = [
        part.register_forward_hook(lambda _, __, out: seen.append(out))
        for part in net.modules()
        if isinstance(part, LIF)
    ]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return seen


def learn_(net: nn.Module, steps: int = 2) -> None:
    """A few steps of whatever learns, in train mode."""
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.5)
    net.train()
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(net(waves()), torch.tensor([0, 1, 0])).backward()
        optimizer.step()
    net.eval()


@pytest.mark.parametrize(("kind", "lateral"), LATERALS)
def test_new_neurons_beside_a_frozen_base_leave_every_spike_where_it_was(kind: str, lateral: Any) -> None:
    net = network(kind)
    before, logits = firing(net, waves()), net(waves())
    assert all(0 < float(layer.mean()) < 1 for layer in before), "a silent network proves nothing"
    add_neurons_(net, dict.fromkeys(find_sites(net), 3), mode="frozen", lateral=lateral, generator=drawn())
    assert torch.equal(net(waves()), logits)
    after = firing(net, waves())
    if kind == "resnet18":  # the branch's neurons fire in a call of their own, before the base's
        for old in before:
            assert any(torch.equal(old, new) for new in after if new.shape == old.shape)
        return
    directions = 2 if kind == "both ways" else 1
    for old, new in zip(before, after, strict=True):
        split = [part.unflatten(-1, (directions, -1)) for part in (old, new)]
        assert torch.equal(split[0], split[1][..., : split[0].shape[-1]])
        assert new.shape[-1] == old.shape[-1] + 3 * directions


@pytest.mark.parametrize("kind", NETS)
def test_an_enlarged_network_of_its_own_weights_computes_the_same(kind: str) -> None:
    """In float64: sums over more entries are rounded otherwise, and a membrane at its threshold may tip over."""
    net = network(kind)
    logits = net(waves())
    for site in find_sites(net):
        add_neurons_(net, {site: 2}, mode="unfrozen", generator=drawn())
        torch.testing.assert_close(net(waves()), logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", NETS)
def test_what_learns_beside_the_base_moves_no_bit_of_it(kind: str) -> None:
    net = network(kind)
    sites = list(find_sites(net))
    kept = {id(p): p.detach().clone() for p in net.parameters()}
    statistics = {id(b): b.clone() for b in net.buffers()}
    base = {id(p): p for p in net.parameters()} | {id(b): b for b in net.buffers()}
    add_neurons_(net, {sites[0]: 2, sites[-1]: 2}, mode="frozen", generator=drawn())
    new = [p for p in net.parameters() if id(p) not in base and p.requires_grad]
    begun = [p.detach().clone() for p in new]
    learn_(net, 1)
    assert all(torch.equal(base[key], value) for key, value in (kept | statistics).items())
    assert any(not torch.equal(p, old) for p, old in zip(new, begun, strict=True))


@pytest.mark.parametrize("kind", NETS)
def test_folding_what_has_learnt_keeps_every_spike(kind: str) -> None:
    net = network(kind)
    sites = list(find_sites(net))
    add_neurons_(net, {sites[0]: 2, sites[1]: 4}, mode="frozen", generator=drawn())
    learn_(net)
    logits = net(waves())
    fold_(net, waves())
    torch.testing.assert_close(net(waves()), logits, rtol=1e-9, atol=1e-12)
    assert find_sites(net)[sites[1]].units == find_sites(network(kind))[sites[1]].units + 4


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
@pytest.mark.parametrize("kind", NETS)
def test_pruning_what_learnt_nothing_gives_back_size_and_function(kind: str, mode: Any) -> None:
    net = network(kind)
    before, logits = {name: tensor.clone() for name, tensor in net.state_dict().items()}, net(waves())
    names = list(find_sites(net))
    dropin = add_neurons_(net, dict.fromkeys(names, 2), mode=mode, generator=drawn())
    fold_(net, waves())
    found = score(net, names, ["newest"], [(waves(), torch.tensor([0, 1, 0]))], _loss, drawn(), dropin.units)["newest"]
    remove_neurons_(net, {name: choose(found[name], 2, "added", 2) for name in names})
    assert list(net.state_dict()) == list(before)
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    torch.testing.assert_close(net(waves()), logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", NETS)
def test_a_checkpoint_gives_back_a_grown_network_and_its_spikes(kind: str, tmp_path: Any) -> None:
    net = network(kind)
    site = list(find_sites(net))[1]
    add_neurons_(net, {site: 3}, mode="frozen", generator=drawn())
    learn_(net, 1)
    save_grown(net, tmp_path / "grown.safetensors")
    again = network(kind, seed=7)
    load_grown_(again, tmp_path / "grown.safetensors")
    assert torch.equal(again.eval()(waves()), net(waves()))


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="none")


@pytest.mark.parametrize("kind", NETS)
def test_every_criterion_scores_every_unit_and_follows_it(kind: str) -> None:
    net = network(kind)
    names = [name for name in CRITERIA if kind == "resnet18" or name != "bn_gamma"]
    batches = [(waves(), torch.tensor([0, 1, 0]))]
    found = score(net, find_sites(net), names, batches, _loss, drawn())
    for name in names:
        for site in find_sites(net).values():
            assert found[name][site.name].shape == (site.units,)
            assert found[name][site.name].isfinite().all(), (name, site.name)


@pytest.mark.parametrize("kind", ["resnet18", "grnn"])
def test_hebbian_is_the_correlation_of_spikes_with_what_reads_them(kind: str) -> None:
    """Against a twin: rates of clips over all steps, and the mean currents of the layer after them."""
    net = network(kind)
    x = torch.randn(6, 2400, dtype=torch.float64, generator=drawn(3)) * torch.linspace(0.2, 2, 6)[:, None].double()
    site = next(iter(find_sites(net).values()))
    batches = [(x[:4], torch.tensor([0, 1, 0, 1])), (x[4:], torch.tensor([0, 1]))]
    found = score(net, [site.name], ["hebbian"], batches, _loss, drawn())["hebbian"][site.name]
    seen: dict[str, Tensor] = {}
    block = net.layer1[0] if kind == "resnet18" else None
    spiking, reading = (block.relu, block.conv2) if block else (net.spikes[0], net.gru[1])
    spiking.register_forward_hook(lambda _, __, out: seen.setdefault("spikes", out))  # of the first call
    reading.register_forward_hook(lambda _, __, out: seen.update(read=out if isinstance(out, Tensor) else out[0]))
    with torch.no_grad():
        net(x)
    rates, reads = (seen[name].unflatten(0, (6, STEPS)) for name in ("spikes", "read"))
    places = (1, 3, 4) if kind == "resnet18" else (1, 2)
    rates_BU, reads_BK = rates.mean(places), reads.mean(places)
    if kind == "resnet18":
        weight_UK = reading.weight.abs().sum((2, 3)).T
    else:
        weight_UK = reading.weight_ih_l0.abs().unflatten(0, (3, -1)).sum(0).T
    corr_UK = torch.corrcoef(torch.cat([rates_BU, reads_BK], 1).T)[: site.units, site.units :]
    expected = (corr_UK.nan_to_num(0).abs() * weight_UK).sum(1)
    assert (expected > 0).any()
    torch.testing.assert_close(found, expected.detach())


@pytest.mark.parametrize("kind", ["resnet18", "grnn"])
def test_taylor_is_the_slope_of_a_gate_on_the_spikes(kind: str) -> None:
    """The twin: a factor of 1 on each unit's spikes of one clip at a time."""
    net = network(kind)
    site = list(find_sites(net).values())[1]
    found = score(net, [site.name], ["taylor"], [(waves(), torch.tensor([0, 1, 0]))], _loss, drawn())["taylor"]
    slopes = []
    for clip, label in zip(waves().split(1), torch.tensor([0, 1, 0]).split(1), strict=True):
        gate = torch.ones(site.units, dtype=torch.float64, requires_grad=True)
        if kind == "resnet18":
            second = net.layer1[1].conv2
            handle = second.register_forward_pre_hook(lambda _, args, g=gate: (args[0] * g[:, None, None],))
        else:
            handle = net.spikes[1].register_forward_hook(lambda _, __, out, g=gate: out * g)
        slopes += torch.autograd.grad(_loss(net(clip), label).sum(), gate)
        handle.remove()
    torch.testing.assert_close(found[site.name], torch.stack(slopes).abs().mean(0))
