"""Neurons in, neurons out, on ordinary PyTorch modules. These are the names for use from outside.

They are looked up when asked for, since `growth.rules` must be importable without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors, which cannot follow a lookup by name; no circle hides here
    from plastsearch.growth.checkpoint import load_grown_, save_grown
    from plastsearch.growth.criteria import score
    from plastsearch.growth.dropin import Dropin, add_neurons_
    from plastsearch.growth.folding import fold, fold_
    from plastsearch.growth.freeze import trainable
    from plastsearch.growth.kernels.grow import grow_kernels_
    from plastsearch.growth.prune import choose, remove_neurons_, shrink_
    from plastsearch.growth.site import Site, declare_
    from plastsearch.growth.survey import find_sites

_HOME = {
    "Dropin": "dropin", "Site": "site", "add_neurons_": "dropin", "choose": "prune", "declare_": "site",
    "find_sites": "survey", "fold": "folding", "fold_": "folding", "grow_kernels_": "kernels.grow",
    "load_grown_": "checkpoint", "remove_neurons_": "prune",
    "save_grown": "checkpoint", "score": "criteria", "shrink_": "prune", "trainable": "freeze",
}  # fmt: skip

__all__ = [
    "Dropin",
    "Site",
    "add_neurons_",
    "choose",
    "declare_",
    "find_sites",
    "fold",
    "fold_",
    "grow_kernels_",
    "load_grown_",
    "remove_neurons_",
    "save_grown",
    "score",
    "shrink_",
    "trainable",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"plastsearch.growth has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"plastsearch.growth.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
