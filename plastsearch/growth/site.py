"""A site: a named row of neurons, and which entries of which tensors belong to neuron j.

One unit map serves growth, pruning, reordering, optimiser carry-over, scores and folding.
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["in", "out", "recurrent", "norm"]


@dataclass(frozen=True)
class Slot:
    """Entries of one tensor: along `dim`, unit j of gate g owns `offset + (g * n + j) * width + 0..width-1`."""

    module: str  # dotted path from the root
    tensor: str  # parameter or buffer name, e.g. weight, weight_hh_l0, running_var
    dim: int
    role: Role  # in: makes the unit; out: reads it; recurrent: the unit's own reads of old units; norm: BatchNorm entry
    gates: int = 1
    width: int = 1
    offset: int = 0


@dataclass(frozen=True)
class Tap:
    """Where the activation a_j of each unit can be read: an input or output of a module."""

    module: str
    end: Literal["input", "output"]
    dim: int  # axis of the units
    width: int = 1  # entries per unit along that axis; a unit's activation is their norm, its gate multiplies all
    offset: int = 0


@dataclass(frozen=True)
class Site:
    """A named place whose width may change; `neurons` are counted in the site's own unit times `step`."""

    name: str  # encoder.3.ffn, layer2.0, gru.1
    kind: Literal["channels", "hidden", "attention", "head_width", "ffn"]
    units: int  # units now: channels, hidden units, heads, dims per head, intermediate units
    step: int  # neurons per unit: 1, the head width (attention) or the number of heads (head_width)
    slots: tuple[Slot, ...]
    tap: Tap
    order: int  # depth: sites with a lower order are computed earlier

    @property
    def width(self) -> int:
        """Neurons now."""
        return self.units * self.step
