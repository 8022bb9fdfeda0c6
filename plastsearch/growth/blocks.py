"""Grown blocks beside a base that keeps its own weights: activations are added or concatenated, weights never.

A fork and a join stand in for the two layers around a row of neurons. The fork sends its input through the new neurons
as well and lays the result on a wire; the join adds it to what the base computes. So any network with the two layers
can grow, whatever its forward does between them.
"""

import copy
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from plastsearch.errors import GrowthError
from plastsearch.growth.chunked import ChunkBranch
from plastsearch.growth.paths import is_grown, ordinary
from plastsearch.growth.recurrent.cells import Frames, RecurrentLayer, data_of, with_data
from plastsearch.growth.recurrent.layers import AroundRecurrent
from plastsearch.growth.resize import unflatten

Change = Callable[[Tensor], Tensor]  # an activation or a dropout; either may be a function of no module


class Wire(threading.local):
    """Carries one tensor from a fork to its join within a forward pass; each thread has its own, each copy is empty.

    A forward that is interrupted between the two, or a checkpointed fork that is computed again, leaves its tensor
    here: a graph cannot be copied, and is of no use to the next pass.
    """

    value: Tensor | None = None
    lost: bool = False  # whether the tensor should have a graph, but was computed without

    def put(self, value: Tensor, *, lost: bool) -> None:
        self.value = value
        self.lost = lost

    def __reduce__(self) -> Any:
        return Wire, ()

    def take(self) -> Tensor:
        value, self.value = self.value, None
        if value is None:
            raise GrowthError(
                "a grown block's second layer ran without its first: the network skips one of them, or checkpoints "
                "the second alone; checkpoint the whole block"
            )
        if self.lost and torch.is_grad_enabled():
            raise GrowthError(
                "a grown block's first layer ran without gradients and its second one with them, so its new neurons "
                "would never learn; checkpoint the whole block, or with use_reentrant=False"
            )
        return value


class Branch(nn.Module):
    """New neurons between two layers: enter, norm, activation (or first that, then the norm), dropout, leave."""

    def __init__(
        self,
        enter: nn.Module,
        norm: nn.Module | None,
        act: Change | None,
        dropout: Change | None,
        leave: nn.Module,
        *,
        act_first: bool = False,
    ) -> None:
        super().__init__()
        self.enter = enter
        self.norm = norm
        self.leave = leave
        self._act_first = act_first
        self._between = (act, dropout)  # shared with the base and without parameters: not registered twice

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.enter(x)
        act, dropout = self._between
        for change in (act, self.norm, dropout) if self._act_first else (self.norm, act, dropout):
            if change is not None:
                hidden = change(hidden)
        leaving: Tensor = self.leave(hidden)
        return leaving


class Fork(nn.Module):
    """In the place of the layer that makes the neurons."""

    wraps_base = True

    def __init__(self, base: nn.Module, branch: Branch | ChunkBranch, wire: Wire, new_units: int) -> None:
        super().__init__()
        self.base = base
        self.branch = branch
        self.wire = wire
        self.new_units = new_units

    def forward(self, x: Tensor) -> Tensor:
        self.wire.value = None  # what an interrupted pass left would stay in memory beside the new graph
        new: Tensor = self.branch(x)
        # As under reentrant checkpointing, whose first pass is without gradients: the join would add a constant.
        lost = not torch.is_grad_enabled() and any(t.requires_grad for t in (x, *self.branch.parameters()))
        out: Tensor = self.base(x)
        self.wire.put(new, lost=lost)
        return out


class Join(nn.Module):
    """In the place of the layer that reads the neurons."""

    wraps_base = True
    new_units = 0

    def __init__(self, base: nn.Module, wire: Wire) -> None:
        super().__init__()
        self.base = base
        self.wire = wire

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.wire.take()
        return out


class GrownHeads(nn.Module):
    """New attention heads beside the base's: the same attention code on projections of their own."""

    wraps_base = True

    def __init__(self, base: nn.Module, extra: nn.Module, new_units: int) -> None:
        super().__init__()
        self.base = base
        self.extra = extra
        self.new_units = new_units

    def forward(self, *args: object, **kwargs: object) -> tuple[Any, ...]:
        old = self.base(*args, **kwargs)
        new = self.extra(*args, **kwargs)
        weights = old[1]  # of the attention, where they were asked for
        if isinstance(weights, Tensor) and isinstance(new[1], Tensor):
            weights = torch.cat([weights, new[1]], 1)
        return (old[0] + new[0], weights, *old[2:])


class GrownProjection(nn.Module):
    """New dimensions at the end of each head of a query, key or value projection."""

    wraps_base = True

    def __init__(self, base: nn.Module, new: nn.Linear, gates: int) -> None:
        super().__init__()
        self.base = base
        self.new = new
        self.gates = gates
        self.new_units = new.out_features // gates

    def forward(self, x: Tensor) -> Tensor:
        parts = [unflatten(layer(x), -1, (self.gates, -1)) for layer in (self.base, self.new)]
        return torch.cat(parts, -1).flatten(-2)


