"""Newborn units: where they stand, what is measured of them, and what they get around the step of the optimiser."""

import copy

import pytest
import torch
from torch import nn

from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.freeze import new_parameters, trainable
from plastsearch.growth.halving import Halving
from plastsearch.growth.paths import at
from plastsearch.growth.site import declare_, ffn
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build
from plastsearch.training.newborns import Probe, incumbents_moments, newborn_entries, outgoing_scales, standing
from plastsearch.training.upbringing import Care, Upbringing

OLD, NEW = 6, 3
GROWTH = {
    "resnet18": {"layer2.0": 4, "layer3.0": 6},
    "grnn": {"gru.0": 3, "gru.1": 4},
    "wav2vec2": {"encoder.1.ffn": 8, "encoder.2.attention": 12, "encoder.3.head_width": 8},
}


class Row(nn.Module):
    """One row of neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(5, OLD), nn.Tanh(), nn.Linear(OLD, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.act(self.up(x)))


def row(mode: str) -> Row:
    torch.manual_seed(0)
    net = Row()
    declare_(net, lambda root: [ffn(root, "row", "up", "down", 0, act="act")])
    add_neurons_(net, {"row": NEW}, mode=mode, generator=torch.Generator().manual_seed(1))
    return net


def probe(clips: int = 8) -> Probe:
    draw = torch.Generator().manual_seed(2)
    inputs, labels = torch.randn(clips, 5, generator=draw), torch.arange(clips) % 2
    return Probe(inputs, labels, lambda view, some: view(some), nn.functional.cross_entropy)


def stir_(net: nn.Module) -> None:
    """Newborns begin with zeros on one side; after this they add something."""
    torch.manual_seed(3)
    with torch.no_grad():
        for born in newborn_entries(net, {"row": NEW}):
            net.get_parameter(born.parameter)[born.place] += torch.randn(len(born.unit))


@pytest.mark.parametrize("name", GROWTH)
def test_every_entry_of_new_blocks_is_a_newborns(name):
    """But those that fold into none; each is what the folded network has there."""
    net = build(name=name, preset="tiny", seed=0, rate_hz=16000)
    dropin = add_neurons_(net, GROWTH[name], mode="frozen", init="copies", generator=torch.Generator().manual_seed(1))
    marks = {one: torch.zeros_like(net.get_parameter(one)) for one in new_parameters(net)}
    folded = fold(net, verify=False)
    sites = find_sites(folded)
    for born in newborn_entries(net, dropin.units):
        marks[born.parameter][born.place] = 1
        site, slot = sites[born.site], born.slot
        after = getattr(at(folded, slot.module), slot.tensor)
        held = net.get_parameter(born.parameter)[born.place]
        first = site.units - dropin.units[born.site]
        view = after.movedim(slot.dim, 0)[slot.offset :]
        size = slot.gates * site.units * slot.width
        by_unit = view[:size].reshape(slot.gates, site.units, slot.width, -1)[:, first:]
        for unit in (0, dropin.units[born.site] - 1):
            assert set(held[born.unit == unit].tolist()) <= set(by_unit[:, unit].flatten().tolist())
    assert all(bool(mark.all()) for mark in marks.values())


@pytest.mark.parametrize("name", GROWTH)
def test_entries_in_larger_tensors_are_those_that_growth_put_there(name):
    net = build(name=name, preset="tiny", seed=0, rate_hz=16000)
    before = {one: p.numel() for one, p in net.named_parameters()}
    dropin = add_neurons_(net, GROWTH[name], mode="unfrozen", generator=torch.Generator().manual_seed(1))
    marks = {one: torch.zeros_like(p) for one, p in net.named_parameters()}
    for born in newborn_entries(net, dropin.units):
        marks[born.parameter][born.place] = 1
    assert any(mark.any() for mark in marks.values())
    for one, mark in marks.items():
        assert mark.numel() - int(mark.sum()) == before[one], one


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_gradient_and_share_are_those_of_the_folded_network(mode):
    net = row(mode)
    stir_(net)
    what = probe()
    found = standing(net, {"row": NEW}, what, Halving())["row"]
    flat = fold(net, verify=False)
    assert not any(hasattr(part, "wraps_base") for part in flat.modules())
    for parameter in flat.parameters():
        parameter.requires_grad_(True)
    nn.functional.cross_entropy(flat(what.inputs), what.labels).backward()
    square = flat.up.weight.grad.square().sum(1) + flat.up.bias.grad.square() + flat.down.weight.grad.square().sum(0)
    assert found.gradient == pytest.approx((square[OLD:].mean() / square[:OLD].mean()).sqrt().item(), rel=1e-5)
    hidden = flat.act(flat.up(what.inputs))
    new = (hidden[:, OLD:] @ flat.down.weight[:, OLD:].T).square().sum()
    old = (hidden[:, :OLD] @ flat.down.weight[:, :OLD].T).square().sum()
    assert found.share == pytest.approx((new / (new + old)).item(), rel=1e-5)
    assert 0 < found.share < 1


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_clips_in_parts_tell_the_same(mode):
    net = row(mode)
    stir_(net)
    whole, parts = (standing(net, {"row": NEW}, probe(), Halving(count))["row"] for count in (1, 4))
    assert whole.gradient == pytest.approx(parts.gradient, rel=1e-5)
    assert whole.share == pytest.approx(parts.share, rel=1e-5)


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_looking_leaves_a_network_as_it_was(mode):
    net = row(mode)
    net.train()
    first = trainable(net)[0]
    first.grad = torch.ones_like(first)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    objects = {name: (id(p), p.requires_grad, p.grad) for name, p in net.named_parameters()}
    modes = [part.training for part in net.modules()]
    draws = torch.get_rng_state()
    standing(net, {"row": NEW}, probe(), Halving())
    incumbents_moments(net, {"row": NEW}, [probe()], Halving())
    assert {name: (id(p), p.requires_grad, p.grad) for name, p in net.named_parameters()} == objects
    assert [part.training for part in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def stepped(net: nn.Module, care: Care, steps: int, decay: float = 0.1) -> Upbringing:
    """A few steps of AdamW on the probe's clips."""
    optimizer = torch.optim.AdamW(trainable(net), lr=0.01, weight_decay=decay)
    companion = Upbringing(net, care)
    companion.begin(optimizer)
    what = probe()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(what.inputs), what.labels).backward()
        optimizer.step()
    return companion


