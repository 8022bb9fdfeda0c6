"""Grown one-layer GRUs: new units beside a frozen layer, and a wider input of the layer that reads them.

Axes: T time, B batch, F features; a layer of D directions lists them as [forward | backward]. New units read the input,
the old units' previous state and themselves; old units read new ones only if `lateral` is both. The candidate gate of
new units does not see the old state: nn.GRU applies its reset gate to the whole hidden side, so a candidate that reads
the old state through the input side could not be folded into one layer again.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from plastsearch.growth.resize import insert, unflatten
from plastsearch.growth.site import Slot

Weights = Mapping[str, Tensor]  # as an nn.GRU of one layer names them
Frames = Tensor | PackedSequence  # what nn.GRU reads and gives: a padded batch, a single sequence, or a packed batch
_BACK = ("", "_reverse")  # nn.GRU's endings for its two directions
# In this order torch's own function expects a direction's weights; it has no names for them.
_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass(frozen=True)
class GRURun:
    """One run of a GRU in a chain: its weights, those that read earlier runs, and its module if it is plain."""

    units: int
    weights: Weights
    old: Weights  # weight_old…: reads of the previous state of all earlier runs
    plain: nn.GRU | None = None  # the network's own layer, run as it is: cuDNN wants its weights in one piece


class RecurrentLayer(Protocol):
    """What a network's forward may ask of a one-layer nn.GRU, and so of the blocks that stand around one."""

    batch_first: bool
    bidirectional: bool

    @property
    def hidden_size(self) -> int: ...
    @property
    def input_size(self) -> int: ...
    def flatten_parameters(self) -> None: ...
    def __call__(self, input: Frames, hx: Tensor | None = None) -> tuple[Frames, Tensor]: ...


class AroundGRU(nn.Module):
    """A block around a one-layer nn.GRU, which answers what a forward may ask of one."""

    wraps_base = True
    num_layers = 1
    # Of the block alone; sites count both along a chain of blocks.
    new_units = 0
    new_inputs = 0

    def __init__(self, base: RecurrentLayer) -> None:
        super().__init__()
        self.base = base
        self.batch_first = base.batch_first
        self.bidirectional = base.bidirectional

    # Asked of the base each time: it may be a grown block itself.
    @property
    def hidden_size(self) -> int:
        return int(self.base.hidden_size) + self.new_units

    @property
    def input_size(self) -> int:
        return int(self.base.input_size) + self.new_inputs

    def flatten_parameters(self) -> None:
        self.base.flatten_parameters()


class GrownGRU(AroundGRU):
    """New hidden units beside a layer; with `lateral` both, old units also read new ones and all run as one layer."""

    def __init__(self, base: RecurrentLayer, values: Weights, *, both: bool) -> None:
        super().__init__(base)
        self.both = both
        self.new_units = values["weight_hh_l0"].shape[1]
        for name, tensor in values.items():
            # A copy, since some values are views of larger tensors, which would be kept and saved whole.
            self.register_parameter(name, nn.Parameter(tensor.clone()))

    def extend(self, chain: list[GRURun]) -> list[GRURun]:
        """The base's chain with these units after it, or within one run if old units read them."""
        own = dict(self.named_parameters(recurse=False))
        if not self.both:
            old = {name: tensor for name, tensor in own.items() if name.startswith("weight_old")}
            weights = {name: tensor for name, tensor in own.items() if name not in old}
            return [*chain, GRURun(self.new_units, weights, old)]
        # Old units read new ones, which read old ones, at each step: no run can be computed before another.
        return [GRURun(self.hidden_size, _joined(merge(chain), own), {})]

    def forward(self, input: Frames, hx: Tensor | None = None) -> tuple[Frames, Tensor]:
        return run(chain_of(self), self, input, hx)


