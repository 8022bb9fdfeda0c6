"""Candidates see what real new neurons would see, and the budget goes where the gradients are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plastsearch.growth.candidates import Promise, promises, spend
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.initialise import Shares
from plastsearch.growth.site import declare_, ffn

NAMES = ("a", "b", "c")
LABELS = 12


class Three(nn.Module):
    """Three rows of neurons side by side, of whose outputs the loss hears as much as `heard` says."""

    def __init__(self, heard: dict[str, float]) -> None:
        super().__init__()
        self.heard = heard
        self.rows = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3)) for name in NAMES}
        ).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(self.rows[name](x) * self.heard[name] for name in NAMES)


def three(**heard: float) -> Three:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = Three(dict.fromkeys(NAMES, 0.0) | heard)
    declare_(
        net, lambda m: [ffn(m, n, f"rows.{n}.0", f"rows.{n}.2", k, act=f"rows.{n}.1") for k, n in enumerate(NAMES)]
    )
    return net


X = torch.randn(LABELS, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.randn(LABELS, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def loss(net: nn.Module, rows: slice = slice(None)) -> torch.Tensor:
    return (net(X[rows]) - Y[rows]).square().sum() / LABELS


def asked(net: nn.Module, neurons: int = 4, init: str = "random", score: str = "gradient") -> dict[str, Promise]:
    def shares(twin: nn.Module):
        for at in range(0, LABELS, 4):
            yield Shares(lambda _, at=at: [loss(twin, slice(at, at + 4))], 1)

    return promises(
        net, NAMES, neurons, init=init, score=score, lateral="into_new", losses=shares,
        steer=lambda twin: Shares(lambda _: [loss(twin)], 1), generator=torch.Generator().manual_seed(5),
    )  # fmt: skip


@pytest.mark.parametrize("useful", NAMES)
@pytest.mark.parametrize("init", ["random", "pairs", "gradmax"])
def test_where_one_site_alone_has_a_gradient_the_whole_budget_goes_there(useful, init) -> None:
    neurons = 2 if init == "gradmax" else 4
    assert spend(asked(three(**{useful: 1.0}), neurons, init), neurons) == {useful: neurons}


@pytest.mark.parametrize("init", ["random", "orthogonal", "pairs", "copies", "gradmax"])
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_the_score_is_the_gradient_that_new_neurons_see(init, mode) -> None:
    """Against neurons that are really there: only the first site, so that both draw the same values."""
    net = three(a=1.0)
    neurons = 2
    found = asked(net, neurons, init)["a"].gradient
    before = {name: p.clone() for name, p in net.named_parameters()}
    add_neurons_(net, {"a": neurons}, mode=mode, init=init, loss=lambda: loss(net),
                 generator=torch.Generator().manual_seed(5))  # fmt: skip
    loss(net).backward()
    seen = 0.0
    for name, p in net.named_parameters():
        if not name.startswith("rows.a") or p.grad is None or (name.endswith("2.bias")):
            continue
        old = before.get(name)
        new = p.grad if old is None else p.grad[tuple(slice(0, None) for _ in p.shape)]
        if old is not None and old.shape != p.shape:
            dim = next(d for d in range(p.dim()) if p.shape[d] != old.shape[d])
            new = p.grad.narrow(dim, old.shape[dim], neurons)
        seen += float(new.square().sum())
    assert found == pytest.approx(seen**0.5, rel=1e-9)
    assert found > 0


def test_with_gradmax_the_score_is_the_sum_of_the_largest_squared_singular_values() -> None:
    net = three(b=1.0)
    out = net.rows["b"](X).detach()
    error = 2 * (out - Y) / LABELS  # the gradient at the row's output
    singular = torch.linalg.svdvals(error.T @ X)[:2]
    scale = float(net.rows["b"][2].weight.detach().square().mean().sqrt()) * 3**0.5
    slope = 0.5  # of GELU at 0
    bias = (error.sum(0) @ torch.linalg.svd(error.T @ X)[0][:, :2]).square().sum()
    expected = (slope * scale) ** 2 * (singular.square().sum() + bias)
    assert asked(net, 2, "gradmax")["b"].gradient ** 2 == pytest.approx(float(expected), rel=1e-9)


def test_natural_scores_prefer_what_clips_agree_on_to_what_is_loud() -> None:
    """The loud site hears each clip's error; the other one hears their mean, ten thousand times more quietly."""
    found = {score: asked(three(a=1.0, b=1e-2), score=score) for score in ("gradient", "natural")}
    assert spend(found["gradient"], 4) == {"a": 4}
    assert spend(found["natural"], 4).keys() == {"a", "b"}  # quiet, but as sure of itself
    assert all(0 <= one.score <= LABELS / 4 for one in found["natural"].values())


def test_the_network_and_the_global_draws_are_left_alone() -> None:
    net = three(a=1.0, b=0.5)
    net.rows["c"].requires_grad_(False)
    tensors = {name: t.clone() for name, t in net.state_dict().items()}
    flags = [p.requires_grad for p in net.parameters()]
    state = torch.get_rng_state()
    once, again = asked(net), asked(net)
    assert once == again
    assert all(torch.equal(t, tensors[name]) for name, t in net.state_dict().items())
    assert [p.requires_grad for p in net.parameters()] == flags
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 6), st.integers(0, 20)), min_size=1, max_size=5),
    st.integers(0, 40),
)
def test_a_budget_is_spent_but_for_what_no_portion_fits_into(offers, budget) -> None:
    promised = {f"s{k}": Promise(s**0.5, s, portion, most * portion) for k, (s, portion, most) in enumerate(offers)}
    bought = spend(promised, budget)
    left = budget - sum(bought.values())
    assert left >= 0
    for name, one in promised.items():
        count = bought.get(name, 0)
        assert count % one.portion == 0
        assert count <= one.most
        assert one.portion > left or count + one.portion > one.most


def test_sites_share_in_proportion_and_equals_take_turns_from_the_lowest() -> None:
    def offer(score: float, portion: int = 1) -> Promise:
        return Promise(score**0.5, score, portion, 100)

    assert spend({"a": offer(3.0), "b": offer(1.0)}, 8) == {"a": 6, "b": 2}
    assert spend({"a": offer(0.0), "b": offer(0.0)}, 3) == {"a": 2, "b": 1}
    assert spend({"a": offer(9.0, 5), "b": offer(1.0)}, 4) == {"b": 4}  # what fits
