"""First values of new neurons, one tensor for each slot of a site, drawn from one generator.

Incoming weights take the scale of the neurons that are there. Either the outgoing side starts at zero (random,
orthogonal, copies), or the incoming one does (gradmax), or neurons come in pairs that cancel out (pairs): the function
does not change, and one side learns from the first step. Net2Net splits existing neurons in two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.halving import Halving
from plastsearch.growth.paths import at, is_grown, outer
from plastsearch.growth.recurrent.layers import chain_of, merge
from plastsearch.growth.resize import Values, entries, insert, unflatten
from plastsearch.growth.rules import growth_refused
from plastsearch.growth.site import Site, Slot, plain_units

Init = Literal["random", "orthogonal", "pairs", "copies", "net2net", "gradmax"]
INITS: tuple[Init, ...] = ("random", "orthogonal", "pairs", "copies", "net2net", "gradmax")


def draw(root: nn.Module, site: Site, count: int, init: Init, generator: Generator | None) -> Values:
    """Values of `count` new units of a site for each of its slots (net2net and gradmax: see their own functions)."""
    # Drawn for every init, though only copies need it: without, a seed would give other values than it always has.
    source = torch.randint(plain_units(root, site), (count,), generator=generator)
    values: Values = {}
    for slot in site.slots:
        tensor = _with_rows(current(root, slot), slot, values)
        values[slot] = _fresh(tensor, slot, site, count, init, source, generator)
    return values


def split_units(
    root: nn.Module, site: Site, count: int, generator: Generator | None
) -> tuple[Values, Callable[[], None]]:
    """Net2Net: copies of existing units that share their outgoing weights, and what to call after widening."""
    source = torch.randint(site.units, (count,), generator=generator)
    # Unequal shares, or original and copy would get the same gradients and stay the same neuron.
    share = 0.25 + 0.5 * torch.rand(count, generator=generator, dtype=torch.float64)
    left = torch.ones(site.units, dtype=torch.float64)
    parts = torch.zeros(count, dtype=torch.float64)
    for k, unit in enumerate(source.tolist()):
        parts[k] = left[unit] * share[k]
        left[unit] -= parts[k]
    values: Values = {}
    reads: list[Slot] = []
    for slot in site.slots:
        tensor = _with_rows(current(root, slot), slot, values)
        values[slot] = _copied(tensor, slot, source)
        if _reads_units(slot, site):
            values[slot] = values[slot] * _along(slot, parts, values[slot])
            reads.append(slot)
    kept = torch.cat([left, torch.ones(count, dtype=torch.float64)])
    return values, lambda: _scale_(root, reads, kept)


def current(root: nn.Module, slot: Slot) -> Tensor:
    """A slot's tensor with the entries of grown recurrent blocks in it."""
    module = outer(root, slot.module)
    if is_grown(module) and hasattr(module, "extend"):
        return merge(chain_of(module))[slot.tensor].detach()
    tensor: Tensor = getattr(at(root, slot.module), slot.tensor)
    return tensor.detach()


@torch.no_grad()
def _scale_(root: nn.Module, reads: list[Slot], kept: Tensor) -> None:
    """Leaves the original units the share that their copies did not take, in all that reads them."""
    for slot in reads:
        tensor = getattr(at(root, slot.module), slot.tensor)
        tensor.mul_(_along(slot, kept, tensor))


def _with_rows(tensor: Tensor, slot: Slot, values: Values) -> Tensor:
    """The tensor after the site's earlier slots of the same tensor have added their entries."""
    for earlier, new in values.items():
        if (earlier.module, earlier.tensor) == (slot.module, slot.tensor):
            tensor = insert(tensor, new, earlier)
    return tensor


