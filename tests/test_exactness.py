"""The witnesses of "the same" can say no: a branch that adds something, a step that differs, a bit that moved."""

import copy

import pytest
import torch
from torch import nn

from plastsearch.growth.dropin import add_neurons_
from plastsearch.models.build import build
from tests.exactness import adding_nothing, close, same, train_alike_

WAVES = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("site", ["encoder.1.ffn", "encoder.2.attention"])
def test_a_branch_that_adds_something_is_seen(site):
    net = build("wav2vec2").eval()
    with pytest.raises(AssertionError, match="no grown block"), adding_nothing(net):
        pass
    add_neurons_(net, {site: 24}, mode="frozen", generator=torch.Generator().manual_seed(0))
    with adding_nothing(net):
        net(WAVES)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(1e-9)  # far below a unit in the last place of what the base gives
    with pytest.raises(AssertionError, match="adds something"), adding_nothing(net):
        net(WAVES)


def test_steps_on_other_gradients_and_moved_bits_are_seen():
    torch.manual_seed(0)
    first, x = nn.Linear(3, 1).double(), torch.randn(5, 3).double()
    second = copy.deepcopy(first)
    pairs = [(net, torch.optim.AdamW(net.parameters(), lr=0.1)) for net in (first, second)]
    train_alike_(pairs, lambda net: net(x).square().mean())
    same(first.state_dict(), second.state_dict())
    with torch.no_grad():
        second.weight[0, 0] = torch.nextafter(second.weight[0, 0], torch.tensor(9.0).double())
    with pytest.raises(AssertionError):
        same(first.state_dict(), second.state_dict())
    close(first.weight, second.weight)
    with pytest.raises(AssertionError):
        train_alike_(pairs, lambda net: net(x).square().mean() * (1 if net is first else 1 + 1e-9))
