"""Neurons that are alike score alike: no criterion tells them apart by rounding, by place or by the order of clips."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from plastsearch.growth.criteria import bin_entropy, middle_ranks, score
from plastsearch.growth.resize import narrow_
from plastsearch.growth.site import declare_, ffn
from plastsearch.growth.survey import find_sites

UNITS, CLIPS, FRAMES = 12, 24, 5
ACTIVITY = ["entropy", "entropy_shared", "variance"]
CRITERIA = [*ACTIVITY, "gradient_entropy", "gradient_norm", "taylor", "magnitude"]


class Row(nn.Module):
    """A feed-forward row read as a mean over frames; `alike` makes some of its units copies, and some silent."""

    def __init__(self, seed: int, alike: list[int], silent: list[int], constant: list[int]) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.up, self.act, self.down = nn.Linear(4, UNITS), nn.ReLU(), nn.Linear(UNITS, 2)
        declare_(self, lambda net: [ffn(net, "site", "up", "down", 0, act="act")])
        with torch.no_grad():
            for j in alike:
                self.up.weight[j], self.up.bias[j] = self.up.weight[0], self.up.bias[0]
                self.down.weight[:, j] = self.down.weight[:, 0]
            self.up.weight[silent + constant] = 0
            self.up.bias[silent], self.up.bias[constant] = -1, 0.7

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(x))).mean(1)


def scores(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    labels = torch.arange(len(x)) % 2
    batches = [(x[:10], labels[:10]), (x[10:], labels[10:])]
    loss = lambda logits, labels: functional.cross_entropy(logits, labels, reduction="none")  # noqa: E731
    found = score(net, ["site"], CRITERIA, batches, loss, torch.Generator())
    return {name: by_site["site"] for name, by_site in found.items()}


def exact_entropy(bins: list[int]) -> float:
    """Entropy from counts alone, summed without rounding, so that the order of the bins cannot matter."""
    n, counts = len(bins), Counter(bins).values()
    return math.fsum(-c / n * math.log(c / n) for c in counts) + (len(counts) - 1) / (2 * n)


@given(st.integers(0, 999), st.integers(2, 60))
@settings(deadline=None)
def test_equal_histograms_have_one_entropy(seed: int, clips: int) -> None:
    """A histogram is the multiset of its counts: which bin holds which count makes no difference to the last bit."""
    g = torch.Generator().manual_seed(seed)
    place = torch.rand(clips, 1, generator=g).double().mul(6).floor()
    others = torch.stack([torch.randperm(6, generator=g) for _ in range(40)], 1).double()
    values = torch.cat([place, others.gather(0, place.long().expand(-1, 40))], 1) + 1
    full = (values == 1).any(0) & (values == 6).any(0)  # columns of one range, so that values are bins
    found = bin_entropy(values, shared=True)
    expected = exact_entropy([int(value) for value in place[:, 0]])
    assert len(set(found.tolist())) == 1
    assert found[0].item() == pytest.approx(expected, rel=0, abs=1e-13)
    own = bin_entropy(values, shared=False)[full]
    assert len(set(own.tolist())) <= 1


def test_the_ranks_of_many_units_on_few_clips_are_those_of_exact_arithmetic() -> None:
    """24 clips leave few different histograms, so most ranks are shared."""
    values = torch.randn(24, 96, generator=torch.Generator().manual_seed(0)).double()
    low, high = values.quantile(0.001, 0), values.quantile(0.999, 0)
    bins = ((values - low) / (high - low) * 64).floor().clamp(0, 63).long()
    exact = torch.tensor([exact_entropy(bins[:, j].tolist()) for j in range(96)], dtype=torch.float64)
    wrong = middle_ranks(bin_entropy(values, shared=False)) != middle_ranks((exact * 1e12).round())
    assert int(wrong.sum()) == 0


subsets = st.lists(st.integers(1, UNITS - 1), max_size=4, unique=True)


@given(st.integers(0, 99), subsets, subsets, subsets, st.permutations(range(UNITS)))
@settings(max_examples=60, deadline=None)
def test_scores_follow_a_permutation_of_units_that_tie(seed, alike, silent, constant, order) -> None:
    """With copies, silent and constant units among them; `gradient_entropy` jumps by half a rank if a tie is lost."""
    silent = [j for j in silent if j not in alike]
    constant = [j for j in constant if j not in alike + silent]
    net = Row(seed, alike, silent, constant).double()
    x = torch.randn(CLIPS, FRAMES, 4, generator=torch.Generator().manual_seed(seed)).double()
    before = scores(net, x)
    narrow_(net, find_sites(net)["site"], torch.tensor(order))
    after = scores(net, x)
    for name in CRITERIA:
        torch.testing.assert_close(after[name], before[name][torch.tensor(order)], rtol=1e-9, atol=1e-12)
        for group in ([0, *alike], *([silent, constant] if name in ACTIVITY else [])):
            torch.testing.assert_close(before[name][group], before[name][group[:1] * len(group)], rtol=1e-9, atol=1e-12)
    for name in ("entropy", "entropy_shared", "gradient_entropy"):
        assert len(set(before[name][[0, *alike]].tolist())) == 1, name


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 99))
@settings(deadline=None)
def test_ranks_join_what_rounding_parts(values: list[int], seed: int) -> None:
    exact = torch.tensor(values, dtype=torch.float64)
    noise = 1e-13 * torch.rand(len(values), generator=torch.Generator().manual_seed(seed)).double()
    assert torch.equal(middle_ranks(exact * (1 + noise), near=1e-12), middle_ranks(exact))
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(middle_ranks(exact[order]), middle_ranks(exact)[order])


@pytest.mark.parametrize("units", [37, 100])
def test_copies_share_a_rank_although_rounding_parts_their_gradients(units: int) -> None:
    torch.manual_seed(0)
    half = units // 2
    net = nn.Sequential()
    net.up, net.act, net.down, net.fc = nn.Linear(16, units), nn.GELU(), nn.Linear(units, 16), nn.Linear(16, 2)
    with torch.no_grad():
        for tensor in (net.up.weight, net.up.bias, net.down.weight.T):
            tensor[half : 2 * half] = tensor[:half]
    declare_(net, lambda net: [ffn(net, "site", "up", "down", 0, act="act")])
    found = scores(net, torch.randn(40, 16))["gradient_entropy"]
    assert found[:half].tolist() == found[half : 2 * half].tolist()
