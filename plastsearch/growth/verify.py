"""Whether a change of a network leaves its function as it was, seen on an example in float64 and eval mode."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from plastsearch.errors import GrowthError

TOLERANCE = 1e-9  # of an output's largest value; rounding in float64 stays some hundred times below
_OFF = "verify=False leaves the check out"


class _NoOutputError(Exception):
    """What a network says instead of giving an output."""


Steps = Callable[[nn.Module], Iterable[str]]  # changes a network step by step and names what each step changed


def refuse_change(module: nn.Module, steps: Steps, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """An error if the steps, taken on a copy, change what the network computes from an example."""
    trial = _copy(module)
    try:
        before = _outputs(trial, args, named)
    except _NoOutputError as error:
        raise GrowthError(f"the network does not run on the example in float64: {error}; {_OFF}") from error
    if not any(bool(tensor.isfinite().any()) for tensor in before):
        raise GrowthError(f"the network gives no finite value on the example, so nothing can be checked; {_OFF}")
    for _ in steps(trial):
        pass
    if _change(before, trial, args, named) is None:
        return
    again = _copy(module)
    if _change(before, again, args, named) is not None:
        raise GrowthError(
            "the network gives other outputs for the same example in eval mode, so nothing can be checked; "
            f"{_OFF}, and the network is as it was"
        )
    for step in steps(again):
        change = _change(before, again, args, named)
        if change is not None:
            raise GrowthError(
                f"folding '{step}' would change what the network computes: {change}. What lies between the site's "
                "layers is not what was declared, or recognised, as lying there; the network is as it was. Declare the "
                f"site as it is (growth.site.declare_) and grow anew; {_OFF}"
            )
    raise AssertionError("all steps change the function, but not one after the other")


def _copy(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module).double().eval()
    except RuntimeError as error:
        raise GrowthError(f"the check works on a copy of the network, and copying fails: {error}; {_OFF}") from error


def _change(before: list[Tensor], module: nn.Module, args: Sequence[Any], named: Mapping[str, Any]) -> str | None:
    """How a network's outputs differ from those before, or None."""
    try:
        return _difference(before, _outputs(module, args, named))
    except _NoOutputError as error:
        return f"it no longer runs ({error})"


def _outputs(module: nn.Module, args: Sequence[Any], named: Mapping[str, Any]) -> list[Tensor]:
    """All tensors of what the network gives for an example."""
    args, named = pytree.tree_map(_double, (tuple(args), dict(named)))
    kinds = {tensor.device.type for tensor in module.parameters()}
    try:
        with torch.no_grad():
            # A half-precision context of the caller's would hide what is looked for.
            found = _without_autocast(kinds, lambda: module(*args, **named))
    except Exception as error:
        raise _NoOutputError(str(error).strip() or type(error).__name__) from error
    leaves = [leaf.data if isinstance(leaf, PackedSequence) else leaf for leaf in pytree.tree_leaves(found)]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if not tensors:
        raise _NoOutputError(f"it gives a {type(found).__name__} without tensors")
    return tensors


def _without_autocast(kinds: set[str], call: Callable[[], Any]) -> Any:
    if not kinds:
        return call()
    with torch.autocast(kinds.pop(), enabled=False):
        return _without_autocast(kinds, call)


def _double(leaf: Any) -> Any:
    if isinstance(leaf, PackedSequence):
        return leaf.double()
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _difference(before: list[Tensor], after: list[Tensor]) -> str | None:
    """How the first output that changed differs, or None."""
    if len(before) != len(after):
        return f"{len(after)} outputs instead of {len(before)}"
    for k, (old, new) in enumerate(zip(before, after, strict=True), start=1):
        which = f"output {k} of {len(before)}"
        if old.shape != new.shape:
            return f"{which} has shape {tuple(new.shape)} instead of {tuple(old.shape)}"
        if not old.is_complex():
            old, new = old.double(), new.double()  # truth values and whole numbers have no differences otherwise
        change = torch.where(old == new, 0.0, (new - old).abs())[~(old.isnan() & new.isnan())]
        scale = float(old[old.isfinite()].abs().max()) if bool(old.isfinite().any()) else 0.0
        most = float(change.max()) if change.numel() else 0.0
        if not most <= TOLERANCE * scale:
            return f"{which} by {most / scale if scale else most:.1e} of its largest value"
    return None