def test_newborns_inside_larger_tensors_step_at_a_rate_of_their_own():
    before, plain, apart = row("unfrozen"), row("unfrozen"), row("unfrozen")
    for net in (before, plain, apart):
        stir_(net)
    born = newborn_entries(apart, {"row": NEW})
    stepped(plain, Care([]), 1)
    stepped(apart, Care(born, lr_ratio=4.0), 1)
    for name, start in before.named_parameters():
        mark = torch.zeros_like(start, dtype=torch.bool)
        for one in born:
            if one.parameter == name:
                mark[one.place] = True
        moved, own = plain.get_parameter(name) - start, apart.get_parameter(name) - start
        assert torch.equal(moved[~mark], own[~mark]), name
        torch.testing.assert_close(own[mark], 4 * moved[mark], rtol=1e-4, atol=1e-7)
        assert not mark.any() or bool(moved[mark].abs().max() > 1e-4)


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_inherited_moments_are_the_means_of_the_incumbents(mode):
    """Then newborns step as an optimiser would that has taken so many steps; incumbents begin anew."""
    net = row(mode)
    plain = copy.deepcopy(net)
    batches = [probe(8), probe(6)]
    moments = incumbents_moments(net, {"row": NEW}, batches, Halving())
    flat = fold(net, verify=False)
    flat.up.weight.requires_grad_(True)
    flat.down.weight.requires_grad_(True)
    slopes = []
    for batch in batches:
        loss = nn.functional.cross_entropy(flat(batch.inputs), batch.labels)
        slopes.append(torch.autograd.grad(loss, (flat.up.weight, flat.down.weight)))
    found = {(slot.module, slot.tensor): value for (_, slot), value in moments.items()}
    enter = torch.stack([one[:OLD] for one, _ in slopes])
    leave = torch.stack([one[:, :OLD] for _, one in slopes])
    mean, square = found["up", "weight"]
    assert mean == pytest.approx(enter.mean().item(), rel=1e-4)
    assert square == pytest.approx(enter.square().mean().item(), rel=1e-4)
    mean, square = found["down", "weight"]
    assert square == pytest.approx(leave.square().mean().item(), rel=1e-4)

    born = newborn_entries(net, {"row": NEW})
    whole = frozenset(new_parameters(net))
    (out,) = [one for one in born if one.slot.role == "out"]
    start = net.get_parameter(out.parameter)[out.place].detach().clone()
    what = probe()
    loss = nn.functional.cross_entropy(net(what.inputs), what.labels)
    slope = torch.autograd.grad(loss, net.get_parameter(out.parameter))[0][out.place]
    # The step by hand: AdamW's two means, with the corrections of its third step.
    first, second = mean * (1 - 0.9**2), square * (1 - 0.999**2)
    first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope.square()
    step = (first / (1 - 0.9**3)) / ((second / (1 - 0.999**3)).sqrt() + 1e-8)
    stepped(net, Care(born, whole, moments=moments, after=2), 1)
    stepped(plain, Care([]), 1)
    after = net.get_parameter(out.parameter)[out.place]
    torch.testing.assert_close(after, start * (1 - 0.01 * 0.1) - 0.01 * step, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(after, plain.get_parameter(out.parameter)[out.place], atol=1e-4)
    if mode == "unfrozen":
        assert torch.equal(net.down.weight[:, :OLD], plain.down.weight[:, :OLD])


class Gated(nn.Module):
    """The same row with gates written out, to compare with."""

    def __init__(self, net: Row, behind: torch.Tensor) -> None:
        super().__init__()
        self.net, self.behind = net, nn.Parameter(behind)
        self.gate = nn.Parameter(torch.zeros(NEW))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = torch.cat([self.net.down.weight[:, :OLD], self.behind * self.gate], 1)
        return nn.functional.linear(self.net.act(self.net.up(x)), weight, self.net.down.bias)


def test_gates_learn_as_if_they_were_written_out_and_are_in_the_weights_afterwards():
    net = row("unfrozen")
    born = newborn_entries(net, {"row": NEW})
    scales = outgoing_scales(net, {"row": NEW})
    assert list(scales.values()) == [pytest.approx(net.down.weight[:, :OLD].square().mean().sqrt().item())]
    (out,) = [one for one in born if one.slot.role == "out"]
    drawn = torch.randn(len(out.unit), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    behind = torch.zeros(2, NEW)
    behind[out.place[0], out.place[1] - OLD] = (drawn * next(iter(scales.values()))).float()
    written = Gated(copy.deepcopy(net), behind)
    groups = [{"params": [p for n, p in written.named_parameters() if n != "gate"]},
              {"params": [written.gate], "weight_decay": 0.0}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    what = probe()
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(written(what.inputs), what.labels).backward()
        optimizer.step()
    count = sum(p.numel() for p in net.parameters())
    assert torch.equal(net(what.inputs), row("unfrozen")(what.inputs))
    companion = stepped(net, Care(born, gate=torch.Generator().manual_seed(4), scales=scales), 5)
    assert sum(p.numel() for p in net.parameters()) == count
    torch.testing.assert_close(companion.gates()["row"], written.gate.detach(), rtol=1e-4, atol=1e-6)
    assert bool(written.gate.abs().min() > 1e-3)
    torch.testing.assert_close(net(what.inputs), written(what.inputs), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.up.weight, written.net.up.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_gates_leave_a_frozen_base_alone(mode):
    net = row(mode)
    kept = {name: p.detach().clone() for name, p in net.named_parameters() if not p.requires_grad}
    born, whole = newborn_entries(net, {"row": NEW}), frozenset(new_parameters(net))
    care = Care(born, whole, gate=torch.Generator().manual_seed(4), scales=outgoing_scales(net, {"row": NEW}))
    stepped(net, care, 3)
    assert bool(kept) == (mode == "frozen")
    assert all(torch.equal(net.get_parameter(name), tensor) for name, tensor in kept.items())
    assert any(bool(net.get_parameter(one.parameter)[one.place].any()) for one in born if one.slot.role == "out")
