"""Larger kernels for convolutions that are there: a ring of taps around the trained ones, all zero at first.

A kernel grows in each axis that has a middle: of an odd number of taps, more than one. Axes of one tap are pointwise
and stay so; a ring around an even number would move what each output looks at. Padding grows with the kernel, by the
dilation for each tap, so that outputs keep their number and their places, whatever the stride.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from plastsearch.growth.paths import at
from plastsearch.growth.resize import replace_
from plastsearch.growth.site import Site

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
Kernel = tuple[int, ...]
_CALL = {1: functional.conv1d, 2: functional.conv2d}


class GrownKernel(nn.Module):
    """A ring of taps beside a convolution that keeps its own; what both give is added up."""

    wraps_base = True
    new_units = 0

    def __init__(self, base: nn.Conv1d | nn.Conv2d, kernel: Kernel) -> None:
        super().__init__()
        self.base: Any = base
        self.kernel = kernel
        old = base.weight
        around = _ring(kernel_of(base), kernel)
        # The taps of the ring alone, not a whole kernel with a mask: weight decay and momentum have nothing to undo.
        self.ring = nn.Parameter(old.new_zeros(*old.shape[:2], len(around)))
        self.taps: Tensor
        self.register_buffer("taps", around.to(old.device), persistent=False)

    def weight(self) -> Tensor:
        """A kernel of the new size in which the trained taps are zero."""
        shape = self.ring.shape[:2]
        whole = self.ring.new_zeros(*shape, math.prod(self.kernel)).index_copy(2, self.taps, self.ring)
        return whole.view(*shape, *self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        base = self.base
        padding = wider_padding(base, self.kernel)
        out: Tensor = base(x)
        if base.padding_mode != "zeros":
            around = _repeated(base, self.kernel, padding)
            x, padding = functional.pad(x, around, mode=base.padding_mode), 0
        call = _CALL[len(self.kernel)]
        return out + call(x, self.weight(), None, base.stride, padding, base.dilation, base.groups)


def kernels_of(root: nn.Module, site: Site) -> dict[str, Kernel]:
    """The kernels that a ring can grow at a site, by the paths of their convolutions."""
    layers = {site.parts[key]: at(root, site.parts[key]) for key in ("in", "out") if key in site.parts}
    found = {path: kernel_of(layer) for path, layer in layers.items() if isinstance(layer, CONVOLUTIONS)}
    return {path: sizes for path, sizes in found.items() if any(_grows(size) for size in sizes)}


def wider(kernel: Kernel, taps: int) -> Kernel:
    """A kernel with so many taps in each axis that can grow."""
    return tuple(taps if _grows(size) else size for size in kernel)


def kernel_of(layer: Any) -> Kernel:
    """A convolution's kernel."""
    return tuple(int(size) for size in layer.kernel_size)


def resize_kernel_(
    layer: nn.Module, kernel: Kernel, optimizer: Optimizer | None = None, ring: GrownKernel | None = None
) -> None:
    """Puts taps around a convolution's kernel, zeros or those of a block beside it, or takes its outer ones away."""
    convolution: Any = layer
    old = kernel_of(layer)
    padding = wider_padding(convolution, kernel)

    def change(tensor: Tensor, fill: float | None) -> Tensor:
        made = tensor
        for axis, (before, after) in enumerate(zip(old, kernel, strict=True), start=2):
            if after < before:
                made = made.narrow(axis, (before - after) // 2, after)
        around = [
            each for b, a in zip(reversed(old), reversed(kernel), strict=True) for each in [max(0, a - b) // 2] * 2
        ]
        made = functional.pad(made, around, value=fill or 0.0)
        return made + ring.weight().detach().to(made) if ring is not None and fill is None else made

    replace_(convolution, "weight", change, optimizer)
    convolution.kernel_size = kernel
    convolution.padding = padding
    convolution._reversed_padding_repeated_twice = _repeated(convolution, kernel, padding)


def wider_padding(layer: Any, kernel: Kernel) -> Any:
    """The padding with which a convolution of another kernel gives outputs of the same number, at the same places."""
    if layer.padding == "same":
        return "same"
    own = (0,) * len(kernel) if layer.padding == "valid" else layer.padding
    each = zip(own, kernel_of(layer), kernel, layer.dilation, strict=True)
    return tuple(pad + (after - before) // 2 * dilation for pad, before, after, dilation in each)


def _repeated(layer: Any, kernel: Kernel, padding: Any) -> list[int]:
    """Padding as functional.pad takes it, from the last axis on."""
    if padding == "same":
        totals = [dilation * (size - 1) for dilation, size in zip(layer.dilation, kernel, strict=True)]
        return [each for total in reversed(totals) for each in (total // 2, total - total // 2)]
    return [each for pad in reversed(padding) for each in (pad, pad)]


def _ring(inner: Kernel, outer: Kernel) -> Tensor:
    """Places of a kernel, counted row by row, that a smaller one in its middle does not have."""
    mask = torch.ones(outer, dtype=torch.bool)
    mask[tuple(slice((b - a) // 2, (b - a) // 2 + a) for a, b in zip(inner, outer, strict=True))] = False
    return mask.flatten().nonzero().flatten()


def ring_taps(inner: Sequence[int], outer: Sequence[int]) -> int:
    """How many taps the ring between two kernels has."""
    return math.prod(outer) - math.prod(inner)


def _grows(size: int) -> bool:
    return size > 1 and size % 2 == 1
