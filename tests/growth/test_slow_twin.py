"""Grown recurrent networks against one that runs each clip, direction and frame alone, by the equations.

r, z = σ(W x + b + U h + c); n = tanh(W x + b + r · (U h + c)); h' = (1 − z) n + z h. New units see the old units' last
state in r and z; with `lateral` both in n, too, and then old units see the new ones. A removed unit is 0 throughout.
"""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.recurrent.layers import GrownRecurrent, WideInput
from plastsearch.growth.site import declare_, hidden
from plastsearch.growth.stack import unstack_
from plastsearch.growth.survey import find_sites


class Net(nn.Module):
    """Packed layers in both directions, a projection of the packed rows between them, a head on the last states."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.GRU(3, 4, bidirectional=True)
        self.middle = nn.Linear(8, 5)
        self.rest = nn.GRU(5, 3, num_layers=2, bidirectional=True)
        self.fc = nn.Linear(6, 2)
        unstack_(self)
        rows = ("first", ["middle"]), ("rest.layers.0", ["rest.layers.1"]), ("rest.layers.1", ["fc"])
        declare_(self, lambda net: [hidden(net, f"gru.{i}", a, b, i) for i, (a, b) in enumerate(rows)])

    def forward(self, x: PackedSequence, first: Tensor | None = None) -> Tensor:
        y, _ = self.first(x, first)
        y = y._replace(data=torch.tanh(self.middle(y.data)))
        h = self.rest(y)[1]
        return self.fc(torch.cat([h[-2], h[-1]], -1))


def layers_of(module: nn.Module) -> list[tuple[nn.GRU, list[dict[str, Tensor]]]]:
    """The ordinary layer under all blocks, and what each block adds, the oldest first."""
    added = []
    while not isinstance(module, nn.GRU):
        assert isinstance(module, GrownRecurrent | WideInput)
        added.append((module, dict(module.named_parameters(recurse=False))))
        module = module.base
    return module, added[::-1]


def slow_layer(module: nn.Module, x_TF: Tensor, first: Tensor | None, gone: list[int]) -> tuple[Tensor, list[Tensor]]:
    """Outputs [T, directions × units] of one clip, and the last state of each direction."""
    base, added = layers_of(module)
    outs, lasts = [], []
    for d, back in enumerate(("", "_reverse")):
        u_in, u_hid = getattr(base, f"weight_ih_l0{back}"), getattr(base, f"weight_hh_l0{back}")
        b_in, b_hid = getattr(base, f"bias_ih_l0{back}"), getattr(base, f"bias_hh_l0{back}")
        w = [list(u_in.chunk(3)), list(b_in.chunk(3)), list(u_hid.chunk(3)), list(b_hid.chunk(3))]
        for block, own in added:
            if isinstance(block, WideInput):
                columns = own[f"weight_ih_l0{back}"].chunk(3)
                for g in range(3):  # the reader's input lists, for each of its gates, old features and then new ones
                    old = w[0][g].unflatten(1, (block.gates, -1))
                    w[0][g] = torch.cat([old, columns[g].unflatten(1, (block.gates, -1))], 2).flatten(1)
                continue
            n, size = block.new_units, w[2][0].shape[0]
            reads = own[f"weight_old{back}"].split(n)
            for g in range(3):
                w[0][g] = torch.cat([w[0][g], own[f"weight_ih_l0{back}"].chunk(3)[g]])
                w[1][g] = torch.cat([w[1][g], own[f"bias_ih_l0{back}"].chunk(3)[g]])
                w[3][g] = torch.cat([w[3][g], own[f"bias_hh_l0{back}"].chunk(3)[g]])
                new_old = reads[g] if g < len(reads) else torch.zeros(n, size).double()
                seen = own[f"weight_back{back}"].chunk(3)[g] if block.both else torch.zeros(size, n).double()
                below = torch.cat([new_old, own[f"weight_hh_l0{back}"].chunk(3)[g]], 1)
                w[2][g] = torch.cat([torch.cat([w[2][g], seen], 1), below])
        units = w[2][0].shape[0]
        h = torch.zeros(units).double() if first is None else first[d]
        keep = torch.tensor([float(j not in gone) for j in range(units)]).double()
        h, rows = h * keep, []
        for x in x_TF if d == 0 else x_TF.flip(0):
            inside, hidden_side = ([w[a][g] @ v + w[a + 1][g] for g in range(3)] for a, v in ((0, x), (2, h)))
            r, z = (torch.sigmoid(inside[g] + hidden_side[g]) for g in (0, 1))
            new = torch.tanh(inside[2] + r * hidden_side[2])
            h = ((1 - z) * new + z * h) * keep
            rows.append(h)
        outs.append(torch.stack(rows if d == 0 else rows[::-1]))
        lasts.append(h)
    return torch.cat(outs, 1), lasts


def linear(module: nn.Module, x: Tensor) -> Tensor:
    """A linear layer, through its blocks: each adds its own columns of the newest features of every gate."""
    if isinstance(module, nn.Linear):
        return module(x)
    each = x.unflatten(-1, (module.gates, -1))
    old = each[..., : each.shape[-1] - module.new_units]
    return linear(module.base, old.flatten(-2)) + each[..., old.shape[-1] :].flatten(-2) @ module.new.weight.T


def slow(
    net: Net, clips: list[Tensor], first: Tensor | None = None, gone: dict[int, list[int]] | None = None
) -> Tensor:
    gone = gone or {}
    found = []
    for i, x in enumerate(clips):
        y, _ = slow_layer(net.first, x, None if first is None else first[:, i], gone.get(0, []))
        y, _ = slow_layer(net.rest.layers[0], torch.tanh(linear(net.middle, y)), None, gone.get(1, []))
        found.append(linear(net.fc, torch.cat(slow_layer(net.rest.layers[1], y, None, gone.get(2, []))[1])))
    return torch.stack(found)


def packed(clips: list[Tensor], order: list[int]) -> PackedSequence:
    """Clips in one packed sequence, those of one length in the given order."""
    place = sorted(range(len(clips)), key=lambda i: (-len(clips[i]), order[i]))
    rows = [clips[i] for i in place]
    made = pack_padded_sequence(nn.utils.rnn.pad_sequence(rows), torch.tensor([len(row) for row in rows]))
    back = torch.empty(len(clips), dtype=torch.long)
    back[torch.tensor(place)] = torch.arange(len(clips))
    return PackedSequence(made.data, made.batch_sizes, torch.tensor(place), back)


def stir_(net: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator).double())


close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)  # noqa: E731


@given(st.integers(0, 999), st.data())
@settings(max_examples=15, deadline=None)
def test_twice_grown_packed_folded_and_pruned_it_is_what_the_equations_say(seed: int, data: st.DataObject) -> None:
    """Two rounds at any layers, the same ones too, in both ways; then any units go, old, middle-aged and new."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = Net().double()
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=5))
    clips = [torch.randn(n, 3, generator=generator).double() for n in lengths]
    x = packed(clips, data.draw(st.permutations(range(len(clips)))))
    for _ in range(2):
        sites = data.draw(st.lists(st.sampled_from(["gru.0", "gru.1", "gru.2"]), min_size=1, max_size=2, unique=True))
        lateral, before = data.draw(st.sampled_from(["into_new", "both"])), net(x)
        add_neurons_(net, {site: data.draw(st.integers(1, 2)) for site in sites}, lateral=lateral, generator=generator)
        close(net(x), before)
        stir_(net, generator)
    units = [site.units for site in find_sites(net).values()]
    first = torch.randn(2, len(clips), units[0], generator=generator).double()
    expected = slow(net, clips, first)
    close(net(x, first), expected)
    whole = fold(net, x, first=first)
    close(whole(x, first), expected)
    gone = {k: sorted(data.draw(st.sets(st.integers(0, units[k] - 1), max_size=units[k] - 1))) for k in range(3)}
    remove_neurons_(whole, {f"gru.{k}": chosen for k, chosen in gone.items() if chosen})
    left = first[..., [j for j in range(units[0]) if j not in gone[0]]]
    close(whole(x, left), slow(net, clips, first, gone))


@pytest.mark.parametrize("lateral", ["into_new", "both"])
def test_rows_of_a_packed_sequence_stay_where_they_are(lateral: str) -> None:
    """Whoever adds what entered to what left, row by row, adds each clip to itself, also among clips of one length."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.fc = nn.GRU(3, 3), nn.Linear(3, 3)

        def forward(self, x: PackedSequence) -> Tensor:
            y = self.gru(x)[0]
            return pad_packed_sequence(x._replace(data=x.data + self.fc(y.data)))[0]

    torch.manual_seed(0)
    net = Residual().double()
    x = packed([torch.randn(n, 3).double() for n in (3, 4, 4, 3, 4)], [3, 4, 2, 0, 1])
    before = net(x)
    add_neurons_(net, {"gru.0": 2}, lateral=lateral)
    close(net(x), before)
    stir_(net, torch.Generator().manual_seed(0))
    other = copy.deepcopy(net)
    close(fold(net, x)(x), other(x))
