"""Dotted paths through a network: to ordinary modules, seen through the grown blocks that may stand around them."""

from typing import Any, Protocol, TypeGuard

from torch import nn

from plastsearch.errors import GrowthError


class Grown(Protocol):
    """A grown block: the module it stands around, and the units that it adds there."""

    base: Any  # a layer of the network, or one more block
    new_units: int


def at(root: nn.Module, path: str) -> Any:
    """The ordinary module at a dotted path, seen through any grown blocks on the way."""
    found: Any = root
    for part in path.split(".") if path else ():
        while is_grown(found) and not hasattr(found, part):
            found = found.base
        if not hasattr(found, part):
            raise GrowthError(f"{type(root).__name__} has no module '{path}' (nothing called '{part}')")
        found = getattr(found, part)
    return ordinary(found)


def outer(root: nn.Module, path: str) -> Any:
    """What sits at a dotted path now: the outermost grown block, or the ordinary module itself."""
    parent, name = holder(root, path)
    return getattr(parent, name)


def holder(root: nn.Module, path: str) -> tuple[Any, str]:
    """The module that holds the one at `path`, and the name it holds it by."""
    head, _, name = path.rpartition(".")
    return at(root, head), name


def is_grown(module: object) -> TypeGuard[Grown]:
    """Whether a module is a grown block around a base."""
    return getattr(type(module), "wraps_base", False)


def ordinary(module: nn.Module) -> Any:
    """The network's own module: what all the grown blocks around it stand for."""
    found: Any = module
    while is_grown(found):
        found = found.base
    return found


def grown(root: nn.Module, path: str) -> int:
    """Units that grown blocks have added around the module at a path."""
    return sum(block.new_units for block in chain(outer(root, path)))


def chain(module: nn.Module) -> list[Any]:
    """The grown blocks around a base, outermost first; none around an ordinary module."""
    found: list[Any] = []
    inner: Any = module
    while is_grown(inner):
        found.append(inner)
        inner = inner.base
    return found
