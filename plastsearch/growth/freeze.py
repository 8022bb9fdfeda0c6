"""What frozen means: no gradient, no drift of running statistics, and no library flag that lets autograd past.

Before anything is frozen, each module notes what learnt in it; `unfreeze_` goes back to that, so that what the user had
frozen stays so. Frozen GRUs stay in train mode when the network is: cuDNN refuses to run backward through a GRU in eval
mode, which the layers above the first grown one need; a one-layer GRU computes the same in both modes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from plastsearch.errors import GrowthError
from plastsearch.growth.paths import at, is_grown
from plastsearch.growth.site import Site
from plastsearch.growth.survey import find_sites, pick

_BEFORE = "_before_frozen"


@dataclass(frozen=True)
class _Before:
    """What a module was like before anything here was frozen."""

    learns: dict[str, bool]  # its own parameters
    held: bool  # in eval mode though the network was in train mode
    flag: bool | None  # transformers' `_requires_grad`


class _StaysInEvalMode:
    """Makes a layer stay in eval mode whatever train() says, so that its running statistics cannot drift."""

    def train(self, mode: bool = True) -> Self:
        super().train(mode)  # type: ignore[misc]
        self.training = False  # for itself: what it holds may learn
        return self

    def __reduce__(self) -> Any:
        # Pickle cannot find classes made on the way.
        return _again, (type(self).__mro__[2],), self.__getstate__()


# One class for each kind, made once: layers of two classes of one name would not be layers of one kind.
@cache
def _frozen(kind: type) -> type:
    """The frozen form of a kind of layer."""
    return type(f"Frozen{kind.__name__}", (_StaysInEvalMode, kind), {"__doc__": f"A frozen {kind.__name__}."})


def _again(kind: type) -> nn.Module:
    frozen: Any = _frozen(kind)
    made: nn.Module = frozen.__new__(frozen)
    return made


def freeze_base_(module: nn.Module, also: Sequence[str] = ()) -> list[str]:
    """Freezes all but new neurons and the modules named in `also` (the head); returns what still learns."""
    return _freeze_others_(module, new_parameters(module), also)


def train_sites_(module: nn.Module, sites: Iterable[str], also: Sequence[str] = ()) -> list[str]:
    """Freezes all but the neurons at some sites, old and new alike, and the modules named in `also`."""
    known = find_sites(module)
    names: set[str] = set()
    for name in sites:
        names.update(f"{slot.module}.{slot.tensor}" for slot in pick(module, known, name).slots)
    logical = logical_names(module)
    return _freeze_others_(
        module, {real for real, name in logical.items() if name in names} | new_parameters(module), also
    )


def unfreeze_(module: nn.Module) -> None:
    """Lets learn again what was frozen here, running statistics included; what was frozen before stays frozen."""
    training = _in_train_mode(module)
    for part in module.modules():
        before: _Before | None = part.__dict__.pop(_BEFORE, None)
        if isinstance(part, _StaysInEvalMode):
            _thaw_(part, training and not (before and before.held))
        if before is None:
            continue
        for name, parameter in part.named_parameters(recurse=False):
            parameter.requires_grad_(before.learns.get(name, parameter.requires_grad))
        if before.flag is not None:
            part.__dict__["_requires_grad"] = before.flag


def wake_(module: nn.Module, site: Site) -> dict[str, nn.Parameter]:
    """Lets the tensors of a site learn, into which growth has put new neurons; returns those that were frozen."""
    woken: dict[str, nn.Parameter] = {}
    for path in dict.fromkeys(slot.module for slot in site.slots):
        layer = at(module, path)
        names = {slot.tensor for slot in site.slots if slot.module == path} & set(layer._parameters)
        for name in sorted(names):
            if not layer._parameters[name].requires_grad:
                woken[f"{path}.{name}"] = layer._parameters[name].requires_grad_(True)
        before: _Before | None = layer.__dict__.get(_BEFORE)
        if before is not None:
            layer.__dict__[_BEFORE] = replace(before, learns=before.learns | dict.fromkeys(names, True))
        if isinstance(layer, _StaysInEvalMode) and names:
            _thaw_(layer, _in_train_mode(module) and not (before and before.held))
    return woken


def frozen_here(module: nn.Module) -> bool:
    """Whether anything in a network stands frozen by this package, whatever else was frozen before."""
    return any(_BEFORE in part.__dict__ for part in module.modules())


def held_back(module: nn.Module) -> list[str]:
    """Names of the parameters that were frozen before anything was frozen here, and will be after `unfreeze_`."""
    found = []
    for path, part in module.named_modules():
        own = {name: parameter.requires_grad for name, parameter in part.named_parameters(recurse=False)}
        before: _Before | None = part.__dict__.get(_BEFORE)
        learns = own | before.learns if before else own
        found += [f"{path}.{name}".lstrip(".") for name in own if not learns[name]]
    return found


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
    training = _in_train_mode(module)
    for part in module.modules():
        _note_before(part, training)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in learning)
        parameter.grad = parameter.grad if name in learning else None
    _freeze_statistics_(module, training)
    for part in module.modules():
        if "_requires_grad" in part.__dict__:  # transformers' feature encoders would make their output require grad
            part.__dict__["_requires_grad"] = False
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def _note_before(part: nn.Module, training: bool) -> None:
    """Notes what learns in a module, unless that was noted already."""
    own = {name: parameter.requires_grad for name, parameter in part.named_parameters(recurse=False)}
    before: _Before | None = part.__dict__.get(_BEFORE)
    if before is None:
        before = _Before({}, training and not part.training, part.__dict__.get("_requires_grad"))
    part.__dict__[_BEFORE] = replace(before, learns=own | before.learns)


def _freeze_others_(module: nn.Module, names: set[str], also: Sequence[str]) -> list[str]:
    return learn_only_(module, [*names, *learning_under(module, also)])


def learning_under(module: nn.Module, prefixes: Sequence[str]) -> list[str]:
    """Names of the parameters of some modules; a prefix without any is an error."""
    logical = logical_names(module)
    for prefix in prefixes:
        if not any(_under(name, prefix) for name in logical.values()):
            raise GrowthError(f"{type(module).__name__} has no parameters under '{prefix}' that could learn")
    return [name for name in logical if any(_under(logical[name], prefix) for prefix in prefixes)]


def _freeze_statistics_(module: nn.Module, training: bool) -> None:
    """Keeps in eval mode what holds running statistics and none of whose parameters learn; some have no parameters.

    Any saved buffer counts, since any may move in train mode: those of batch and instance norms of every make, and of
    spectral norm, which goes on iterating, as a hook of the layer or as a parametrization (its weight is then a
    parameter of the list that holds it). Buffers that are not saved are constants such as windows and position tables.
    """
    holders = {
        id(part): whole for whole in module.modules() if isinstance(whole, ParametrizationList) for part in whole
    }
    for part in module.modules():
        if not any(name not in part._non_persistent_buffers_set for name, _ in part.named_buffers(recurse=False)):
            continue
        owner = holders.get(id(part), part)
        learns = any(parameter.requires_grad for parameter in owner.parameters(recurse=False))
        if learns and isinstance(part, _StaysInEvalMode):
            _thaw_(part, training and not part.__dict__[_BEFORE].held)
        elif not learns and not isinstance(part, _StaysInEvalMode):
            kind: Any = type(part)
            part.__class__ = _frozen(kind)
            part.training = False


def _in_train_mode(module: nn.Module) -> bool:
    """The mode of a network, which its own flag does not tell if it holds running statistics itself."""
    return any(part.training for part in ([module] if not isinstance(module, _StaysInEvalMode) else module.modules()))


def _thaw_(part: nn.Module | _StaysInEvalMode, training: bool) -> None:
    stuck: Any = part  # a class cannot be assigned to, as far as types go
    stuck.__class__ = type(part).__mro__[2]
    part.training = training


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
