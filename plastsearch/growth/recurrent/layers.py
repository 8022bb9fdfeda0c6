"""Grown one-layer GRUs and LSTMs: new units beside a frozen layer, and a wider input of the layer that reads them.

A layer of D directions lists them as [forward | backward]. New units read the input, the old units' previous state and
themselves; old units read new ones only if `lateral` is both. How a chain of such layers runs is said in runs.py.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.growth.recurrent.cells import RECURRENT, Cell, Frames, RecurrentLayer, Weights, cell_of
from plastsearch.growth.recurrent.runs import BACK, Run, all_gates, run
from plastsearch.growth.resize import insert, unflatten
from plastsearch.growth.site import Slot


class AroundRecurrent(nn.Module):
    """A block around a one-layer nn.GRU or nn.LSTM, which answers what a forward may ask of one."""

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


class GrownRecurrent(AroundRecurrent):
    """New hidden units beside a layer; with `lateral` both, old units also read new ones and all run as one layer."""

    def __init__(self, base: RecurrentLayer, values: Weights, *, both: bool) -> None:
        super().__init__(base)
        self.both = both
        self.new_units = values["weight_hh_l0"].shape[1]
        for name, tensor in values.items():
            # A copy, since some values are views of larger tensors, which would be kept and saved whole.
            self.register_parameter(name, nn.Parameter(tensor.clone()))

    def extend(self, chain: list[Run]) -> list[Run]:
        """The base's chain with these units after it, or within one run if old units read them."""
        own = dict(self.named_parameters(recurse=False))
        if not self.both:
            old = {name: tensor for name, tensor in own.items() if name.startswith("weight_old")}
            weights = {name: tensor for name, tensor in own.items() if name not in old}
            return [*chain, Run(chain[0].cell, self.new_units, weights, old)]
        # Old units read new ones, which read old ones, at each step: no run can be computed before another.
        cell = chain[0].cell
        return [Run(cell, self.hidden_size, _joined(cell, merge(chain), own), {})]

    def forward(self, input: Frames, hx: Any = None) -> tuple[Frames, Any]:
        return run(chain_of(self), self, input, hx)


class WideInput(AroundRecurrent):
    """New input columns beside a layer, for the new units of the layer that it reads."""

    def __init__(self, base: RecurrentLayer, columns: Weights, gates: int) -> None:
        super().__init__(base)
        self.gates = gates
        self.new_inputs = columns["weight_ih_l0"].shape[1]
        for name, tensor in columns.items():
            self.register_parameter(name, nn.Parameter(tensor.clone()))

    def extend(self, chain: list[Run]) -> list[Run]:
        """Each run of the chain with its share of the columns."""
        wider = []
        first = 0
        for step in chain:
            weights = dict(step.weights)
            for name, columns in self.named_parameters(recurse=False):
                # Rows lie gate by gate, as in one layer, and each run has a part of every gate.
                share = unflatten(columns, 0, (step.cell.gates, -1))[:, first : first + step.units].flatten(0, 1)
                weights[name] = insert(weights[name], share, Slot("", name, 1, "out", gates=self.gates))
            # Not plain any more: the module's own weights lack the columns.
            wider.append(replace(step, weights=weights, plain=None))
            first += step.units
        return wider

    def forward(self, input: Frames, hx: Any = None) -> tuple[Frames, Any]:
        return run(chain_of(self), self, input, hx)


def chain_of(layer: object) -> list[Run]:
    """The runs that make up a layer with all its grown blocks, the original first."""
    if isinstance(layer, RECURRENT):
        return [Run(cell_of(layer), layer.hidden_size, dict(layer.named_parameters(recurse=False)), {}, layer)]
    assert isinstance(layer, GrownRecurrent | WideInput)  # a layer with a branch or one more on top is refused before
    return layer.extend(chain_of(layer.base))


def merge(chain: list[Run]) -> Weights:
    """The weights of one ordinary layer that computes what the chain computes."""
    merged: Weights = dict(chain[0].weights)
    for step in chain[1:]:
        merged = _joined(step.cell, merged, {**step.weights, **step.old})
    return merged


def _joined(cell: Cell, old: Weights, new: Weights) -> Weights:
    """Old units and new ones in one layer; connections that `new` does not name are zero."""
    merged: dict[str, Tensor] = {}
    by_gate = Slot("", "", 0, "in", gates=cell.gates)
    for back in BACK:
        if f"weight_hh_l0{back}" not in old:
            continue
        hh = old[f"weight_hh_l0{back}"]
        own = new[f"weight_hh_l0{back}"]
        units = hh.shape[1]
        count = own.shape[1]
        # [ old → old | new → old ]   The square of one layer, once for each gate: all have rows of their own,
        # [ old → new | new → new ]   so blocks are put together gate by gate.
        reads = all_gates(cell, new[f"weight_old{back}"], count)
        rows = insert(hh, reads, by_gate)
        backward = new.get(f"weight_back{back}", hh.new_zeros(cell.gates * units, count))
        columns = insert(backward, own, by_gate)
        merged[f"weight_hh_l0{back}"] = torch.cat([rows, columns], 1)
        for name in (f"weight_ih_l0{back}", f"bias_ih_l0{back}", f"bias_hh_l0{back}"):
            if name in old:
                merged[name] = insert(old[name], new[name], by_gate)
    return merged
