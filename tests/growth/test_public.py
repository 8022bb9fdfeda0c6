"""What `plastsearch.growth` offers to the outside: a listed handful, one call to shrink, one to undo, one example."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import plastsearch.growth as growth
from plastsearch.errors import GrowthError
from plastsearch.growth import add_neurons_, find_sites, fold, shrink_, trainable

EXAMPLE = Path(__file__).parents[2] / "examples" / "grow_your_own.py"


def test_the_names_are_these_and_all_are_there():
    assert growth.__all__ == [
        "Dropin", "Site", "add_neurons_", "choose", "declare_", "find_sites", "fold", "fold_", "grow_kernels_",
        "load_grown_", "remove_neurons_", "save_grown", "score", "shrink_", "trainable",
    ]  # fmt: skip
    assert all(callable(getattr(growth, name)) for name in growth.__all__)
    with pytest.raises(AttributeError, match="has no 'grow'; it has Dropin, Site"):
        growth.grow  # noqa: B018


def test_the_example_is_short_and_runs():
    assert len(EXAMPLE.read_text().splitlines()) < 45
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sites {'gru.0': 16, 'gru.1': 24}" in done.stdout
    assert len(eval(done.stdout.split("removed units ")[1])) == 8  # noqa: S307 - our own example's list


@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
@pytest.mark.parametrize(
    ("name", "neurons"), [("wav2vec2", {"encoder.1.ffn": 3, "encoder.0.attention": 4}), ("resnet", {"layer1.0": 2}),
                          ("gru", {"gru.0": 2, "gru.2": 1})],
)  # fmt: skip
def test_undoing_a_dropin_gives_back_the_very_network(nets, name, neurons, mode):
    """Also after a few steps: a frozen base has not moved, and what was unfrozen keeps what it learnt."""
    case = nets.build(name)
    state = {key: value.clone() for key, value in case.net.state_dict().items()}
    dropin = add_neurons_(case.net, neurons, mode=mode)
    if mode == "frozen":
        optimiser = torch.optim.AdamW(trainable(case.net))
        nn.functional.cross_entropy(case.net(case.x), case.labels).backward()
        optimiser.step()
    dropin.undo_(case.net)
    now = case.net.state_dict()
    assert list(now) == list(state)
    assert all(torch.equal(now[key], state[key]) for key in state)


def test_a_stacked_layer_is_not_undone(nets):
    case = nets.build("wav2vec2")
    dropin = add_neurons_(case.net, {"encoder.1.ffn": 3}, operator="stack")
    with pytest.raises(GrowthError, match="stacked layer"):
        dropin.undo_(case.net)


def test_shrinking_is_scoring_choosing_and_removing(nets):
    case = nets.build("resnet")
    dropin = add_neurons_(case.net, {"layer1.0": 3}, mode="frozen")
    net, loss = fold(case.net, case.x), nn.CrossEntropyLoss(reduction="none")
    units = find_sites(net)["layer1.0"].units
    gone = shrink_(net, {"layer1.0": 3}, [(case.x, case.labels)], loss, criterion="newest", added=dropin.units)
    assert gone["layer1.0"].tolist() == list(range(units - 3, units))
    assert find_sites(net)["layer1.0"].units == units - 3


def test_a_width_that_does_not_fit_is_named(nets):
    case = nets.build("wav2vec2")
    with pytest.raises(GrowthError, match=r"'encoder.0.attention' cannot lose 3: its neurons come in multiples of 4"):
        shrink_(case.net, {"encoder.0.attention": 3}, [(case.x, case.labels)], nn.CrossEntropyLoss(reduction="none"))
