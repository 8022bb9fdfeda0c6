"""Leaky integrate-and-fire neurons, unrolled over time steps."""

from typing import Any

import torch
from torch import Tensor, nn


class LIF(nn.Module):
    """v ← leak · v + current, and a spike where v reaches the threshold; then v loses that (soft) or all (hard).

    A clip has one row for each of its steps, one after the other.
    """

    def __init__(self, spikes: dict[str, Any]) -> None:
        super().__init__()
        self.steps = int(spikes["time_steps"])
        self.leak = float(spikes["leak"])
        self.threshold = float(spikes["threshold"])
        self.hard = spikes["reset"] == "hard"

    def forward(self, current_R: Tensor) -> Tensor:
        """Spikes, 0 or 1, in the currents' shape."""
        membrane = torch.zeros_like(current_R[:: self.steps])
        spikes: list[Tensor] = []
        for current in current_R.reshape(-1, self.steps, *current_R.shape[1:]).unbind(1):
            membrane = self.leak * membrane + current
            spike = (membrane / self.threshold - 1 >= 0).to(membrane.dtype)
            spikes.append(spike)
            membrane = membrane * (1 - spike) if self.hard else membrane - self.threshold * spike
        return torch.stack(spikes, 1).flatten(0, 1)
