"""Adapters that move while they train, and adapters that share one budget with new neurons."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.growth.site import Site
from plastsearch.spec.config import TrialConfig
from plastsearch.trial.lora import ADAPTER, rank_allocator

KEPT = 2 / 3  # share of the ranks that is left at the end; the paper's experiments begin with 1.5 times as many
FIRST, LAST = 0.1, 0.3  # shares of the steps before ranks are taken away, and after the last one was
ORTHOGONAL = 0.5  # weight of the penalty, PEFT's default


@dataclass(frozen=True)
class BothAdded:
    """What one budget became: neurons at sites, and ranks of adapters on the same sites' layers."""

    sites: Mapping[str, int]  # neurons
    units: Mapping[str, int]
    operator: str
    ranks: Mapping[str, int]
    matched_to: int  # parameters of the frozen dropin
    parameters: int  # of neurons and adapters together
    adapter_parameters: int
    residual: int


def neurons_beside(config: TrialConfig, sites: Mapping[str, Site]) -> dict[str, int]:
    """The neurons that adapters leave at each site, in whole units; `pairs` need an even number of them."""
    left = {}
    for name, neurons in config.growth().items():
        grain = sites[name].step * (2 if config.init == "pairs" else 1)
        count = int((1 - config.lora_share) * neurons / grain + 0.5) * grain
        if count:
            left[name] = count
    return left


class RankSchedule:
    """AdaLoRA while it trains: a penalty that keeps the factors orthogonal, and ranks taken where they matter least."""

    def __init__(self, module: nn.Module, steps: int) -> None:
        self._module = module
        self._end = steps - int(LAST * steps)
        ranks = sum(len(values) for values in singular_values(module).values())
        target = max(1, round(KEPT * ranks))
        # A single rank has nothing to lose, and the first step only tells what matters.
        self._allocates = target < ranks and self._end > 1
        self._allocator = rank_allocator(module, steps, int(FIRST * steps), int(LAST * steps), target)
        self._pattern: dict[str, list[bool]] | None = None

    def begin(self, optimizer: torch.optim.Optimizer) -> None:
        """Nothing of the optimiser's is touched."""

    def penalty(self) -> Tensor | None:
        """What is added to the loss of each step."""
        return orthogonality(self._module)

    def after_step(self, step: int) -> None:
        """Take ranks away after an optimiser step, counted from 1, whose gradients are still there."""
        if not self._allocates:
            return
        if step <= self._end:
            with _any_algorithm():
                _, pattern = self._allocator.update_and_allocate(self._module, step, force_mask=step == self._end)
            self._pattern = pattern or self._pattern
        else:
            self._allocator.mask_using_rank_pattern(self._module, self._pattern)

    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold of it."""
        allocator = self._allocator
        return {"sensitivity": dict(allocator.exp_avg_ipt), "uncertainty": dict(allocator.exp_avg_unc),
                "seen": dict(allocator.ipt), "pattern": self._pattern}  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        allocator = self._allocator
        allocator.exp_avg_ipt = dict(state["sensitivity"])
        allocator.exp_avg_unc = dict(state["uncertainty"])
        allocator.ipt = dict(state["seen"])
        self._pattern = state["pattern"]


@contextmanager
def _any_algorithm() -> Iterator[None]:
    """Within: also what torch calls not deterministic."""
    # PEFT asks for the k-th value, which torch refuses on a GPU for the sake of its index; only the value is read.
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def orthogonality(module: nn.Module) -> Tensor | None:
    """How far AdaLoRA's factors are from orthogonal ones, weighed; None where there are none."""
    if not singular_values(module):
        return None
    distances = []
    for name, factor in module.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            wide = factor if ".lora_A." in name else factor.T
            distances.append(torch.linalg.norm(wide @ wide.T - torch.eye(len(wide), device=wide.device)))
    return ORTHOGONAL * torch.stack(distances).mean()


def singular_values(module: nn.Module) -> dict[str, Tensor]:
    """AdaLoRA's singular values by the path of their layer; nothing of other adapters."""
    end = f".lora_E.{ADAPTER}"
    return {name.removesuffix(end): one for name, one in module.named_parameters() if name.endswith(end)}


def ranks_left(module: nn.Module) -> dict[str, int] | None:
    """How many ranks of each layer AdaLoRA still uses; None where there are none of its adapters."""
    return {path: int(values.count_nonzero()) for path, values in singular_values(module).items()} or None
