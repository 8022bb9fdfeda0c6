"""Which sites a network has, and the patterns that select them."""

import pytest
import torch
from torch import nn

from plastsearch.errors import GrowthError, PlastsearchError
from plastsearch.growth.survey import find_sites
from plastsearch.spec.patterns import match_sites

NAMES = [f"encoder.{i}.{kind}" for i in range(12) for kind in ("attention", "head_width", "ffn")]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("encoder.*.ffn", [f"encoder.{i}.ffn" for i in range(12)]),
        ("encoder.{0..2}.attention", [f"encoder.{i}.attention" for i in range(3)]),
        ("encoder.{0,11}.ffn", ["encoder.0.ffn", "encoder.11.ffn"]),
        (["encoder.1.ffn", "encoder.{0..1}.ffn"], ["encoder.0.ffn", "encoder.1.ffn"]),
        ("encoder.3.*", ["encoder.3.attention", "encoder.3.head_width", "encoder.3.ffn"]),
    ],
)
def test_patterns_select_in_order(patterns, expected):
    assert match_sites(patterns, NAMES) == expected


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("encoder.*.fnn", r"no site matches 'encoder\.\*\.fnn'; did you mean 'encoder\.\*\.ffn'"),
        ("encoder.{5..2}.ffn", r"range 5\.\.2 is empty"),
        ("encoder.{0..ffn", "brace without its partner"),
        ("encoder.{}.ffn", "is no list"),
    ],
)
def test_patterns_say_what_is_wrong(pattern, words):
    with pytest.raises(PlastsearchError, match=words):
        match_sites(pattern, NAMES)


class Net(nn.Module):
    def __init__(self, bidirectional=False):
        super().__init__()
        self.gru = nn.GRU(5, 4, batch_first=True, bidirectional=bidirectional)
        self.fc = nn.Linear(4 * (1 + bidirectional), 2)

    def forward(self, x):
        return self.fc(self.gru(x)[0].mean(1))


def test_a_plain_gru_is_found_with_its_reader():
    site = find_sites(Net(bidirectional=True))["gru.0"]
    assert (site.kind, site.units, site.step, site.parts["reads.0"]) == ("hidden", 4, 1, "fc")


def test_a_network_of_another_kind_is_refused():
    with pytest.raises(GrowthError, match="no site that can grow"):
        find_sites(nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(GrowthError, match="unstack_"):
        find_sites(nn.Sequential(nn.GRU(3, 4, num_layers=2), nn.Linear(4, 2)))


def test_the_reader_of_a_gru_is_found_or_asked_for():
    """The first linear layer of a sequence reads it; with two candidates, or a norm between, nothing is guessed."""
    net = Net()
    net.fc = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert find_sites(net)["gru.0"].parts["reads.0"] == "fc.0"
    net.score = nn.Linear(4, 1)
    with pytest.raises(GrowthError, match=r"cannot tell which layers read the output of gru .*fc\.0, score"):
        find_sites(net)
    net = Net()
    net.norm = nn.LayerNorm(4)
    with pytest.raises(GrowthError, match="gru cannot grow: norm, a LayerNorm over its 4 features"):
        find_sites(net)


def test_a_unit_owns_disjoint_entries():
    torch.manual_seed(0)
    net = Net()
    for slot in find_sites(net)["gru.0"].slots:
        tensor = dict(net.get_submodule(slot.module).named_parameters())[slot.tensor]
        assert tensor.shape[slot.dim] == 4 * slot.gates * slot.width + slot.offset
