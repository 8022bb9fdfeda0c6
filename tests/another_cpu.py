"""A processor whose last bits depend on where a tensor lies in memory: `python -m pytest -p tests.another_cpu …`.

Matrix products, convolutions, attention and Fourier transforms choose their kernels by the addresses they are given,
on some machines. Here each of them is off by one unit in the last place, in a pattern that its operands' addresses
decide: the same tensors give the same bits, equal tensors elsewhere do not. Zeros stay zeros.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CHOOSY = ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "convolution", "_fft", "_scaled_dot", "mkldnn")


class AnotherCpu(TorchDispatchMode):
    """Moves the last bits of what it computes by the addresses of what it is given."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.__name__.startswith(CHOOSY):
            given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            place = sum(leaf.data_ptr() // 64 for leaf in given)
            for leaf in tree_leaves(out):
                if isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex()):
                    _shift_(leaf, place)
        return out


def _shift_(out: Tensor, place: int) -> None:
    """One unit up, down, or none, from element to element."""
    real = torch.view_as_real(out) if out.is_complex() else out
    steps = torch.tensor([1.0, 0.0, -1.0, 0.0, 0.0, -1.0, 1.0], dtype=torch.float64).roll(place % 7)
    pattern = steps.repeat(-(-real.numel() // 7))[: real.numel()].view(real.shape).to(real.dtype)
    with torch.no_grad():
        real.mul_(1 + pattern * torch.finfo(real.dtype).eps)


@pytest.fixture(autouse=True)
def another_cpu(request: pytest.FixtureRequest) -> Iterator[None]:
    if "compile" in request.node.nodeid:  # a compiler leaves alone what such a mode looks at
        yield
        return
    with AnotherCpu():
        yield
