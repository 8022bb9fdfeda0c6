"""GRUs: old units' states stay, packed input gives what padded input gives, stacks equal what they came from."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.site import declare_, hidden
from plastsearch.growth.stack import restack_, unstack_
from plastsearch.growth.survey import find_sites
from tests.exactness import close

directions = st.booleans()


class One(nn.Module):
    """A GRU and a linear layer over its frames."""

    def __init__(self, bidirectional=False, batch_first=True, bias=True):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=batch_first, bidirectional=bidirectional, bias=bias)
        self.fc = nn.Linear(4 * (1 + bidirectional), 2)

    def forward(self, x, hx=None):
        y, h = self.gru(x, hx)
        if isinstance(y, nn.utils.rnn.PackedSequence):
            y = y._replace(data=self.fc(y.data))
            return y, h
        return self.fc(y), h


@given(directions, st.booleans(), st.booleans(), st.sampled_from(("into_new", "both")), st.integers(0, 9))
@settings(max_examples=40)
def test_whatever_nn_gru_takes(nets, bidirectional, batch_first, bias, lateral, seed):
    """Padded, packed in any order, single sequences, a first state: grown and folded networks agree on all."""
    torch.manual_seed(seed)
    net = One(bidirectional, batch_first, bias).double()
    d = 2 if bidirectional else 1
    add_neurons_(net, {"gru.0": 2}, mode="frozen", lateral=lateral)
    add_neurons_(net, {"gru.0": 1}, mode="frozen", lateral=lateral)
    nets.stir_(net, seed)
    whole = fold(net, torch.randn(3, 6, 3).double())
    lengths = torch.tensor([4, 6, 1])
    x = torch.randn(3, 6, 3).double()
    hx = torch.randn(d, 3, 7).double()
    inputs = [x if batch_first else x.transpose(0, 1), x[0]]
    for given_x, given_h in zip(inputs, (hx, hx[:, 0]), strict=True):
        for first in (None, given_h):
            for ours, theirs in zip(net(given_x, first), whole(given_x, first), strict=True):
                close(ours, theirs)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    for first in (None, hx):
        (ours, h_ours), (theirs, h_theirs) = net(packed, first), whole(packed, first)
        close(ours.data, theirs.data)
        close(h_ours, h_theirs)
        padded, _ = pad_packed_sequence(ours, batch_first=True)
        if not bidirectional:
            alone, _ = net(inputs[0], first)
            alone = alone if batch_first else alone.transpose(0, 1)
            for k, length in enumerate(lengths):
                close(padded[k, :length], alone[k, :length])


@given(directions, st.integers(0, 2), st.sampled_from(("frozen", "unfrozen")), st.integers(0, 9))
@settings(max_examples=30)
def test_final_states_of_old_units_stay(nets, bidirectional, layer, mode, seed):
    case = nets.build("bigru" if bidirectional else "gru", seed)
    states = {}
    for when in ("before", "after"):
        h_n = []
        handles = [
            part.register_forward_hook(lambda _, __, out, h_n=h_n: h_n.append(out[1])) for part in case.net.layers
        ]
        case.net(case.x)
        states[when] = h_n
        for handle in handles:
            handle.remove()
        if when == "before":
            add_neurons_(case.net, {f"gru.{layer}": 3}, mode=mode)
    for old, new in zip(states["before"], states["after"], strict=True):
        torch.testing.assert_close(new[..., : old.shape[-1]], old, rtol=1e-12, atol=1e-12)


@given(directions, st.booleans(), st.booleans(), st.integers(1, 3))
@settings(max_examples=20)
def test_a_stack_equals_the_layers_it_came_from(bidirectional, batch_first, bias, layers):
    torch.manual_seed(0)
    net = nn.Sequential()
    net.gru = nn.GRU(3, 4, layers, batch_first=batch_first, bidirectional=bidirectional, bias=bias).double()
    net.fc = nn.Linear(4 * (1 + bidirectional), 2).double()
    x, hx = torch.randn(5, 5, 3).double(), torch.randn(layers * (1 + bidirectional), 5, 4).double()
    state = copy.deepcopy(net.state_dict())
    packed = pack_padded_sequence(x, torch.tensor([5, 2, 1, 4, 3]), enforce_sorted=False)
    before = [net.gru(x), net.gru(x, hx), net.gru(x[0], hx[:, 0])]
    before_packed = net.gru(packed, hx)
    assert unstack_(net) == (["gru"] if layers > 1 else [])
    for (y, h), (new_y, new_h) in zip(before, [net.gru(x), net.gru(x, hx), net.gru(x[0], hx[:, 0])], strict=True):
        close(y, new_y)
        close(h, new_h)
    y, h = net.gru(packed, hx)
    close(y.data, before_packed[0].data)
    close(h, before_packed[1])
    assert len(find_sites(net)) == layers
    restack_(net)
    assert all(torch.equal(tensor, net.state_dict()[key]) for key, tensor in state.items())
    assert list(state) == list(net.state_dict())


def test_restacking_layers_of_unlike_widths_is_refused():
    from plastsearch.errors import GrowthError

    net = nn.Sequential()
    net.gru, net.fc = nn.GRU(3, 4, 2, batch_first=True), nn.Linear(4, 2)
    unstack_(net)
    add_neurons_(net, {"gru.0": 1}, mode="unfrozen")
    with pytest.raises(GrowthError, match="layers of 5 and 4 units"):
        restack_(net)


def test_declared_readers():
    """A GRU read by two layers, which no rule could guess, declared in one line; still declared in a copy."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.score, self.fc = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 1), nn.Linear(4, 2)

        def forward(self, x):
            y, _ = self.gru(x)
            return self.fc((self.score(y).softmax(1) * y).sum(1))

    torch.manual_seed(0)
    net = Two().double()
    from plastsearch.errors import GrowthError

    with pytest.raises(GrowthError, match="cannot tell which layers read the output of gru"):
        find_sites(net)
    declare_(net, lambda net: [hidden(net, "gru.0", "gru", ["score", "fc"], 0)])
    x = torch.randn(2, 5, 3).double()
    before = net(x)
    twin = copy.deepcopy(net)
    add_neurons_(twin, {"gru.0": 2}, mode="frozen")
    torch.testing.assert_close(twin(x), before, rtol=1e-12, atol=1e-12)
    assert find_sites(twin)["gru.0"].units == 6
    assert find_sites(net)["gru.0"].units == 4
    assert find_sites(fold(twin, x))["gru.0"].units == 6
