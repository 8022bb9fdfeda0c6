"""Dotted paths through a network: to ordinary modules, seen through the grown blocks that may stand around them."""

from typing import Any

from torch import nn

from plastsearch.errors import GrowthError


def at(root: nn.Module, path: str) -> Any:
    """The ordinary module at a dotted path, seen through any grown blocks on the way."""
    found: Any = root
    for part in path.split(".") if path else ():
        while is_grown(found) and not hasattr(found, part):
            found = found.base
        if not hasattr(found, part):
            raise GrowthError(f"{type(root).__name__} has no module '{path}' (nothing called '{part}')")
        found = getattr(found, part)
    while is_grown(found):
        found = found.base
    return found


def outer(root: nn.Module, path: str) -> Any:
    """What sits at a dotted path now: the outermost grown block, or the ordinary module itself."""
    parent, name = holder(root, path)
    return getattr(parent, name)


def holder(root: nn.Module, path: str) -> tuple[Any, str]:
    """The module that holds the one at `path`, and the name it holds it by."""
    head, _, name = path.rpartition(".")
    return at(root, head), name


def is_grown(module: Any) -> bool:
    """Whether a module is a grown block around a base."""
    return getattr(type(module), "wraps_base", False)


def grown(root: nn.Module, path: str) -> int:
    """Units that grown blocks have added around the module at a path."""
    found, total = outer(root, path), 0
    while is_grown(found):
        total += found.new_units
        found = found.base
    return total


def chain(block: Any) -> list[Any]:
    """The grown blocks around a base, outermost first."""
    found = []
    while is_grown(block):
        found.append(block)
        block = block.base
    return found
