"""Random numbers for a batch in which every clip has its own seed: what a clip gets is blind to its neighbours."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


class Draws:
    """One generator per clip; every method returns a tensor whose first axis is the clip."""

    def __init__(self, seeds_B: Tensor, stream: int, device: torch.device) -> None:
        self.device = device
        # SFC64 is numpy's fastest source of normal deviates in bulk.
        self._each = [np.random.Generator(np.random.SFC64([seed, stream])) for seed in seeds_B.tolist()]

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Evenly between two values, float32."""
        return self._stack(lambda rng: rng.random(shape, dtype=np.float32)) * (high - low) + low

    def normal(self, n: int) -> Tensor:
        """Standard normal deviates, float32."""
        return self._stack(lambda rng: rng.standard_normal(n, dtype=np.float32))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high - 1."""
        return self._stack(lambda rng: rng.integers(low, high, shape))

    def chance(self, probability: float) -> Tensor:
        """True with this probability, one per clip."""
        return self.uniform(0, 1, 1)[:, 0] < probability

    def _stack(self, draw: Callable[[np.random.Generator], np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack([draw(rng) for rng in self._each])).to(self.device)
