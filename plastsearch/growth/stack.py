"""Stacks of one-layer GRUs, whose layers may differ in width, from a multi-layer nn.GRU and back."""

from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.recurrent import Frames, data_of, with_data
from plastsearch.growth.survey import layer_refused


class GRUStack(nn.Module):
    """A stack of one-layer GRUs that takes and gives what a multi-layer nn.GRU does; each layer has its own width.

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

    def forward(self, input: Frames, hx: Tensor | tuple[Tensor, ...] | None = None) -> tuple[Frames, Any]:
        states: list[Tensor] = []
        first = 0
        for k, layer in enumerate(self.layers):
            directions = 2 if layer.bidirectional else 1
            mine = None if hx is None else hx[first : first + directions]
            given = torch.stack(mine) if isinstance(mine, tuple) else mine
            input, state = layer(input, given)
            if k + 1 < len(self.layers) and self.dropout.p:
                input = with_data(input, self.dropout(data_of(input)))
            states.append(state)
            first += directions
        if len({state.shape[-1] for state in states}) > 1:
            return input, tuple(row for state in states for row in state)
        return input, torch.cat(states)


def unstack_(module: nn.Module) -> list[str]:
    """Replaces each multi-layer nn.GRU inside a network by an equal stack of one-layer ones; returns their paths."""
    found = {path: part for path, part in module.named_modules() if isinstance(part, nn.GRU) and part.num_layers > 1}
    if "" in found:
        raise GrowthError("unstack_ replaces layers inside a network; put the nn.GRU into a module first")
    for path, gru in found.items():
        _plain(gru, path)
    return _replace_(module, {path: _stack(gru) for path, gru in found.items()})


def _stack(gru: nn.GRU) -> GRUStack:
    layers: list[Any] = []
    for k in range(gru.num_layers):
        size = gru.input_size if k == 0 else gru.hidden_size * (2 if gru.bidirectional else 1)
        layer = nn.GRU(
            size, gru.hidden_size, bias=gru.bias, batch_first=gru.batch_first, bidirectional=gru.bidirectional
        ).to(gru.all_weights[0][0])
        for name, _ in list(layer.named_parameters()):
            setattr(layer, name, getattr(gru, name.replace("_l0", f"_l{k}")))
        layer.flatten_parameters()
        layer.train(gru.training)
        layers.append(layer)
    return GRUStack(layers, gru.dropout, gru.batch_first)


def restack_(module: nn.Module) -> list[str]:
    """Turns stacks whose layers have one width back into multi-layer nn.GRUs; returns their paths."""
    found = {path: part for path, part in module.named_modules() if isinstance(part, GRUStack)}
    if "" in found:
        raise GrowthError("restack_ replaces layers inside a network; put the GRUStack into a module first")
    return _replace_(module, {path: _united(path, stack) for path, stack in found.items()})


def _replace_(module: nn.Module, new: dict[str, nn.Module]) -> list[str]:
    """Puts each layer in its place; all were made before the first is put there."""
    for path, layer in new.items():
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, layer)
    return list(new)


def _plain(layer: nn.Module, path: str) -> None:
    reason = layer_refused(layer, path) if isinstance(layer, nn.GRU) else f"{path} is a {type(layer).__name__}"
    if reason:
        raise GrowthError(f"{reason}; only plain nn.GRU layers can be stacked anew")


def _united(path: str, stack: GRUStack) -> nn.GRU:
    layers: list[Any] = list(stack.layers)
    for k, layer in enumerate(layers):
        _plain(layer, f"{path}.layers.{k}")
    widths = [layer.hidden_size for layer in layers]
    if len(set(widths)) > 1:
        raise GrowthError(
            f"{path} has layers of {' and '.join(map(str, widths))} units; nn.GRU has one width for all layers"
        )
    first = layers[0]
    settings = {"bias": first.bias, "batch_first": first.batch_first, "bidirectional": first.bidirectional}
    gru = nn.GRU(first.input_size, widths[0], len(layers), dropout=stack.dropout.p, device="meta", **settings)
    for k, layer in enumerate(layers):
        for name, parameter in list(layer.named_parameters()):
            setattr(gru, name.replace("_l0", f"_l{k}"), parameter)
    gru.flatten_parameters()
    return gru.train(stack.training)
