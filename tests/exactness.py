"""What "the same" means in a test, so that it holds on every processor; the README says it for users.

The last bits of a matrix product may depend on where its operands lie in memory, even within one process. So bits are
compared where no such product lies between: tensors that are kept, moved or left alone, steps on the same gradients,
and what a new branch adds within one forward pass. Two forward passes are compared to rounding.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

EXACT = 1e-12  # float64, absolute and relative
ULPS = 64  # float32: units in the last place of the largest value that is compared

# Networks of tests/growth/conftest.py, one for each family whose laws are the same.
FAMILIES = (
    "resnet", "gru", "bigru", "lstm", "bilstm", "rawnet", "lcnn", "ecapa", "wav2vec2", "wav2vec2_pre_norm", "hubert",
    "wavlm",
)  # fmt: skip

# What each grown block adds to its base, and what it calls it; recurrent layers run as one, and add no tensor.
ADDED = {
    "Fork": "branch", "GrownHeads": "extra.out_proj", "GrownReader": "new", "Stacked": "branch",
    "ParallelRecurrent": "leave",
}  # fmt: skip


def close(found: Tensor, expected: Tensor, *, ulps: float = ULPS) -> None:
    """Equal to rounding: to 1e-12 in float64, else to some units in the last place of the largest value."""
    if expected.dtype == torch.float64 or not expected.is_floating_point():
        torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)
        return
    largest = float(expected.detach().abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0, atol=ulps * torch.finfo(expected.dtype).eps * largest)


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Two sets of tensors with the same names in the same order, and the same bits."""
    assert list(first) == list(second)
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


@contextmanager
def adding_nothing(net: nn.Module) -> Iterator[None]:
    """Within: what each grown block or adapter gives is, bit for bit, what its base gave in the same pass.

    What is added is exactly zero, too: a small number would be lost in the sum.
    """
    handles, seen = [], set()
    for path, block in net.named_modules():
        base = getattr(block, "base" if getattr(block, "wraps_base", False) else "base_layer", None)
        if isinstance(base, nn.Module):
            handles += _compare(path, base, block, seen)
        adapters = getattr(block, "lora_B", {}).values()
        assert not any(part.weight.any() for part in adapters), path  # some are folded into weights, never called
        added = ADDED.get(type(block).__name__)
        for part in [block.get_submodule(added)] if added else adapters:
            handles.append(part.register_forward_hook(_is_zero(path, seen)))
    assert handles, "there is no grown block and no adapter to look at"
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    assert seen, "no grown block and no adapter ran"


def _compare(path: str, base: nn.Module, block: nn.Module, seen: set[str]) -> list[Any]:
    given: list[Tensor] = []

    def keep(module: Any, _: Any, out: Any) -> None:
        if module is base:  # new heads are a copy of the base and share its hooks
            given.append(_first(out).clone())

    def look(_: Any, __: Any, out: Any) -> None:
        if not given:  # a recurrent base may run as part of a chain, without a call of its own
            return
        seen.add(path)
        expected, found = given.pop(), _first(out)
        gates = getattr(block, "gates", 1)
        if found.shape != expected.shape:  # new dimensions at the end of each gate
            expected, found = (part.unflatten(-1, (gates, -1)) for part in (expected, found))
            found = found[..., : expected.shape[-1]]
        assert torch.equal(found, expected), f"{path} changes what its base gives"

    return [base.register_forward_hook(keep), block.register_forward_hook(look)]


def _is_zero(path: str, seen: set[str]) -> Callable[..., None]:
    def look(_: Any, __: Any, out: Any) -> None:
        seen.add(path)
        assert not _first(out).any(), f"{path} adds something"

    return look


def _first(out: Any) -> Tensor:
    tensor = out.data if isinstance(out, nn.utils.rnn.PackedSequence) else out[0] if isinstance(out, tuple) else out
    return tensor


def train_alike_(
    pairs: list[tuple[nn.Module, torch.optim.Optimizer]], loss: Callable[[nn.Module], Tensor], steps: int = 2
) -> None:
    """Steps of two equal networks: their gradients agree to rounding, and on those of the first one both step."""
    (first, _), (second, _) = pairs
    for _ in range(steps):
        for net, optimizer in pairs:
            optimizer.zero_grad()
            loss(net).backward()
        others = dict(second.named_parameters())
        for name, parameter in first.named_parameters():
            mine, theirs = parameter.grad, others[name].grad
            assert (mine is None) == (theirs is None), name
            if mine is not None:
                close(theirs, mine)
                theirs.copy_(mine)
        for _, optimizer in pairs:
            optimizer.step()