class WideInputGRU(AroundGRU):
    """New input columns beside a layer, for the new units of the layer that it reads."""

    def __init__(self, base: RecurrentLayer, columns: Weights, gates: int) -> None:
        super().__init__(base)
        self.gates = gates
        self.new_inputs = columns["weight_ih_l0"].shape[1]
        for name, tensor in columns.items():
            self.register_parameter(name, nn.Parameter(tensor.clone()))

    def extend(self, chain: list[GRURun]) -> list[GRURun]:
        """Each run of the chain with its share of the columns."""
        wider = []
        first = 0
        for step in chain:
            weights = dict(step.weights)
            for name, columns in self.named_parameters(recurse=False):
                # Rows lie gate by gate, as in one layer, and each run has a part of every gate.
                share = unflatten(columns, 0, (3, -1))[:, first : first + step.units].flatten(0, 1)
                weights[name] = insert(weights[name], share, Slot("", name, 1, "out", gates=self.gates))
            # Not plain any more: the module's own weights lack the columns.
            wider.append(replace(step, weights=weights, plain=None))
            first += step.units
        return wider

    def forward(self, input: Frames, hx: Tensor | None = None) -> tuple[Frames, Tensor]:
        return run(chain_of(self), self, input, hx)


def chain_of(layer: object) -> list[GRURun]:
    """The runs that make up a layer with all its grown blocks, the original first."""
    if isinstance(layer, nn.GRU):
        return [GRURun(layer.hidden_size, dict(layer.named_parameters(recurse=False)), {}, layer)]
    assert isinstance(layer, GrownGRU | WideInputGRU)  # a layer with a branch or one more on top is refused before
    return layer.extend(chain_of(layer.base))


def merge(chain: list[GRURun]) -> Weights:
    """The weights of one ordinary layer that computes what the chain computes."""
    merged: Weights = dict(chain[0].weights)
    for step in chain[1:]:
        merged = _joined(merged, {**step.weights, **step.old})
    return merged


def _joined(old: Weights, new: Weights) -> Weights:
    """Old units and new ones in one layer; connections that `new` does not name are zero."""
    merged: dict[str, Tensor] = {}
    for back in _BACK:
        if f"weight_hh_l0{back}" not in old:
            continue
        hh = old[f"weight_hh_l0{back}"]
        own = new[f"weight_hh_l0{back}"]
        units = hh.shape[1]
        count = own.shape[1]
        # [ old → old | new → old ]   The square of one layer, three times over: reset, update and candidate gate
        # [ old → new | new → new ]   each have their rows, so blocks are put together gate by gate.
        reads = _candidate_blind(new[f"weight_old{back}"], count)
        rows = insert(hh, reads, Slot("", "", 0, "in", gates=3))
        backward = new.get(f"weight_back{back}", hh.new_zeros(3 * units, count))
        columns = insert(backward, own, Slot("", "", 0, "in", gates=3))
        merged[f"weight_hh_l0{back}"] = torch.cat([rows, columns], 1)
        for name in (f"weight_ih_l0{back}", f"bias_ih_l0{back}", f"bias_hh_l0{back}"):
            if name in old:
                merged[name] = insert(old[name], new[name], Slot("", "", 0, "in", gates=3))
    return merged


def _candidate_blind(reads: Tensor, count: int) -> Tensor:
    """Reads of the old state for all three gates: zero for the candidate if only reset and update have them."""
    lacking = 3 * count - reads.shape[0]
    return torch.cat([reads, reads.new_zeros(lacking, reads.shape[1])]) if lacking else reads


def run(chain: list[GRURun], layer: RecurrentLayer, input: Frames, hx: Tensor | None) -> tuple[Frames, Tensor]:
    """Runs a chain on what nn.GRU takes: padded, packed or a single sequence, with or without a first state."""
    lengths: Tensor | None = None
    if isinstance(input, PackedSequence):
        x_TBF, lengths = pad_packed_sequence(input)
    elif input.dim() == 2:
        x_TBF = input.unsqueeze(1)
    else:
        x_TBF = input.transpose(0, 1) if layer.batch_first else input
    directions = 2 if layer.bidirectional else 1
    # A first state lists old units, then new ones, in each direction: its last axis is cut, not its first.
    state = hx if hx is None or hx.dim() == 3 else hx.unsqueeze(1)
    given = [None] * len(chain) if state is None else list(torch.split(state, [step.units for step in chain], -1))
    outputs: list[Tensor] = []
    finals: list[Tensor] = []
    reads: list[list[Tensor]] = [[] for _ in range(directions)]
    for k, step in enumerate(chain):
        y, h = _run_one(step, layer, x_TBF, reads, given[k], lengths)
        outputs.append(unflatten(y, -1, (directions, -1)))
        finals.append(h)
        if k + 1 < len(chain):
            _shift_into(reads, outputs[-1], given[k], lengths)
    # [T, B, direction, units] each, so that new units stand at the end of either direction, as in one wider layer.
    y_TBF = torch.cat(outputs, -1).flatten(-2)
    h_n = torch.cat(finals, -1)
    if isinstance(input, PackedSequence):
        assert lengths is not None
        return _packed_like(input, y_TBF, lengths.cpu()), h_n
    if input.dim() == 2:
        return y_TBF.squeeze(1), h_n.squeeze(1)
    return (y_TBF.transpose(0, 1) if layer.batch_first else y_TBF), h_n


