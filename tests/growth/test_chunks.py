"""Res2Net blocks: which are recognised, that their chunks grow alike, and what is refused in their place."""

import copy

import pytest
import torch
from torch import Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth import add_neurons_, find_sites, fold, remove_neurons_
from plastsearch.growth.survey import survey
from tests.exactness import adding_nothing, close, same
from tests.growth.conftest import Res2Block


class Net(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block, self.fc = block, nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.block(x).mean(-1))


class NormFirst(Res2Block):
    """Norms before activations, cut by number, without an attribute that says the width."""

    def __init__(self) -> None:
        super().__init__(6, 3, 4)
        del self.width

    def row(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.bn1(self.conv1(x)))

    def chunked(self, row: Tensor) -> Tensor:
        parts = row.chunk(self.nums + 1, dim=1)
        given = []
        for k in range(self.nums):
            heard = given[-1] + parts[k] if given else parts[k]
            given.append(torch.relu(self.bns[k](self.convs[k](heard))))
        return self.conv3(torch.cat([*given, parts[-1]], 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.chunked(self.row(x)) + x


class FirstPasses(Res2Block):
    """The first chunk goes by, as some have it, not the last."""

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(self.bn1(self.relu(self.conv1(x))), self.width, 1)
        given = [parts[0]]
        for k, (conv, norm) in enumerate(zip(self.convs, self.bns, strict=True)):
            heard = parts[k + 1] if k == 0 else given[-1] + parts[k + 1]
            given.append(norm(self.relu(conv(heard))))
        return self.conv3(torch.cat(given, 1)) + x


class ReadTwice(NormFirst):
    def forward(self, x: Tensor) -> Tensor:
        row = self.row(x)
        return self.chunked(row) + x + row.mean(1, keepdim=True)


class Scaled(NormFirst):
    def forward(self, x: Tensor) -> Tensor:
        return self.chunked(2 * self.row(x)) + x


def made(block: nn.Module) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(3)
    net = Net(block).double().eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return net, torch.randn(3, 6, 20, dtype=torch.float64)


@pytest.mark.parametrize("kind", [lambda: Res2Block(6, 3, 4), NormFirst])
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_a_channel_in_every_chunk_comes_and_goes(kind, mode):
    net, x = made(kind())
    reference = copy.deepcopy(net)
    site = find_sites(net)["block.chunks"]
    assert (site.units, site.step, site.width) == (3, 4, 12)
    dropin = add_neurons_(net, {"block.chunks": 8}, mode=mode)
    if mode == "frozen":
        with adding_nothing(net):
            close(net(x), reference(x))
    close(net(x), reference(x))
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad and mode == "frozen":
                parameter.add_(torch.randn_like(parameter) / 5)
    changed = net(x)
    whole = fold(net, x)
    close(whole(x), changed)
    assert (changed - reference(x)).abs().max() > 1e-3 or mode == "unfrozen"
    assert whole.block.conv1.out_channels == whole.block.conv3.in_channels == 20
    assert [(conv.in_channels, conv.out_channels) for conv in whole.block.convs] == [(5, 5)] * 3
    assert getattr(whole.block, "width", 5) == 5
    remove_neurons_(whole, {"block.chunks": torch.tensor(list(dropin.new_units("block.chunks")))})
    if mode == "unfrozen":
        same(whole.state_dict(), reference.state_dict())
    assert getattr(whole.block, "width", 3) == 3
    assert {name: value.shape for name, value in whole.state_dict().items()} == {
        name: value.shape for name, value in reference.state_dict().items()
    }


def test_a_frozen_block_is_itself_again_without_what_came():
    net, x = made(Res2Block(6, 3, 4))
    reference = copy.deepcopy(net)
    dropin = add_neurons_(net, {"block.chunks": 4}, mode="frozen")
    whole = fold(net, x)
    remove_neurons_(whole, {"block.chunks": torch.tensor(list(dropin.new_units("block.chunks")))})
    same(whole.state_dict(), reference.state_dict())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (lambda: FirstPasses(6, 3, 4), "does not send its chunks the way of a Res2Net block: each but the last"),
        (ReadTwice, "channels of block are read outside its chunks, too"),
        (Scaled, "is no Res2Net block: its forward calls mul on its channels"),
    ],
)
def test_another_way_through_the_chunks_is_refused_in_words(kind, words):
    net, _ = made(kind())
    assert "block.chunks" not in find_sites(net)
    assert words in survey(net)[1]["block.chunks"]
    with pytest.raises(GrowthError, match=words.split(":")[0]):
        add_neurons_(net, {"block.chunks": 4})


def test_neurons_come_by_chunks_and_go_without_means():
    net, _ = made(Res2Block(6, 3, 4))
    with pytest.raises(GrowthError, match="4"):
        add_neurons_(net, {"block.chunks": 6})
    with pytest.raises(GrowthError, match="a chunk hears the sum of two others"):
        remove_neurons_(net, {"block.chunks": [0]}, means={"block.chunks": torch.zeros(12)})


def test_two_convolutions_of_a_sequence_are_a_site_and_what_is_unknown_between_them_is_none():
    net = nn.Sequential(
        nn.Conv1d(2, 3, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.Dropout(0.2), nn.Conv1d(3, 4, 1), nn.Softmax(1),
        nn.Conv1d(4, 2, 1), nn.Conv1d(2, 2, 1),
    ).double().eval()  # fmt: skip
    holder = nn.ModuleDict({"row": net})
    sites, refused = survey(holder)
    assert list(sites) == ["row.0"]
    assert sites["row.0"].parts["late_norm"] == "row.2"
    assert "there is no activation between 6 and 7" in refused["row.6"]
    x = torch.randn(2, 2, 9, dtype=torch.float64)
    before = net(x)
    add_neurons_(holder, {"row.0": 2}, mode="frozen")
    close(holder["row"](x), before)
