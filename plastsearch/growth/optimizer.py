"""Carries optimiser state across a change of widths, so that neither momentum is lost nor dead parameters are kept.

Adam counts steps per tensor. Entries added to a tensor that has long been trained would miss their bias correction,
and their first steps would reach 6.6 times the learning rate. So grown tensors count steps per entry (`own_step` in
the optimiser's state, saved with it), and a hook scales young entries' updates to what a tensor of their own would do.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plastsearch.errors import GrowthError

Remap = Callable[[Tensor, float], Tensor]  # (a tensor of the old shape, fill for new entries) → the new shape


def swap_(optimizer: Optimizer, old: nn.Parameter, new: nn.Parameter, remap: Remap) -> None:
    """Puts `new` in the place of `old`, with its state remapped; a parameter unknown to the optimiser is left alone."""
    for group in optimizer.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
    state = optimizer.state.pop(old, None)
    if state is None:
        return
    if "exp_avg" in state and float(state["step"]) > 0:
        counting = torch.promote_types(old.dtype, torch.float32)  # half precision cannot count beyond 256
        state.setdefault("own_step", torch.full_like(old, float(state["step"]), dtype=counting))
    moved = {key: _moved(key, value, old, remap) for key, value in state.items()}
    own = moved.get("own_step")
    if own is not None and bool((own == float(moved["step"])).all()):
        del moved["own_step"]
    optimizer.state[new] = moved
    if "own_step" in moved:
        keep_pace_(optimizer)


def keep_pace_(optimizer: Optimizer) -> None:
    """Makes entries younger than their tensor step as Adam would in a tensor of their own; again after a load."""
    if getattr(optimizer, "_keeps_pace", False):
        return
    optimizer._keeps_pace = True  # type: ignore[attr-defined]
    before: dict[nn.Parameter, Tensor] = {}

    def remember(optimizer: Optimizer, *_: Any) -> None:
        before.clear()
        before.update({parameter: parameter.detach().clone() for parameter, _ in _young(optimizer)})

    def slow_down(optimizer: Optimizer, *_: Any) -> None:
        for parameter, group in _young(optimizer):
            _rescale(parameter, before[parameter], group, optimizer.state[parameter])
        before.clear()

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(slow_down)


def load_state_(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Optimizer.load_state_dict for an optimiser whose parameters may be of unlike ages."""
    optimizer.load_state_dict(state)
    if any("own_step" in entry for entry in optimizer.state.values()):
        keep_pace_(optimizer)


def add_group_(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Gives new parameters a group of their own, with the settings of the first group."""
    first = optimizer.param_groups[0]
    settings = {key: value for key, value in first.items() if key != "params"}
    optimizer.add_param_group({"params": list(parameters), **settings})


def _moved(key: str, value: Any, old: nn.Parameter, remap: Remap) -> Any:
    if not isinstance(value, Tensor) or value.dim() == 0:
        return value
    if value.shape != old.shape:
        raise GrowthError(
            f"optimiser state '{key}' has shape {tuple(value.shape)} beside a parameter of {tuple(old.shape)}; "
            "only state with one entry per weight (SGD, Adam, AdamW and their like) can follow a change of widths"
        )
    return remap(value, 0.0)


def _young(optimizer: Optimizer) -> list[tuple[nn.Parameter, dict[str, Any]]]:
    return [
        (parameter, group)
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None and "own_step" in optimizer.state.get(parameter, {})
    ]


@torch.no_grad()
def _rescale(parameter: nn.Parameter, before: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
    """Replaces the bias correction of the tensor's age by that of each entry's own."""
    own, age = state["own_step"].add_(1), float(state["step"])
    beta1, beta2 = (float(beta) for beta in group["betas"])
    first = (1 - beta1**age) / (1 - beta1**own)
    second = (1 - beta2**own) / (1 - beta2**age) if "exp_avg_sq" in state else torch.ones_like(own)
    rate = float(group["lr"]) * float(group["weight_decay"]) if group.get("decoupled_weight_decay") else 0.0
    rest = before * (1 - rate)
    parameter.copy_(torch.where(own == age, parameter, rest + (parameter - rest) * first * second.sqrt()))
