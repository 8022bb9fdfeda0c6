"""Who reads a recurrent layer is told by what stands in the network, and only where that leaves no doubt."""

import pytest
import torch
from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.site import declare_, hidden
from plastsearch.growth.survey import find_sites


class Between(nn.Module):
    """Two GRUs with something between them."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.first, self.between = nn.GRU(3, 4, batch_first=True), between
        self.second, self.fc = nn.GRU(4, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.second(self.between(self.first(x)[0]))[0].mean(1))


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (nn.Linear(4, 4), "layers that fit: between, second"),
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), r"layers that fit: between\.0, second"),
        (nn.LayerNorm(4), "between, a LayerNorm over its 4 features"),
        (nn.LayerNorm(4, elementwise_affine=False), "between, a LayerNorm over its 4 features"),
        (nn.Softmax(-1), "between, a Softmax over its 4 features"),
    ],
)
def test_what_stands_between_two_recurrent_layers_is_not_overlooked(between, words):
    """The second layer's input fits, but it is not the first one's output that enters there."""
    net = Between(between)
    with pytest.raises(GrowthError, match=words):
        add_neurons_(net, {"gru.0": 2})
    plain = Between(nn.Dropout(0.1)).double().eval()
    assert find_sites(plain)["gru.0"].parts["reads.0"] == "second"
    x = torch.randn(2, 5, 3).double()
    before = plain(x)
    add_neurons_(plain, {"gru.0": 2})
    torch.testing.assert_close(plain(x), before, rtol=1e-12, atol=1e-12)


class Beside(nn.Module):
    """Two GRUs side by side under one head."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (nn.GRU(3, 4, batch_first=True) for _ in range(2))
        self.fc = nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(torch.cat([self.left(x)[0].mean(1), self.right(x)[0].mean(1)], -1))


def test_one_head_of_two_recurrent_layers_is_not_taken_for_the_reader_of_each():
    """Its columns are not two copies of one layer's units, as they are for mean and deviation."""
    with pytest.raises(GrowthError, match=r"output of left .* fit: fc, which may as well read right"):
        find_sites(Beside())
    net = Beside()
    net.right = nn.Identity()
    net.fc = nn.Linear(8, 2)
    assert find_sites(net)["gru.0"].parts["reads.0"] == "fc"


@pytest.mark.parametrize("between", [nn.Conv1d(4, 4, 3), nn.RNN(4, 4), nn.GRUCell(4, 4)])
def test_other_layers_that_read_a_recurrent_one_are_not_overlooked(between):
    net = nn.Sequential()
    net.gru, net.other, net.fc = nn.GRU(3, 4, batch_first=True), between, nn.Linear(4, 2)
    with pytest.raises(GrowthError, match="layers that fit: other, fc"):
        find_sites(net)
    declare_(net, lambda net: [hidden(net, "gru.0", "gru", ["fc"], 0)])
    assert list(find_sites(net)) == ["gru.0"]


def test_a_chain_that_narrows_by_linear_layers_is_read_layer_by_layer():
    net = nn.Module()
    net.one, net.narrow = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 5)
    net.two, net.fc = nn.GRU(5, 7, batch_first=True, bidirectional=True), nn.Linear(28, 2)
    assert [site.parts["reads.0"] for site in find_sites(net).values()] == ["narrow", "fc"]
