"""How a chain of recurrent layers runs as one: each reads the input and what earlier ones gave a step before.

Axes: T time, B batch, F features, D directions, listed as [forward | backward], H units.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from plastsearch.growth.recurrent.cells import Cell, Frames, RecurrentLayer, States, Weights
from plastsearch.growth.resize import unflatten

BACK = ("", "_reverse")  # the endings of a layer's weights for its two directions
# In this order torch's own functions expect a direction's weights; they have no names for them.
_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass(frozen=True)
class Run:
    """One run of a chain: its weights, those that read earlier runs, and its module if it is plain."""

    cell: Cell
    units: int
    weights: Weights
    old: Weights  # weight_old…: reads of the previous state of all earlier runs
    plain: nn.GRU | nn.LSTM | None = None  # the network's own layer, run as it is: cuDNN wants its weights in one piece


def all_gates(cell: Cell, reads: Tensor, count: int) -> Tensor:
    """Reads of the old state for every gate: zero for those that do not hear it (see cells.py)."""
    lacking = cell.gates * count - reads.shape[0]
    return torch.cat([reads, reads.new_zeros(lacking, reads.shape[1])]) if lacking else reads


def run(chain: list[Run], layer: RecurrentLayer, input: Frames, hx: Any) -> tuple[Frames, Any]:
    """Runs a chain on what its layer takes: padded, packed or a single sequence, with or without a first state."""
    lengths: Tensor | None = None
    if isinstance(input, PackedSequence):
        x_TBF, lengths = pad_packed_sequence(input)
    elif input.dim() == 2:
        x_TBF = input.unsqueeze(1)
    else:
        x_TBF = input.transpose(0, 1) if layer.batch_first else input
    directions = 2 if layer.bidirectional else 1
    # A first state lists old units, then new ones, in each direction: its last axis is cut, not its first.
    cell = chain[0].cell
    first = cell.states(hx)
    given: list[States | None] = [None] * len(chain)
    if first is not None:
        whole = [state if state.dim() == 3 else state.unsqueeze(1) for state in first]
        given = list(zip(*[torch.split(state, [step.units for step in chain], -1) for state in whole], strict=True))
    outputs: list[Tensor] = []
    finals: list[States] = []
    reads: list[list[Tensor]] = [[] for _ in range(directions)]
    for k, step in enumerate(chain):
        y, h = _run_one(step, layer, x_TBF, reads, given[k], lengths)
        outputs.append(unflatten(y, -1, (directions, -1)))
        finals.append(h)
        if k + 1 < len(chain):
            before = given[k]
            _shift_into(reads, outputs[-1], None if before is None else before[0], lengths)
    # [T, B, direction, units] each, so that new units stand at the end of either direction, as in one wider layer.
    y_TBF = torch.cat(outputs, -1).flatten(-2)
    last = tuple(torch.cat(parts, -1) for parts in zip(*finals, strict=True))
    if isinstance(input, PackedSequence):
        assert lengths is not None
        return _packed_like(input, y_TBF, lengths.cpu()), cell.given(last)
    if input.dim() == 2:
        return y_TBF.squeeze(1), cell.given(tuple(state.squeeze(1) for state in last))
    return (y_TBF.transpose(0, 1) if layer.batch_first else y_TBF), cell.given(last)


def _packed_like(packed: PackedSequence, y_TBF: Tensor, lengths: Tensor) -> PackedSequence:
    """Frames packed in the order of another sequence: clips of one length may stand in any, and rows have to match."""
    order = packed.sorted_indices
    if order is not None:
        y_TBF = y_TBF[:, order]
        lengths = lengths[order.cpu()]
    rows = pack_padded_sequence(y_TBF, lengths).data
    return PackedSequence(rows, packed.batch_sizes, order, packed.unsorted_indices)


def _run_one(
    step: Run,
    layer: RecurrentLayer,
    x_TBF: Tensor,
    reads: list[list[Tensor]],
    states: States | None,
    lengths: Tensor | None,
) -> tuple[Tensor, States]:
    """One run: the original module as it is, or a layer of assembled weights that also reads earlier runs."""
    cell = step.cell
    directions = len(reads)
    wide = x_TBF
    weights: dict[str, Tensor] = dict(step.weights)
    if step.old:
        # What earlier runs gave at the previous step goes in as further input. The layer shows both directions the same
        # input, so the reads of both stand in it, and each direction has zeros where the other one's are.
        wide = torch.cat([x_TBF, *[part for direction in reads for part in direction]], -1)
        for d in range(directions):
            old = all_gates(cell, step.old[f"weight_old{BACK[d]}"], step.units)
            blind = torch.zeros_like(old)
            name = f"weight_ih_l0{BACK[d]}"
            weights[name] = torch.cat([weights[name], *[old if e == d else blind for e in range(directions)]], 1)
    if states is None:  # which the layer makes by itself, but torch's function does not
        zero = x_TBF.new_zeros(directions, x_TBF.shape[1], step.units)
        states = (zero,) if cell.single else (zero, zero)
    names = [f"{kind}_l0{BACK[d]}" for d in range(directions) for kind in _KINDS if f"{kind}_l0{BACK[d]}" in weights]
    flat = [weights[name] for name in names]
    settings = {"biases": "bias_ih_l0" in weights, "both": directions == 2}
    if lengths is None:
        if step.plain is not None:
            y, found = step.plain(wide.transpose(0, 1) if layer.batch_first else wide, cell.given(states))
            return (y.transpose(0, 1) if layer.batch_first else y), cell.states(found) or ()
        return cell.run(wide, None, states, flat, **settings)
    # Packed again for each run: going backward has to begin at each clip's own last frame, not at the padding.
    packed = pack_padded_sequence(wide, lengths.cpu(), enforce_sorted=False)
    if step.plain is not None:
        out, found = step.plain(packed, cell.given(states))
        last = cell.states(found) or ()
    else:
        order, back = packed.sorted_indices, packed.unsorted_indices
        assert order is not None
        assert back is not None
        # The function takes clips as they are packed; the module sorts by itself.
        sorted_states = tuple(state[:, order].contiguous() for state in states)
        data, last = cell.run(packed.data, packed.batch_sizes, sorted_states, flat, **settings)
        last = tuple(state[:, back] for state in last)
        out = PackedSequence(data, packed.batch_sizes, order, back)
    return pad_packed_sequence(out, total_length=x_TBF.shape[0])[0], last


def _shift_into(reads: list[list[Tensor]], y_TBDH: Tensor, h0: Tensor | None, lengths: Tensor | None) -> None:
    """Appends each direction's previous state: of the frame before, or of the frame after going backward."""
    for d, parts in enumerate(reads):
        y = y_TBDH[:, :, d]
        first = y.new_zeros(1, *y.shape[1:]) if h0 is None else h0[d : d + 1]
        if d == 0:
            parts.append(torch.cat([first, y[:-1]]))
            continue
        after = torch.cat([y[1:], first])
        # A clip that ends early begins going backward at its last frame: there, not at the end, stands the first state.
        # Where none was given it is zero, as padding is already.
        if lengths is not None and h0 is not None:
            last = (lengths - 1).to(y.device)
            after = after.index_put((last, torch.arange(y.shape[1], device=y.device)), first[0])
        parts.append(after)
