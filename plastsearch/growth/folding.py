"""Whether a change of a network leaves its function as it was, seen on an example in float64 and eval mode."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from plastsearch.errors import GrowthError
from plastsearch.growth.blocks import Fork, GrownHeads, GrownReader, Join, ParallelRecurrent, Stacked, outermost
from plastsearch.growth.chunked import ChunkBranch, folded_tensor
from plastsearch.growth.freeze import unfreeze_
from plastsearch.growth.kernels.rings import GrownKernel, resize_kernel_
from plastsearch.growth.paths import at, chain, holder, is_grown, outer
from plastsearch.growth.recurrent.layers import chain_of, merge
from plastsearch.growth.resize import all_or_nothing, insert, pack_recurrent_, sync_module_, widen_
from plastsearch.growth.site import Site, Slot
from plastsearch.growth.survey import find_sites, survey

TOLERANCE = 1e-9  # of an output's largest value; rounding in float64 stays some hundred times below
_OFF = "verify=False leaves the check out"


class _NoOutputError(Exception):
    """What a network says instead of giving an output."""


Steps = Callable[[nn.Module], Iterable[str]]  # changes a network step by step and names what each step changed


def refuse_change(module: nn.Module, steps: Steps, args: Sequence[object], named: Mapping[str, object]) -> None:
    """An error if the steps, taken on a copy, change what the network computes from an example."""
    trial = _copy(module)
    try:
        before = _outputs(trial, args, named)
    except _NoOutputError as error:
        raise GrowthError(f"the network does not run on the example in float64: {error}; {_OFF}") from error
    if not any(bool(tensor.isfinite().any()) for tensor in before):
        raise GrowthError(f"the network gives no finite value on the example, so nothing can be checked; {_OFF}")
    # All at once first: one more forward pass, where step by step takes as many as there are blocks.
    for _ in steps(trial):
        pass
    if _change(before, trial, args, named) is None:
        return
    # A network that draws in eval mode differs without any step; that is not the fold's doing.
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


def _change(before: list[Tensor], module: nn.Module, args: Sequence[object], named: Mapping[str, object]) -> str | None:
    """How a network's outputs differ from those before, or None."""
    try:
        return _difference(before, _outputs(module, args, named))
    except _NoOutputError as error:
        return f"it no longer runs ({error})"


def _outputs(module: nn.Module, args: Sequence[object], named: Mapping[str, object]) -> list[Tensor]:
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


def _double(leaf: object) -> object:
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
        # Places that are NaN on both sides agree, and so do equal infinities, whose difference would be NaN.
        change = torch.where(old == new, 0.0, (new - old).abs())[~(old.isnan() & new.isnan())]
        scale = float(old[old.isfinite()].abs().max()) if bool(old.isfinite().any()) else 0.0
        most = float(change.max()) if change.numel() else 0.0
        if not most <= TOLERANCE * scale:  # not `>`, which a NaN would pass
            return f"{which} by {most / scale if scale else most:.1e} of its largest value"
    return None


Network = TypeVar("Network", bound=nn.Module)


def fold(module: Network, *example: object, verify: bool = True, **named: object) -> Network:
    """An ordinary network that computes what a grown one does; the grown one stays as it is (example: see `fold_`)."""
    _check(module, example, named, verify=verify)
    return fold_(pack_recurrent_(copy.deepcopy(module)), verify=False)


def fold_(module: Network, *example: object, verify: bool = True, **named: object) -> Network:
    """Folds every grown block in place; what learnt before growth learns again, so build the optimiser afterwards.

    `example` and `named` are what the network is called with: a clip or two show whether folding keeps the function,
    which is tried on a copy in float64 first. A network that would change stays as it is, and an error says where.
    """
    _check(module, example, named, verify=verify)
    with all_or_nothing(module):
        for _ in _steps_(module):
            pass
        left = [path for path, _ in outermost(module)]
        if left:
            why = "\n".join(dict.fromkeys(survey(module)[1].values())) or "no site of the network holds it"
            raise GrowthError(f"{left[0]} carries a grown block that cannot be folded: {why}")
    module.__dict__.pop("_dropins", None)
    unfreeze_(module)
    return module


def _check(module: nn.Module, example: tuple[object, ...], named: Mapping[str, object], *, verify: bool) -> None:
    """Refuses what cannot fold, and what would not compute the same."""
    blocks = outermost(module)
    for path, block in ((path, inner) for path, found in blocks for inner in chain(found)):
        if isinstance(block, Stacked | ParallelRecurrent):
            what = "a stacked layer" if isinstance(block, Stacked) else "a parallel recurrent branch"
            raise GrowthError(f"{path or 'the network'} carries {what}, which has no ordinary module of greater width")
    if not verify or not blocks:
        return
    if not example and not named:
        raise GrowthError(
            "folding checks itself on an example, and none was given: fold(network, inputs) with a clip or two as the "
            "network takes them, or fold(network, verify=False)"
        )
    refuse_change(module, _steps_, example, named)


