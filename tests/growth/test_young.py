"""Entries that a growth adds step as under a new optimiser, and the old ones as if nothing had grown."""

import copy

import pytest
import torch
from torch import nn, optim

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.optimizer import load_state_, refuse_state, swap_
from plastsearch.growth.prune import remove_neurons_


class Lion(optim.Optimizer):
    """As published (arXiv 2302.06675): state without a count of steps."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["exp_avg"] = torch.zeros_like(p)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(torch.lerp(p.grad, state["exp_avg"], first).sign(), alpha=group["lr"])
                state["exp_avg"].lerp_(p.grad, 1 - second)


KINDS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "adamw maximize": lambda p: optim.AdamW(p, lr=0.01, maximize=True, foreach=False),
    "adamw fused": lambda p: optim.AdamW(p, lr=0.01, fused=True),
    "nadam": lambda p: optim.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda p: optim.RAdam(p, lr=0.01, weight_decay=0.1),
    "adamax": lambda p: optim.Adamax(p, lr=0.01),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.3),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.5),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "rprop": lambda p: optim.Rprop(p, lr=0.01),
    "asgd": lambda p: optim.ASGD(p, lr=0.1, t0=3),
    "lion": lambda p: Lion(p, weight_decay=0.1),
}


def parameter(*shape, g):
    return nn.Parameter(torch.randn(shape, generator=g, dtype=torch.float64))


def more(tensor, fill, rows):
    """A remap that puts rows at the end."""
    return torch.cat([tensor, tensor.new_full((rows, tensor.shape[1]), fill)])


def grow_(optimizer, weight, rows, g):
    new = nn.Parameter(torch.cat([weight.detach(), parameter(rows, weight.shape[1], g=g).detach()]))
    swap_(optimizer, weight, new, lambda t, fill: more(t, fill, rows))
    return new


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_each_age_steps_as_in_a_tensor_of_its_own(kind, scale):
    """Three ages in one tensor, against three tensors with optimisers of their own; saved and loaded on the way."""
    g = torch.Generator().manual_seed(0)
    whole = parameter(3, 2, g=g)
    optimizer = KINDS[kind]([whole])
    apart = [nn.Parameter(whole.detach().clone())]
    others = [KINDS[kind](apart)]
    for step in range(60):
        whole.grad = scale * torch.randn(whole.shape, generator=g, dtype=torch.float64)
        first = 0
        for part, other in zip(apart, others, strict=True):
            part.grad = whole.grad[first : first + len(part)].clone()
            first += len(part)
            other.step()
        optimizer.step()
        torch.testing.assert_close(whole.detach(), torch.cat(apart).detach(), rtol=0, atol=1e-8)
        if step in (25, 40):
            rows = 2 if step == 25 else 1
            whole = grow_(optimizer, whole, rows, g)
            apart.append(nn.Parameter(whole[-rows:].detach().clone()))
            others.append(KINDS[kind]([apart[-1]]))
        if step in (30, 45):
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = KINDS[kind]([whole])
            load_state_(optimizer, state)


@pytest.mark.parametrize("kind", ["adamw", "nadam", "radam"])
def test_the_first_step_is_a_first_step(kind):
    """At |g| = 1e-8, where epsilon matters as much as the gradient does, too."""
    g = torch.Generator().manual_seed(0)
    weight = parameter(4, 3, g=g)
    optimizer = KINDS[kind]([weight])
    for _ in range(200):
        weight.grad = torch.randn(weight.shape, generator=g, dtype=torch.float64)
        optimizer.step()
    weight = grow_(optimizer, weight, 2, g)
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, 1e-8)
    alone = nn.Parameter(before[4:].clone())
    alone.grad = weight.grad[4:].clone()
    KINDS[kind]([alone]).step()
    optimizer.step()
    moved, wanted = (weight - before)[4:].detach(), (alone - before[4:]).detach()
    assert torch.allclose(moved / wanted, torch.ones_like(moved), rtol=1e-9)


def test_ages_follow_whatever_is_removed_or_added():
    """Rows of unlike ages in any order, after removal; when only old entries are left, nothing remembers the young."""
    g = torch.Generator().manual_seed(1)
    weight = parameter(3, 2, g=g)
    optimizer = KINDS["adamw"]([weight])
    ages = torch.zeros(3)

    def take(steps):
        for _ in range(steps):
            weight.grad = torch.randn(weight.shape, generator=g, dtype=torch.float64)
            optimizer.step()
        ages.add_(steps)

    take(10)
    for rows, keep in ((2, [4, 0, 3, 2]), (3, [6, 0, 5, 1, 2])):
        weight = grow_(optimizer, weight, rows, g)
        ages = torch.cat([ages, torch.zeros(rows)])
        take(4)
        new = nn.Parameter(weight.detach()[keep])
        swap_(optimizer, weight, new, lambda t, _, keep=keep: t[keep])
        weight, ages = new, ages[keep]
        take(2)
    state = optimizer.state[weight]
    steps = torch.tensor([float(state["step"])] + [one["steps"] for one in state["cohorts"]])
    assert torch.equal(steps[state["cohort"].long()], ages[:, None].expand(-1, 2))
    only = torch.nonzero(ages == ages.max()).flatten().tolist()
    new = nn.Parameter(weight.detach()[only])
    swap_(optimizer, weight, new, lambda t, _: t[only])
    assert set(optimizer.state[new]) == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize("kind", ["adamw", "nadam", "radam", "lion", "adagrad"])
@pytest.mark.parametrize("name", ["resnet", "bigru", "wav2vec2"])
def test_in_a_network(nets, kind, name):
    """Every new entry of every tensor takes the step that a new optimiser would take, the old ones their own."""
    site, units = {"resnet": ("layer1.0", 3), "bigru": ("gru.1", 2), "wav2vec2": ("encoder.1.ffn", 5)}[name]
    case = nets.build(name)
    optimizer = KINDS[kind](case.net.parameters())
    nets.train_(case, 15, optimizer)
    plain = copy.deepcopy(case.net)
    old = KINDS[kind](plain.parameters())
    old.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    add_neurons_(case.net, {site: units}, mode="unfrozen", optimizer=optimizer)
    fresh = copy.deepcopy(case.net)
    start = {key: p.detach().clone() for key, p in case.net.named_parameters()}
    optimizer.zero_grad()
    nn.functional.cross_entropy(case.net(case.x), case.labels).backward()
    for twin, source in ((fresh, None), (plain, old)):
        new = source or KINDS[kind](twin.parameters())
        for (key, p), (_, whole) in zip(twin.named_parameters(), case.net.named_parameters(), strict=True):
            p.grad = whole.grad.clone() if source is None else None
            if source is not None and p.shape == whole.shape:
                p.grad = whole.grad.clone()
            assert source is not None or torch.equal(p.detach(), start[key])
        new.step()
    optimizer.step()
    grown = 0
    for key, p in case.net.named_parameters():
        age = optimizer.state[p].get("cohort", torch.zeros_like(p))
        first = dict(fresh.named_parameters())[key]
        torch.testing.assert_close(p[age == 1], first[age == 1], rtol=1e-9, atol=1e-12)
        grown += int((age == 1).sum())
        same = dict(plain.named_parameters())[key]
        if same.shape == p.shape:
            torch.testing.assert_close(p, same, rtol=1e-9, atol=1e-12)
    assert grown == sum(p.numel() for p in case.net.parameters()) - sum(p.numel() for p in plain.parameters())
    remove_neurons_(case.net, {site: range(start_of(plain, site), start_of(plain, site) + units)}, optimizer)
    assert not any("cohort" in state for state in optimizer.state.values())


def start_of(net, site):
    from plastsearch.growth.survey import find_sites

    return find_sites(net)[site].units


def test_a_step_that_a_scaler_skips_is_skipped_for_the_young_too():
    """Fused optimisers look at `found_inf` themselves."""
    g = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 2, generator=g))
    optimizer = optim.AdamW([weight], lr=0.01, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)

    def step(weight, slope):
        weight.grad = torch.full_like(weight, slope) * scaler.get_scale()
        scaler.scale(torch.zeros(()))
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    for _ in range(5):
        step(weight, 1.0)
    new = nn.Parameter(torch.cat([weight.detach(), torch.randn(2, 2, generator=g)]))
    swap_(optimizer, weight, new, lambda t, fill: more(t, fill, 2))
    before = new.detach().clone()
    step(new, float("inf"))
    assert torch.equal(new, before)
    step(new, 1.0)
    alone = nn.Parameter(before[3:].clone())
    alone.grad = torch.ones_like(alone)
    optim.AdamW([alone], lr=0.01).step()
    torch.testing.assert_close(new[3:].detach(), alone.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: optim.Adafactor(p, lr=0.1), "optimiser state 'row_var' has shape"),
        (lambda p: optim.LBFGS(p, lr=0.1), "optimiser state '.*' (is a list|has shape)"),
        (lambda p: optim.Muon(p, lr=0.1), "Muon cannot step the entries of a tensor apart"),
    ],
)
def test_state_that_cannot_follow_is_refused(make, words):
    weight = nn.Parameter(torch.ones(3, 2))
    optimizer = make([weight])

    def loss():
        optimizer.zero_grad()
        value = weight.square().sum()
        value.backward()
        return value

    refuse_state(optimizer, [weight])  # it has none yet
    for _ in range(2):
        optimizer.step(loss)
    with pytest.raises(GrowthError, match=words):
        refuse_state(optimizer, [weight])


class Normed(optim.SGD):
    """Steps by what the whole tensor holds, as LARS and LAMB do; its state does not tell."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                p.sub_(p.grad / p.grad.norm(), alpha=group["lr"])


def test_steps_by_a_norm_of_the_whole_tensor_are_refused():
    weight = nn.Parameter(torch.ones(3, 2))
    optimizer = Normed([weight], lr=0.1)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    with pytest.raises(GrowthError, match="Normed steps each entry by what the whole tensor holds"):
        refuse_state(optimizer, [weight])
