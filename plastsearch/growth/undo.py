"""All or nothing: a network and its optimiser are as they were if a change of theirs fails half way.

Requests are refused before anything is touched; this is for what nobody foresees, such as memory that runs out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


@contextmanager
def all_or_nothing(
    module: nn.Module, optimizer: Optimizer | None = None, generator: torch.Generator | None = None
) -> Iterator[None]:
    """Undoes what happens within if it raises; tensors within may be replaced, but not written into."""
    back: list[Callable[[], Any]] = [
        step for part in module.modules() for step in (_class_of(part), _contents(part.__dict__))
    ]
    back += [_parameter(parameter) for parameter in module.parameters()]
    if optimizer is not None:
        back.append(_contents(optimizer.__dict__))
        back += [_contents(group) for group in optimizer.param_groups]
        back += [_contents(state) for state in optimizer.state.values() if isinstance(state, dict)]
    source = generator or torch.default_generator
    back.append(partial(source.set_state, source.get_state()))
    try:
        yield
    except BaseException:
        for undo in back:
            undo()
        raise


def _class_of(part: nn.Module) -> Callable[[], None]:
    kind = type(part)

    def undo() -> None:
        if type(part) is not kind:
            part.__class__ = kind

    return undo


def _contents(table: dict[Any, Any]) -> Callable[[], None]:
    """Puts back a table and the containers in it; the same objects, since handles of hooks point at them."""
    kept = dict(table)
    inside = [(held, list(held.items())) for held in table.values() if isinstance(held, dict)]
    listed = [(held, list(held)) for held in table.values() if isinstance(held, list)]

    def undo() -> None:
        table.clear()
        table.update(kept)
        for held, items in inside:
            held.clear()
            held.update(items)
        for row, entries in listed:
            row[:] = entries

    return undo


def _parameter(parameter: nn.Parameter) -> Callable[[], None]:
    data, learns, gradient = parameter.data, parameter.requires_grad, parameter.grad

    def undo() -> None:
        parameter.data = data
        parameter.requires_grad_(learns)
        parameter.grad = gradient

    return undo
