"""GradMax (arXiv 2201.05125): zero incoming weights, and the outgoing ones for which the first gradient is largest.

For units between a layer with input x and one with output gradient g, the gradient of a unit's incoming weights is
act'(0) · outᵀ (Σ g xᵀ): largest, at a given norm, along the top left singular vectors of Σ g xᵀ.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.halving import Halving
from plastsearch.growth.initialise import current, draw
from plastsearch.growth.paths import at, outer
from plastsearch.growth.resize import Values
from plastsearch.growth.rules import growth_refused
from plastsearch.growth.site import Site


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

        def enter(_: Any, args: Any, name: str = site.name) -> None:
            inputs[name] = args[0].detach()

        def leave(_: Any, __: Any, out: Tensor, name: str = site.name) -> Tensor:
            outputs[name] = out if out.requires_grad else out.detach().requires_grad_()
            return outputs[name]

        handles.append(outer(module, site.parts["in"]).register_forward_pre_hook(enter))
        handles.append(outer(module, site.parts["out"]).register_forward_hook(leave))
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
