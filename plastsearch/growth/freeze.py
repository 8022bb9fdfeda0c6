"""What frozen means: no gradient, no drift of BatchNorm statistics, and no library flag that lets autograd past.

Frozen GRUs stay in train mode when the network is: cuDNN refuses to run backward through a GRU in eval mode, which the
layers above the first grown one need; a one-layer GRU computes the same in both modes.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Self

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList

from plastsearch.errors import GrowthError
from plastsearch.growth.paths import is_grown
from plastsearch.growth.site import find_sites, pick


class _Sticky:
    """Makes a layer stay in eval mode whatever train() says, so that its running statistics cannot drift."""

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        return super().train(False)  # type: ignore[misc, no-any-return]

    def __reduce__(self) -> Any:
        return _again, (type(self).__mro__[2],), self.__dict__  # pickle cannot find classes made on the way


@cache
def _frozen(kind: type) -> type:
    """The frozen form of a kind of layer."""
    return type(f"Frozen{kind.__name__}", (_Sticky, kind), {"__doc__": f"A frozen {kind.__name__}."})


def _again(kind: type) -> nn.Module:
    frozen: Any = _frozen(kind)
    made: nn.Module = frozen.__new__(frozen)
    return made


def freeze_base_(module: nn.Module, also: Sequence[str] = ()) -> list[str]:
    """Freezes all but new neurons and the modules named in `also` (the head); returns what still learns."""
    return _only_(module, new_parameters(module), also)


def train_sites_(module: nn.Module, sites: Iterable[str], also: Sequence[str] = ()) -> list[str]:
    """Freezes all but the neurons at some sites, old and new alike, and the modules named in `also`."""
    known = find_sites(module)
    names: set[str] = set()
    for name in sites:
        names.update(f"{slot.module}.{slot.tensor}" for slot in pick(module, known, name).slots)
    logical = logical_names(module)
    return _only_(module, {real for real, name in logical.items() if name in names} | new_parameters(module), also)


def unfreeze_(module: nn.Module) -> None:
    """Lets everything learn again, BatchNorm statistics included."""
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    for part in module.modules():
        if isinstance(part, _Sticky):
            _thaw_(part, module.training)


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn, each once."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def new_parameters(module: nn.Module) -> set[str]:
    """Names of the parameters that grown blocks brought."""
    return {name for name in logical_names(module) if _is_new(module, name)}


def logical_names(module: nn.Module) -> dict[str, str]:
    """Parameter names → the names they would have without grown blocks around them."""
    return {name: ".".join(_steps(module, name)[0]) for name, _ in module.named_parameters()}


def _is_new(module: nn.Module, name: str) -> bool:
    return _steps(module, name)[1]


def _steps(module: nn.Module, name: str) -> tuple[list[str], bool]:
    """The parts of a dotted name without the steps into a base, and whether it ends inside a block but not its base."""
    parts: list[str] = []
    new = False
    found: Any = module
    for part in name.split("."):
        if is_grown(found) and part == "base":
            new = False
        else:
            new = new or is_grown(found)
            parts.append(part)
        found = getattr(found, part)
    return parts, new


def learn_only_(module: nn.Module, names: Iterable[str]) -> list[str]:
    """Freezes all but the parameters of these names; returns them in the order of the network."""
    learning = set(names)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in learning)
        parameter.grad = parameter.grad if name in learning else None
    _norms_(module)
    for part in module.modules():
        if "_requires_grad" in part.__dict__:  # transformers' feature encoders would make their output require grad
            part.__dict__["_requires_grad"] = False
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def _only_(module: nn.Module, names: set[str], also: Sequence[str]) -> list[str]:
    return learn_only_(module, [*names, *learning_under(module, also)])


def learning_under(module: nn.Module, prefixes: Sequence[str]) -> list[str]:
    """Names of the parameters of some modules; a prefix without any is an error."""
    logical = logical_names(module)
    for prefix in prefixes:
        if not any(_under(name, prefix) for name in logical.values()):
            raise GrowthError(f"{type(module).__name__} has no parameters under '{prefix}' that could learn")
    return [name for name in logical if any(_under(logical[name], prefix) for prefix in prefixes)]


def _norms_(module: nn.Module) -> None:
    """Frozen are layers with running statistics none of whose parameters learn; some have no parameters at all.

    Beside every kind of batch and instance norm that is spectral norm, which goes on iterating in train mode; its
    weight is a parameter of the parametrization that holds it.
    """
    held = {id(part): whole for whole in module.modules() if isinstance(whole, ParametrizationList) for part in whole}
    for part in module.modules():
        if not isinstance(part, _NormBase | _SpectralNorm):
            continue
        owner = held.get(id(part), part)
        learns = any(parameter.requires_grad for parameter in owner.parameters(recurse=False))
        if learns and isinstance(part, _Sticky):
            _thaw_(part, module.training)
        elif not learns and not isinstance(part, _Sticky):
            kind: Any = type(part)
            part.__class__ = _frozen(kind)
            part.eval()


def _thaw_(part: Any, training: bool) -> None:
    part.__class__ = type(part).__mro__[2]
    part.train(training)


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