def _fresh(
    tensor: Tensor, slot: Slot, site: Site, count: int, init: Init, source: Tensor, generator: Generator | None
) -> Tensor:
    """New entries of one slot, gate-major."""
    shape = list(tensor.shape)
    shape[slot.dim] = slot.gates * count * slot.width
    zeros = tensor.new_zeros(shape)
    if slot.role == "norm":
        neutral = torch.ones_like(zeros) if slot.tensor in ("weight", "running_var") else zeros
        return _copied(tensor, slot, source) if init == "copies" else neutral
    if _reads_units(slot, site):
        return _outgoing(tensor, slot, zeros, count, init, _gates(site, slot), generator)
    if tensor.dim() == 1:
        return _copied(tensor, slot, source) if init == "copies" else zeros
    if init == "copies":
        return _copied(tensor, slot, source)
    scale = _scale(tensor)
    drawn = _orthogonal if init == "orthogonal" else _normal
    if init != "pairs":
        return drawn(zeros, scale, generator)
    half = zeros.narrow(slot.dim, 0, zeros.shape[slot.dim] // 2)
    each = unflatten(_normal(half, scale, generator), slot.dim, (slot.gates, count // 2, slot.width))
    return each.repeat_interleave(2, slot.dim + 1).flatten(slot.dim, slot.dim + 2)


def _outgoing(
    tensor: Tensor, slot: Slot, zeros: Tensor, count: int, init: Init, gates: int, generator: Generator | None
) -> Tensor:
    """Zero, or opposite pairs; among themselves the new units of a recurrent site are connected at random."""
    if slot.role == "recurrent":
        # Columns of the new units: what old units read of them is zero, what new ones read of each other is not.
        if init in ("pairs", "copies"):
            return zeros
        old = (zeros.shape[0] // gates - count) if zeros.dim() > 1 else 0
        fresh = unflatten(_normal(zeros, _scale(tensor), generator), 0, (gates, -1))
        fresh[:, :old] = 0
        return fresh.flatten(0, 1)
    if init != "pairs":
        return zeros
    half = zeros.narrow(slot.dim, 0, zeros.shape[slot.dim] // 2)
    each = unflatten(_normal(half, _scale(tensor), generator), slot.dim, (slot.gates, count // 2, slot.width))
    both = torch.stack([each, -each], slot.dim + 2)
    return both.flatten(slot.dim, slot.dim + 3)


def _gates(site: Site, slot: Slot) -> int:
    """Gates of the rows of a tensor whose columns a slot names."""
    return next(
        (one.gates for one in site.slots if (one.module, one.tensor, one.dim) == (slot.module, slot.tensor, 0)), 1
    )


def _reads_units(slot: Slot, site: Site) -> bool:
    """Whether a slot is on the outgoing side: for a head width that includes the keys, which multiply the queries."""
    return slot.role in ("out", "recurrent") or (site.kind == "head_width" and slot.module.endswith(".k_proj"))


def _copied(tensor: Tensor, slot: Slot, source: Tensor) -> Tensor:
    units = (tensor.shape[slot.dim] - slot.offset) // (slot.gates * slot.width)
    index = entries(slot, units, source, slot.offset + slot.gates * units * slot.width)[slot.offset :]
    return tensor.index_select(slot.dim, index.to(tensor.device))


def _along(slot: Slot, factors: Tensor, like: Tensor) -> Tensor:
    """One factor for each unit, laid out along the slot's dimension."""
    flat = factors.repeat_interleave(slot.width).repeat(slot.gates).to(like)
    return flat.view([-1 if d == slot.dim else 1 for d in range(like.dim())])


def _scale(tensor: Tensor) -> float:
    """The root mean square of the weights there, or He's value if they are all zero."""
    rms = float(tensor.double().square().mean().sqrt())
    return rms if rms > 0 else float((2 / max(1, tensor[0].numel())) ** 0.5)


def _normal(like: Tensor, scale: float, generator: Generator | None) -> Tensor:
    return (torch.randn(like.shape, generator=generator, dtype=torch.float64) * scale).to(like)


def _orthogonal(like: Tensor, scale: float, generator: Generator | None) -> Tensor:
    """Rows at right angles to each other (in groups, if there are more rows than inputs), of the usual length."""
    rows = like.shape[0]
    size = like[0].numel()
    groups = []
    for first in range(0, rows, size):
        count = min(size, rows - first)
        drawn = torch.randn(size, count, generator=generator, dtype=torch.float64)
        groups.append(torch.linalg.qr(drawn)[0].T)
    stacked: Tensor = torch.cat(groups) * scale * size**0.5
    return stacked.view(like.shape).to(like)


def he_normal(like: Tensor, generator: Generator | None) -> Tensor:
    """He's scale for the fan-in, for layers that stand alone."""
    return _normal(like, float((2 / like[0].numel()) ** 0.5), generator)


@dataclass(frozen=True)
class Shares:
    """A loss that can be taken in parts where the whole does not fit into memory: `of(n)` yields n shares of it."""

    of: Callable[[int], Iterable[Tensor]]
    most: int  # parts: one per clip

    def __call__(self) -> Tensor:
        """The whole loss."""
        (whole,) = self.of(1)
        return whole


def gradmax(
    module: nn.Module,
    sites: Sequence[Site],
    units: Mapping[str, int],
    loss: Callable[[], Tensor] | None,
    generator: Generator | None,
) -> dict[str, Values]:
    """First values for each site from one backward pass of `loss`; `check_gradmax` was asked before."""
    assert loss is not None
    shares = loss if isinstance(loss, Shares) else Shares(lambda _: [loss()], 1)
    crossed = Halving()(partial(_crossed, module, sites, shares), shares.most)
    made: dict[str, Values] = {}
    for site in sites:
        values = draw(module, site, units[site.name], "random", generator)
        # The outgoing weights that make the gradient at the incoming zeros largest: the first left singular vectors.
        directions = torch.linalg.svd(crossed[site.name].double())[0]
        for slot in site.slots:
            if slot.role == "out":
                scale = float(current(module, slot).double().square().mean().sqrt()) * directions.shape[0] ** 0.5
                values[slot] = (directions[:, : units[site.name]] * scale).to(values[slot])
            else:
                values[slot] = torch.zeros_like(values[slot])
        made[site.name] = values
    return made


def check_gradmax(module: nn.Module, site: Site, count: int, loss: Callable[[], Tensor] | None) -> None:
    """Refuses sites that gradmax cannot serve, before the loss is computed."""
    width = at(module, site.parts["out"]).out_features if site.kind == "ffn" else None
    reason = growth_refused(
        site.name, site.kind, count, mode="unfrozen", operator="widen", init="gradmax", directions=width
    )
    if reason:
        raise GrowthError(reason)
    act: Any = at(module, site.parts["act"])
    zero = torch.zeros(1, requires_grad=True)
    if not float(torch.autograd.grad(act(zero).sum(), zero)[0]):
        raise GrowthError(
            f"site '{site.name}': gradmax needs an activation with a slope at 0, and {type(act).__name__} has none; "
            "take random, orthogonal, pairs or copies"
        )
    if loss is None:
        raise GrowthError("gradmax needs `loss`, a function without arguments that computes the loss of some batches")


def _crossed(module: nn.Module, sites: Sequence[Site], loss: Shares, parts: int) -> dict[str, Tensor]:
    """Σ g xᵀ of each site: x enters the first layer, g is the loss gradient at the second one's output."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    handles = []
    for site in sites:

        def enter(_: nn.Module, args: tuple[Tensor, ...], name: str = site.name) -> None:
            inputs[name] = args[0].detach()

        def leave(_: nn.Module, __: object, out: Tensor, name: str = site.name) -> Tensor:
            outputs[name] = out if out.requires_grad else out.detach().requires_grad_()
            return outputs[name]

        handles.append(outer(module, site.parts["in"]).register_forward_pre_hook(enter))
        handles.append(outer(module, site.parts["out"]).register_forward_hook(leave))
    # Before the pass: it runs in the mode the network is in, and a norm in train mode moves its statistics.
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        for share in loss.of(parts):
            names = [site.name for site in sites]
            ran = {name: outputs[name] for name in names if name in outputs}
            found = torch.autograd.grad(share, list(ran.values()), allow_unused=True) if ran else ()
            grads = dict(zip(ran, found, strict=True))
            for name in names:
                grad = grads.get(name)
                if grad is None:
                    raise GrowthError(f"site '{name}': the loss given for gradmax does not depend on it")
                product = grad.flatten(0, -2).T @ inputs[name].flatten(0, -2)
                sums[name] = sums[name] + product if name in sums else product
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for buffer, values in kept:  # running statistics that one more forward pass has moved
                buffer.copy_(values)
    for name, product in sums.items():
        if not bool(torch.isfinite(product).all()):
            raise GrowthError(f"site '{name}': the loss given for gradmax has gradients that are not finite")
    return sums
