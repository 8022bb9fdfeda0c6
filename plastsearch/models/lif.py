"""Leaky integrate-and-fire neurons, unrolled over time steps, with a surrogate in the place of the spike's derivative.

A layer of them is a function without weights and without memory between calls: it takes the currents of all steps and
gives the spikes of all steps, each entry of a neuron by itself. So it stands wherever a ReLU can, also between layers
whose width changes, and what is true of a ReLU's site is true of its site.

Axes: R rows, of which a clip has one for each of its T time steps, one after the other; any others are neurons.
"""

from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.growth.resize import unflatten
from plastsearch.models.catalog import Spikes

FAST_SIGMOID_SLOPE = 5.0
_HALVES = (torch.float16, torch.bfloat16)


class LIF(nn.Module):
    """v ← leak · v + current, and a spike where v reaches the threshold; then v loses that (soft) or all (hard)."""

    def __init__(self, spikes: Spikes) -> None:
        super().__init__()
        self.steps = spikes["time_steps"]
        self.leak = spikes["leak"]
        self.threshold = spikes["threshold"]
        self.hard = spikes["reset"] == "hard"
        self.surrogate = spikes["surrogate"]

    def forward(self, current_R: Tensor) -> Tensor:
        """Spikes, 0 or 1, in the currents' shape and type."""
        # A membrane adds up many small currents, which a half would round away.
        exact = current_R.float() if current_R.dtype in _HALVES else current_R
        steps = unflatten(exact, 0, (-1, self.steps)).unbind(1)
        membrane = torch.zeros_like(steps[0])
        spikes: list[Tensor] = []
        for current in steps:
            membrane = self.leak * membrane + current
            spike = fire(membrane / self.threshold - 1, self.surrogate)
            spikes.append(spike)
            # Without a gradient through the reset, which would have the surrogate push a neuron for having fired.
            fired = spike.detach()
            membrane = membrane * (1 - fired) if self.hard else membrane - self.threshold * fired
        return torch.stack(spikes, 1).flatten(0, 1).to(current_R.dtype)

    def extra_repr(self) -> str:
        """Its settings, for who prints the network."""
        reset = "hard" if self.hard else "soft"
        return f"steps={self.steps}, leak={self.leak}, threshold={self.threshold}, {reset} reset, {self.surrogate}"


def fire(above: Tensor, surrogate: str) -> Tensor:
    """1 where a membrane is at its threshold or above it; `above` counts from there, in thresholds."""
    spike: Tensor = _Fire.apply(above, surrogate)  # type: ignore[no-untyped-call]
    return spike


def slope(above: Tensor, surrogate: str) -> Tensor:
    """What stands for the derivative of a spike: 1 at the threshold, falling on both sides."""
    if surrogate == "arctan":
        return 1 / (1 + (torch.pi * above).square())
    return 1 / (1 + FAST_SIGMOID_SLOPE * above.abs()).square()


class _Fire(torch.autograd.Function):
    """A step forwards, its surrogate backwards."""

    generate_vmap_rule = True

    @staticmethod
    def forward(above: Tensor, surrogate: str) -> Tensor:  # noqa: ARG004
        return (above >= 0).to(above.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, str], output: Tensor) -> None:  # noqa: ARG004
        above, ctx.surrogate = inputs
        ctx.save_for_backward(above)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (above,) = ctx.saved_tensors
        return gradients[0] * slope(above, ctx.surrogate), None
