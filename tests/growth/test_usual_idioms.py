"""Forwards ask a recurrent layer for its sizes and have its weights laid out anew; grown ones answer alike."""

import pytest
import torch
from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.stack import restack_, unstack_


class Usual(nn.Module):
    """As tutorials write it: a first state of zeros, made of the layer's own sizes."""

    def __init__(self, layers: int, bidirectional: bool) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, layers, batch_first=True, bidirectional=bidirectional)
        self.fc = nn.Linear(4 * (1 + bidirectional), 2)

    def forward(self, x):
        self.gru.flatten_parameters()
        rows = self.gru.num_layers * (2 if self.gru.bidirectional else 1)
        first = x.new_zeros(rows, len(x), self.gru.hidden_size)
        assert self.gru.input_size == x.shape[-1]
        assert self.gru.batch_first
        return self.fc(self.gru(x, first)[0].mean(1))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("operator", "mode"), [("widen", "frozen"), ("widen", "unfrozen"), ("parallel", "frozen"), ("stack", "frozen")]
)
def test_a_layer_that_is_asked_for_its_sizes_can_grow(bidirectional, operator, mode):
    torch.manual_seed(0)
    net, x = Usual(1, bidirectional).double(), torch.randn(3, 5, 3).double()
    before = net(x)
    add_neurons_(net, {"gru.0": 2}, operator=operator, mode=mode)
    torch.testing.assert_close(net(x), before, rtol=1e-12, atol=1e-12)
    if operator == "widen":
        torch.testing.assert_close(fold(net, x)(x), before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_stack_answers_for_its_layers(bidirectional):
    torch.manual_seed(0)
    net, x = Usual(3, bidirectional).double(), torch.randn(3, 5, 3).double()
    before = net(x)
    unstack_(net)
    torch.testing.assert_close(net(x), before, rtol=1e-12, atol=1e-12)
    add_neurons_(net, {f"gru.{k}": 2 for k in range(3)})
    torch.testing.assert_close(net(x), before, rtol=1e-12, atol=1e-12)
    whole = fold(net, x)
    torch.testing.assert_close(whole(x), before, rtol=1e-12, atol=1e-12)
    restack_(whole)
    torch.testing.assert_close(whole(x), before, rtol=1e-12, atol=1e-12)


def test_a_stack_of_unlike_widths_has_no_width():
    net = Usual(2, False)
    unstack_(net)
    add_neurons_(net, {"gru.1": 2})
    with pytest.raises(GrowthError, match="layers of 4 and 6 units have no hidden_size in common"):
        net(torch.randn(3, 5, 3))
    assert net.gru(torch.randn(3, 5, 3))[0].shape == (3, 5, 6)
