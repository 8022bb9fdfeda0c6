"""Stacks of one-layer GRUs or LSTMs, whose widths may differ, from an nn.GRU or nn.LSTM of several layers and back."""

from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.paths import ordinary
from plastsearch.growth.recurrent.cells import RECURRENT, Frames, States, cell_of, data_of, kind_of, with_data
from plastsearch.growth.survey import layer_refused


class RecurrentStack(nn.Module):
    """A stack of one-layer GRUs or LSTMs that takes and gives what a layer of many does; each has its own width.

    Final states of unlike widths do not fit into one tensor: they are a tuple, to be indexed alike (`h_n[-1]`).
    """

    def __init__(self, layers: list[Any], dropout: float, batch_first: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)
        self.batch_first = batch_first

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def bidirectional(self) -> bool:
        first: Any = self.layers[0]
        return bool(first.bidirectional)

    @property
    def input_size(self) -> int:
        first: Any = self.layers[0]
        return int(first.input_size)

    @property
    def hidden_size(self) -> int:
        layers: list[Any] = list(self.layers)
        widths = [int(layer.hidden_size) for layer in layers]
        if len(set(widths)) > 1:
            # AttributeError would be hidden by nn.Module, which then looks for a part of that name.
            raise GrowthError(f"layers of {' and '.join(map(str, widths))} units have no hidden_size in common")
        return widths[0]

    def flatten_parameters(self) -> None:
        layers: list[Any] = list(self.layers)
        for layer in layers:
            layer.flatten_parameters()

    def forward(self, input: Frames, hx: Any = None) -> tuple[Frames, Any]:
        cell = cell_of(ordinary(self.layers[0]))
        firsts = cell.states(hx)
        states: list[States] = []
        first = 0
        for k, layer in enumerate(self.layers):
            directions = 2 if layer.bidirectional else 1
            given = None
            if firsts is not None:
                given = cell.given(tuple(_rows(each[first : first + directions]) for each in firsts))
            input, state = layer(input, given)
            if k + 1 < len(self.layers) and self.dropout.p:
                input = with_data(input, self.dropout(data_of(input)))
            states.append(cell.states(state) or ())
            first += directions
        return input, cell.given(tuple(_together(each) for each in zip(*states, strict=True)))


def _rows(states: Any) -> Tensor:
    """First states of a layer: of unlike widths they come as a tuple."""
    return torch.stack(states) if isinstance(states, tuple) else states


def _together(states: tuple[Tensor, ...]) -> Any:
    if len({state.shape[-1] for state in states}) > 1:
        return tuple(row for state in states for row in state)
    return torch.cat(states)


def unstack_(module: nn.Module) -> list[str]:
    """Replaces each nn.GRU or nn.LSTM of several layers by an equal stack of one-layer ones; returns their paths."""
    found = {path: part for path, part in module.named_modules() if isinstance(part, RECURRENT) and part.num_layers > 1}
    if "" in found:
        raise GrowthError("unstack_ replaces layers inside a network; put the layer into a module first")
    for path, gru in found.items():
        _plain(gru, path)
    return _replace_(module, {path: _stack(gru) for path, gru in found.items()})


def _stack(gru: nn.GRU | nn.LSTM) -> RecurrentStack:
    layers: list[Any] = []
    for k in range(gru.num_layers):
        size = gru.input_size if k == 0 else gru.hidden_size * (2 if gru.bidirectional else 1)
        layer = kind_of(gru)(
            size, gru.hidden_size, bias=gru.bias, batch_first=gru.batch_first, bidirectional=gru.bidirectional
        ).to(gru.all_weights[0][0])
        for name, _ in list(layer.named_parameters()):
            setattr(layer, name, getattr(gru, name.replace("_l0", f"_l{k}")))
        layer.flatten_parameters()
        layer.train(gru.training)
        layers.append(layer)
    return RecurrentStack(layers, gru.dropout, gru.batch_first)


def restack_(module: nn.Module) -> list[str]:
    """Turns stacks whose layers have one width back into layers of many; returns their paths."""
    found = {path: part for path, part in module.named_modules() if isinstance(part, RecurrentStack)}
    if "" in found:
        raise GrowthError("restack_ replaces layers inside a network; put the RecurrentStack into a module first")
    return _replace_(module, {path: _united(path, stack) for path, stack in found.items()})


def _replace_(module: nn.Module, new: dict[str, nn.Module]) -> list[str]:
    """Puts each layer in its place; all were made before the first is put there."""
    for path, layer in new.items():
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, layer)
    return list(new)


def _plain(layer: nn.Module, path: str) -> None:
    reason = layer_refused(layer, path) if isinstance(layer, RECURRENT) else f"{path} is a {type(layer).__name__}"
    if reason:
        raise GrowthError(f"{reason}; only plain nn.GRU and nn.LSTM layers can be stacked anew")


def _united(path: str, stack: RecurrentStack) -> nn.GRU | nn.LSTM:
    layers: list[Any] = list(stack.layers)
    for k, layer in enumerate(layers):
        _plain(layer, f"{path}.layers.{k}")
    widths = [layer.hidden_size for layer in layers]
    if len(set(widths)) > 1:
        raise GrowthError(
            f"{path} has layers of {' and '.join(map(str, widths))} units; a layer of many has one width for all layers"
        )
    first = layers[0]
    settings = {"bias": first.bias, "batch_first": first.batch_first, "bidirectional": first.bidirectional}
    gru = kind_of(first)(first.input_size, widths[0], len(layers), dropout=stack.dropout.p, device="meta", **settings)
    for k, layer in enumerate(layers):
        for name, parameter in list(layer.named_parameters()):
            setattr(gru, name.replace("_l0", f"_l{k}"), parameter)
    gru.flatten_parameters()
    return gru.train(stack.training)
