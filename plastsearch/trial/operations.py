"""Floating-point operations of a backward pass, by our own formula for each kind of layer: the same on every machine.

Counters that watch kernels see what a machine runs: fused attention is missing on CPUs, cuDNN's GRU on GPUs. So the
forward pass is watched one level higher, where layers call the same functions everywhere, and for each call it is known
which of its inputs will get a gradient. A product of two tensors costs as much again for the gradient of either; norms,
activations and sums are left out.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from plastsearch.errors import TrialError


class BackwardOperations(TorchFunctionMode):
    """While it is on, adds up what the gradients of every call will cost."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(
        self,
        func: Callable[..., object],
        _: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        out = func(*args, **(kwargs or {}))
        if torch.is_grad_enabled():
            if func in UNKNOWN:
                raise TrialError(f"backward_gflop: no formula for {func.__name__}; add one to trial/operations.py")
            if func in FORMULAS:
                self.total += FORMULAS[func](out, *args, **(kwargs or {}))
        return out


def backward_gflop(forward: Callable[[], Tensor]) -> float:
    """Operations of the backward pass of a step, from its forward pass alone, in 10⁹."""
    with BackwardOperations() as counted:
        forward()
    total: int = counted.total
    return total / 1e9


def _learning(*tensors: object) -> int:
    """How many of these get a gradient."""
    return sum(1 for tensor in tensors if isinstance(tensor, Tensor) and tensor.requires_grad)


def _product(out: Tensor, one: Tensor, other: Tensor, *_: object, **__: object) -> int:
    return 2 * out.numel() * one.shape[-1] * _learning(one, other)


def _added_product(out: Tensor, _: Tensor, one: Tensor, other: Tensor, **__: object) -> int:
    """As addmm and baddbmm, which add a product to something."""
    return _product(out, one, other)


def _conv(out: Tensor, input: Tensor, weight: Tensor, *_: object, **__: object) -> int:
    """Each output value sums over a kernel and the input channels of its group: a row of the weight."""
    return 2 * out.numel() * weight[0].numel() * _learning(input, weight)


def _attention(
    out: Tensor, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: object, **__: object
) -> int:
    """Of softmax(q kᵀ + mask) v, whatever kernel computes it: what a fused one computes twice counts once."""
    compared, mixed = 2 * query.numel() * key.shape[-2], 2 * out.numel() * key.shape[-2]
    into_softmax = _learning(query, key, attn_mask) > 0
    return compared * _learning(query, key) + mixed * (_learning(value) + into_softmax)


def _attention_with_projections(_: object, *args: object, **kwargs: object) -> int:
    """Of one call with weights for query, key and value, as WavLM makes it; inputs are [T, B, D]."""
    named = inspect.signature(functional.multi_head_attention_forward).bind(*args, **kwargs).arguments
    if not named.get("use_separate_proj_weight"):
        raise TrialError("backward_gflop: no formula for attention that projects query, key and value by one weight")
    total: int = 0
    learning: list[bool] = []
    for name in ("query", "key", "value"):
        x, weight = named[name], named[f"{name[0]}_proj_weight"]
        total += 2 * x.numel() * weight.shape[0] * _learning(x, weight)
        learning.append(_learning(x, weight, named["in_proj_bias"]) > 0)
    query, key, value = learning
    into_softmax = query or key or _learning(named.get("attn_mask")) > 0
    total += 2 * named["query"].numel() * named["key"].shape[0] * (query + key + value + into_softmax)
    leave = named["out_proj_weight"]
    total += 2 * named["query"].numel() * leave.shape[0] * ((value or into_softmax) + _learning(leave))
    return total


def _einsum(out: Tensor, equation: str, *operands: Any) -> int:
    """Of a sum of products of two tensors: each index is run through once, whether it is kept or summed over."""
    both = operands[0] if len(operands) == 1 else operands
    letters = [part.strip() for part in equation.partition("->")[0].split(",")]
    if len(both) != 2 or "." in equation:
        raise TrialError(f"backward_gflop: no formula for einsum {equation!r}; add one to trial/operations.py")
    sizes = {
        letter: size
        for part, one in zip(letters, both, strict=True)
        for letter, size in zip(part, one.shape, strict=True)
    }
    del out
    total: int = 2 * math.prod(sizes.values())
    return total * _learning(*both)


def _recurrent(_: object, input: Tensor, *rest: Any) -> int:
    """Input and hidden products of every frame and direction; the state before the first frame rarely learns."""
    if isinstance(rest[0], Tensor) and not rest[0].is_floating_point():  # packed: how many clips each frame has
        counts, given, weights, _, layers, _, _, both_ways = rest
        rows, clips = input.shape[0], int(counts[0])
    else:
        given, weights, _, layers, _, _, both_ways, batch_first = rest
        rows, clips = input.shape[0] * input.shape[1], input.shape[0 if batch_first else 1]
    hx = given if isinstance(given, Tensor) else given[0]  # of an LSTM: what its cells hold meets no weight
    runs = layers * (1 + both_ways)
    each = [weights[at : at + len(weights) // runs] for at in range(0, len(weights), len(weights) // runs)]
    total = 0
    learns = bool(input.requires_grad)
    for first in range(0, runs, 1 + both_ways):
        layer = each[first : first + 1 + both_ways]
        leaves = learns or _learning(hx, *(tensor for run in layer for tensor in run)) > 0
        for into, hidden, *_biases in layer:
            read = rows - (0 if hx.requires_grad else clips)
            total += 2 * into.numel() * rows * (learns + into.requires_grad)
            total += 2 * hidden.numel() * (read * leaves + rows * hidden.requires_grad)
        learns = leaves
    return total


FORMULAS: dict[Any, Callable[..., int]] = {
    functional.linear: _product,
    **dict.fromkeys(
        (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm, torch.bmm, Tensor.bmm), _product
    ),
    **dict.fromkeys((torch.addmm, Tensor.addmm, torch.baddbmm, Tensor.baddbmm), _added_product),
    **dict.fromkeys((functional.conv1d, functional.conv2d), _conv),
    functional.scaled_dot_product_attention: _attention,
    functional.multi_head_attention_forward: _attention_with_projections,
    torch.functional.einsum: _einsum,
    **dict.fromkeys((torch.gru, torch.lstm), _recurrent),
}
# Products that no network here computes: better an error than a figure without them.
UNKNOWN = frozenset({
    functional.conv3d, functional.conv_transpose1d, functional.conv_transpose2d, functional.bilinear,
    torch.functional.tensordot, torch.rnn_tanh, torch.rnn_relu,
})  # fmt: skip
