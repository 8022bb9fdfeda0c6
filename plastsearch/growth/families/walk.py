"""The modules of a network by their logical paths."""

from collections.abc import Iterator

from torch import nn

from plastsearch.growth.paths import ordinary


def walk(module: nn.Module, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, nn.Module]]:
    """Logical paths and modules in the order of registration, grown blocks counted as the module they stand for.

    What stands in several places is found once: its sites are the same neurons.
    """
    seen = set() if seen is None else seen
    for name, child in module.named_children():
        if id(child) in seen:
            continue
        seen.add(id(child))
        path = f"{prefix}{name}"
        yield path, child
        yield from walk(ordinary(child), f"{path}.", seen)
