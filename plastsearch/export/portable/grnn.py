"""GRNN: a stack of GRU layers, each of its own width, on frames of a front end.

Axes: B clips, S time steps of a spiking network, T samples or frames, D features.
"""

from typing import Any

from torch import Tensor, nn

from plastsearch.export.portable.pooling import Pooled
from plastsearch.export.portable.spectrum import FrontEnd
from plastsearch.export.portable.spiking import LIF


class Recurrent(nn.GRU):
    """A GRU that gives its outputs alone."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The outputs of all frames."""
        return nn.GRU.forward(self, input, hx)[0]


class Beside(nn.Module):
    """A GRU beside a layer: its outputs, through a projection, are added to the layer's."""

    def __init__(self, base: nn.Module, gru: Recurrent, leave: nn.Linear) -> None:
        super().__init__()
        self.base, self.gru, self.leave = base, gru, leave

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """The layer's outputs and the branch's."""
        sum_BTD: Tensor = self.base(frames_BTD) + self.leave(self.gru(frames_BTD))
        return sum_BTD


class RecurrentBranch(nn.Module):
    """A GRU and its projection, on top of a layer."""

    def __init__(self, gru: Recurrent, leave: nn.Linear) -> None:
        super().__init__()
        self.gru, self.leave = gru, leave

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """What is added to the layer's outputs."""
        out_BTD: Tensor = self.leave(self.gru(frames_BTD))
        return out_BTD


class OnTop(nn.Module):
    """A layer with one more after it, beside a shortcut."""

    def __init__(self, base: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.base, self.branch = base, branch

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """The layer's outputs and what the upper one adds to them."""
        out_BTD = self.base(frames_BTD)
        sum_BTD: Tensor = out_BTD + self.branch(out_BTD)
        return sum_BTD


def recurrent_layer(shape: dict[str, Any]) -> nn.Module:
    """One layer with what was put around it, from the inside out."""
    both = bool(shape["bidirectional"])
    directions = 2 if both else 1
    wide = shape["units"] * directions
    layer: nn.Module = Recurrent(shape["inputs"], shape["units"], batch_first=True, bidirectional=both)
    for around in shape["around"]:
        units = around["units"]
        inputs = shape["inputs"] if around["kind"] == "beside" else wide
        gru = Recurrent(inputs, units, batch_first=True, bidirectional=both)
        leave = nn.Linear(units * directions, wide, bias=False)
        layer = Beside(layer, gru, leave) if around["kind"] == "beside" else OnTop(layer, RecurrentBranch(gru, leave))
    return layer


class GRNN(Pooled):
    """Front end, normalisation of each row, GRU layers, pooling over frames."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__(shape["head"])
        self.front_end = FrontEnd(shape["front_end"])
        self.norm = nn.BatchNorm1d(shape["front_end"]["n_out"] * (1 + shape["front_end"]["deltas"]))
        self.gru = nn.ModuleList(recurrent_layer(layer) for layer in shape["layers"])
        spikes = shape["spikes"]
        self.lif = None if spikes is None else LIF(spikes)

    def forward(self, wave_BT: Tensor) -> Tensor:
        """Logits of each clip."""
        hidden: Tensor = self.norm(self.front_end(wave_BT)).transpose(1, 2)
        if self.lif is None:
            for layer in self.gru:
                hidden = layer(hidden)
            return self.classify(hidden)
        steps = self.lif.steps
        for n, layer in enumerate(self.gru):
            # The first layer reads the same frames at every step, so it runs once.
            current_RTD = layer(hidden).repeat_interleave(steps, 0) if n == 0 else layer(hidden)
            hidden = self.lif(current_RTD)
        return self.classify(hidden.reshape(-1, steps, *hidden.shape[1:]).mean(1))
