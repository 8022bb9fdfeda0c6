"""Weights that a network uses in more than one place: a width cannot change in one of them alone."""

from torch import nn

from plastsearch.errors import GrowthError
from plastsearch.growth.paths import at
from plastsearch.growth.site import Site


def refuse_shared(root: nn.Module, site: Site) -> None:
    """An error if a layer of the site, or a weight of one, also stands elsewhere; whole blocks may be used again."""
    paths = dict.fromkeys([*(slot.module for slot in site.slots), *site.parts.get("attention", "").split()])
    layers = {id(at(root, path)): path for path in paths}
    weights = {id(p): path for path in paths for p in at(root, path).parameters(recurse=False)}
    for where, module in root.named_modules():
        for tensor in module._parameters.values():
            if id(tensor) in weights and id(module) not in layers:
                _refuse(site, f"a weight of {weights[id(tensor)]} is also one of {where}")
    homes: dict[int, str] = {}
    for where, parent in root.named_modules():
        for name, child in parent._modules.items():
            here = f"{where}.{name}".lstrip(".")
            if id(child) in layers and homes.setdefault(id(child), here) != here:
                _refuse(site, f"{homes[id(child)]} is also {here}")
    if len(weights) < sum(1 for path in paths for _ in at(root, path).parameters(recurse=False)):
        _refuse(site, "two of its own layers share a weight")


def _refuse(site: Site, what: str) -> None:
    raise GrowthError(
        f"site '{site.name}' cannot change its width: {what}, which would have to change too; "
        "give each place weights of its own, or share whole blocks"
    )