def _steps_(module: nn.Module) -> Iterator[str]:
    """Folds in place, block by block, and names the site or the layer of each; the function stays after every one."""
    for path, block in outermost(module):
        if isinstance(block, GrownKernel):
            base = at(module, path)
            _unwrap_(module, path)
            resize_kernel_(base, block.kernel, ring=block)
            yield path
    for site in find_sites(module).values():
        if site.kind != "hidden":
            for inner in _blocks_inside_out(module, site):
                _fold_one_(module, site, inner)
                yield site.name
    yield from _fold_recurrent_(module)


def _blocks_inside_out(module: nn.Module, site: Site) -> list[Any]:
    """The blocks of one site that bring units, the oldest first."""
    # The order in which their units follow the base's, which `Dropin.first` counts on.
    path = site.parts["in"] if "in" in site.parts else site.parts["attention"]
    if site.kind == "head_width":
        path = f"{path}.out_proj"
    # A convolution that one row's neurons leave and another's enter has blocks of both around it.
    return [block for block in chain(outer(module, path))[::-1] if not isinstance(block, Join)]


def _fold_one_(module: nn.Module, site: Site, block: nn.Module) -> None:
    """Moves one block's neurons into the base's tensors and takes the block away."""
    if isinstance(block, Fork):
        values = {slot: _branch_tensor(module, block, site, slot) for slot in site.slots}
        join = next(one for one in chain(outer(module, site.parts["out"])) if getattr(one, "wire", None) is block.wire)
        _take_off_(module, site.parts["in"], block)
        _take_off_(module, site.parts["out"], join)
    elif isinstance(block, GrownHeads):
        attention = site.parts["attention"]
        values = {slot: _of(block.extra, slot, f"{attention}.") for slot in site.slots}
        _unwrap_(module, attention)
    elif isinstance(block, GrownReader):
        attention = site.parts["attention"]
        values = {slot: _projection_tensor(module, slot) for slot in site.slots}
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            _unwrap_(module, f"{attention}.{name}")
    else:
        raise TypeError(f"no rule to fold {type(block).__name__}")
    widen_(module, site, values)


def _branch_tensor(module: nn.Module, block: Fork, site: Site, slot: Slot) -> Tensor:
    if isinstance(block.branch, ChunkBranch):
        return folded_tensor(module, block.branch, site, slot)
    roles = {site.parts["in"]: block.branch.enter, site.parts["out"]: block.branch.leave}
    owner: Any = roles.get(slot.module, block.branch.norm)
    tensor: Tensor = getattr(owner, slot.tensor).detach()
    if slot.role != "in" or tensor.dim() < 2:
        return tensor
    # Of the neurons before it, folded by now, the branch reads those that were there before any was added.
    read = getattr(at(module, slot.module), slot.tensor).shape[1]
    return torch.cat([tensor, tensor.new_zeros(len(tensor), read - tensor.shape[1], *tensor.shape[2:])], 1)


def _of(extra: nn.Module, slot: Slot, prefix: str) -> Tensor:
    tensor: Tensor = getattr(getattr(extra, slot.module.removeprefix(prefix)), slot.tensor)
    return tensor.detach()


def _projection_tensor(module: nn.Module, slot: Slot) -> Tensor:
    """The innermost block's new entries of a projection."""
    block = outer(module, slot.module)
    while is_grown(block.base):
        block = block.base
    tensor: Tensor = getattr(block.new, slot.tensor)
    return tensor.detach()


def _unwrap_(module: nn.Module, path: str) -> None:
    """Takes away the innermost block at a path."""
    _take_off_(module, path, chain(outer(module, path))[-1])


def _take_off_(module: nn.Module, path: str, block: nn.Module) -> None:
    """Takes away one of the blocks at a path."""
    around = chain(outer(module, path))
    if around[0] is block:
        owner, name = holder(module, path)
        setattr(owner, name, around[0].base)
    else:
        around[around.index(block) - 1].base = block.base


def _fold_recurrent_(module: nn.Module) -> Iterator[str]:
    """Chains of recurrent runs become one GRU each, and their readers one linear layer."""
    for path, block in outermost(module):
        if hasattr(block, "extend"):
            weights = merge(chain_of(block))
        elif isinstance(block, GrownReader):
            weights = {"weight": _reader_weight(block)}
        else:
            continue
        base = at(module, path)
        for key, tensor in weights.items():
            learns = getattr(base, key).requires_grad  # unfreeze_ sets it later, from what the base noted
            setattr(base, key, nn.Parameter(tensor.detach().clone(), requires_grad=learns))
        sync_module_(base)
        owner, name = holder(module, path)
        setattr(owner, name, base)
        yield path


def _reader_weight(layer: nn.Module) -> Tensor:
    if isinstance(layer, GrownReader):
        columns = Slot("", "weight", 1, "out", gates=layer.gates)
        return insert(_reader_weight(layer.base), layer.new.weight, columns)
    assert isinstance(layer, nn.Linear)
    return layer.weight