def _packed_like(packed: PackedSequence, y_TBF: Tensor, lengths: Tensor) -> PackedSequence:
    """Frames packed in the order of another sequence: clips of one length may stand in any, and rows have to match."""
    order = packed.sorted_indices
    if order is not None:
        y_TBF = y_TBF[:, order]
        lengths = lengths[order.cpu()]
    rows = pack_padded_sequence(y_TBF, lengths).data
    return PackedSequence(rows, packed.batch_sizes, order, packed.unsorted_indices)


def _run_one(
    step: GRURun,
    layer: RecurrentLayer,
    x_TBF: Tensor,
    reads: list[list[Tensor]],
    h0: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One run: the original module as it is, or a layer of assembled weights that also reads earlier runs."""
    directions = len(reads)
    wide = x_TBF
    weights: dict[str, Tensor] = dict(step.weights)
    if step.old:
        # What earlier runs gave at the previous step goes in as further input. nn.GRU shows both directions the same
        # input, so the reads of both stand in it, and each direction has zeros where the other one's are.
        wide = torch.cat([x_TBF, *[part for direction in reads for part in direction]], -1)
        for d in range(directions):
            old = _candidate_blind(step.old[f"weight_old{_BACK[d]}"], step.units)
            blind = torch.zeros_like(old)
            name = f"weight_ih_l0{_BACK[d]}"
            weights[name] = torch.cat([weights[name], *[old if e == d else blind for e in range(directions)]], 1)
    if h0 is None:  # which nn.GRU makes by itself, but torch's function does not
        h0 = x_TBF.new_zeros(directions, x_TBF.shape[1], step.units)
    names = [f"{kind}_l0{_BACK[d]}" for d in range(directions) for kind in _KINDS if f"{kind}_l0{_BACK[d]}" in weights]
    flat = [weights[name] for name in names]
    biases = "bias_ih_l0" in weights
    # Tells cuDNN to keep what a backward pass needs; module.training would say no in eval mode, and gradients fail.
    train = torch.is_grad_enabled()
    both = directions == 2
    if lengths is None:
        if step.plain is not None:
            y, h = step.plain(wide.transpose(0, 1) if layer.batch_first else wide, h0)
            return (y.transpose(0, 1) if layer.batch_first else y), h
        state = h0
        return _quietly(wide, lambda: torch._VF.gru(wide, state, flat, biases, 1, 0.0, train, both, False))
    # Packed again for each run: going backward has to begin at each clip's own last frame, not at the padding.
    packed = pack_padded_sequence(wide, lengths.cpu(), enforce_sorted=False)
    if step.plain is not None:
        out, h = step.plain(packed, h0)
    else:
        order = packed.sorted_indices
        assert order is not None
        assert packed.unsorted_indices is not None
        first = h0[:, order].contiguous()  # the function takes clips as they are packed; the module sorts by itself
        data, h = _quietly(
            wide, lambda: torch._VF.gru(packed.data, packed.batch_sizes, first, flat, biases, 1, 0.0, train, both)
        )
        h = h[:, packed.unsorted_indices]
        out = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    return pad_packed_sequence(out, total_length=x_TBF.shape[0])[0], h


def _quietly(input: Tensor, gru: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """torch's GRU on given weights; cuDNN packs assembled weights anew in each call, and need not say so each time."""
    if not input.is_cuda:
        return gru()  # without the filter, which is no thread's own
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        return gru()


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


def data_of(frames: Frames) -> Tensor:
    """The tensor in what a recurrent layer reads or gives."""
    return frames.data if isinstance(frames, PackedSequence) else frames


def with_data(frames: Frames, data: Tensor) -> Frames:
    """Frames that lie as those given, with other values."""
    return frames._replace(data=data) if isinstance(frames, PackedSequence) else data