class GrownReader(nn.Module):
    """A linear layer that also reads the new units at the end of each of its input's gates."""

    wraps_base = True

    def __init__(self, base: nn.Module, new: nn.Linear, gates: int) -> None:
        super().__init__()
        self.base = base
        self.new = new
        self.gates = gates
        self.new_inputs = new.in_features
        self.new_units = new.in_features // gates

    def forward(self, x: Tensor) -> Tensor:
        if self.gates == 1:
            split = x.shape[-1] - self.new_units
            out: Tensor = self.base(x[..., :split]) + self.new(x[..., split:])
            return out
        each = unflatten(x, -1, (self.gates, -1))
        split = each.shape[-1] - self.new_units
        return self.base(each[..., :split].flatten(-2)) + self.new(each[..., split:].flatten(-2))  # type: ignore[no-any-return]


class ParallelRecurrent(AroundRecurrent):
    """A recurrent layer beside another, added to its output through a projection that starts at zero."""

    def __init__(self, base: RecurrentLayer, gru: nn.GRU | nn.LSTM, leave: nn.Linear) -> None:
        super().__init__(base)
        self.gru = gru
        self.leave = leave

    def forward(self, input: Frames, hx: Any = None) -> tuple[Frames, Any]:
        out, state = self.base(input, hx)
        beside = self.leave(data_of(self.gru(input)[0]))
        return with_data(out, data_of(out) + beside), state


class Stacked(nn.Module):
    """A whole layer with, after it, one more whose residual branch starts at zero."""

    wraps_base = True
    new_units = 0

    def __init__(self, base: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.branch = branch
        # A forward that sets up a recurrent layer's first state asks for these; other layers have none of them.
        for name in ("batch_first", "bidirectional", "num_layers", "hidden_size", "input_size"):
            if hasattr(base, name):
                setattr(self, name, getattr(base, name))

    def flatten_parameters(self) -> None:
        recurrent: Any = self.base
        recurrent.flatten_parameters()

    def forward(self, *args: object, **kwargs: object) -> Any:
        out = self.base(*args, **kwargs)
        if not isinstance(out, tuple) or isinstance(out, PackedSequence):
            return out + self.branch(out, **kwargs)
        frames = out[0]
        more = self.branch(frames, **kwargs)
        return (with_data(frames, data_of(frames) + more), *out[1:])


class FeedForwardBranch(nn.Module):
    """LayerNorm and a feed-forward row of neurons, for stacking."""

    def __init__(self, norm: nn.Module, row: Branch) -> None:
        super().__init__()
        self.norm = norm
        self.row = row

    def forward(self, x: Tensor, **_: object) -> Tensor:
        out: Tensor = self.row(self.norm(x))
        return out


class AttentionBranch(nn.Module):
    """LayerNorm and attention heads, for stacking."""

    def __init__(self, norm: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.attention = attention

    def forward(self, x: Tensor, **kwargs: object) -> Tensor:
        out: Tensor = self.attention(self.norm(x), attention_mask=kwargs.get("attention_mask"))[0]
        return out


class RecurrentBranch(nn.Module):
    """A recurrent layer and its projection, for stacking."""

    def __init__(self, gru: nn.GRU | nn.LSTM, leave: nn.Linear) -> None:
        super().__init__()
        self.gru = gru
        self.leave = leave

    def forward(self, x: Frames, **_: object) -> Tensor:
        out: Tensor = self.leave(data_of(self.gru(x)[0]))
        return out


class ConvBranch(nn.Module):
    """The two convolutions of a basic block, the second norm's weight starting at zero, for stacking."""

    def __init__(self, row: Branch, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.row = row
        self.norm = norm

    def forward(self, x: Tensor, **_: object) -> Tensor:
        out: Tensor = self.norm(self.row(x))
        return out


def same_attention(attention: nn.Module, projections: Mapping[str, nn.Linear]) -> Any:
    """An attention module with the same code and settings as a given one, and projections of its own."""
    made = copy.copy(attention)
    # A copy shares the tables of its original: without tables of its own, its projections would be set there too.
    for table in ("_parameters", "_buffers", "_modules"):
        made.__dict__[table] = dict(attention.__dict__[table])
    for name, layer in projections.items():
        made._modules[name] = layer
    return made


def outermost(module: nn.Module, prefix: str = "") -> list[tuple[str, Any]]:
    """The grown blocks that no other one stands around, with the paths of what they stand for."""
    found: list[tuple[str, Any]] = []
    for name, child in module.named_children():
        if is_grown(child):
            found.append((f"{prefix}{name}", child))
        found += outermost(ordinary(child), f"{prefix}{name}.")
    return found
