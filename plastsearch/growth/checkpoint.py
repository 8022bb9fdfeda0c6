"""Keeps a network of changed widths: its plan as JSON, its tensors as safetensors; widths come back before weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.files import whole_file
from plastsearch.growth.attach import attach_
from plastsearch.growth.blocks import outermost
from plastsearch.growth.dropin import AddedUnits
from plastsearch.growth.freeze import frozen_here, held_back, learn_only_
from plastsearch.growth.initialise import draw
from plastsearch.growth.kernels.grow import RING, attach_rings_, rings_wanted, set_kernels_
from plastsearch.growth.kernels.rings import Kernel, kernels_of
from plastsearch.growth.resize import all_or_nothing, narrow_, widen_
from plastsearch.growth.site import Site, plain_units
from plastsearch.growth.survey import find_sites

_PLAN = "growth.json"
_TENSORS = "model.safetensors"
_FORMAT = 2


@dataclass(frozen=True)
class GrowthPlan:
    """What turns an untouched network of the same kind into another one's shapes, and what learns in it."""

    network: str
    widths: Mapping[str, int]  # site → units of the ordinary modules
    dropins: tuple[AddedUnits, ...]
    held: tuple[str, ...]  # parameters frozen by the user, and so after `unfreeze_` too
    learning: tuple[str, ...] | None  # parameters; None where nothing was frozen here
    kernels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # of sites' convolutions, by path

    def to_json(self) -> str:
        """The content of a plan's file."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "GrowthPlan":
        """The plan in a file; one of another format is refused."""
        given = json.loads(text)
        kind = given.pop("format", None) if isinstance(given, dict) else None
        if kind != _FORMAT:
            raise GrowthError(f"growth plan of format {kind!r}; this version reads format {_FORMAT}")
        try:
            return TypeAdapter(cls).validate_json(json.dumps(given), strict=True)
        except ValidationError as error:  # a plan may come from anybody
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise GrowthError(f"growth plan: {where}: {first['msg']}") from None


def plan_of(module: nn.Module) -> GrowthPlan:
    """The plan of a network that was changed here."""
    dropins = module.__dict__.get("_dropins", [])
    if outermost(module) and not dropins:
        raise GrowthError("the network holds grown blocks but no record of them; save the module that was grown")
    learning = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    sites = find_sites(module)
    kernels: dict[str, Kernel] = {}
    for site in sites.values():
        kernels |= kernels_of(module, site)
    return GrowthPlan(
        network=type(module).__name__,
        widths={name: plain_units(module, site) for name, site in sites.items()},
        dropins=tuple(dropins),
        held=tuple(held_back(module)),
        learning=tuple(learning) if frozen_here(module) else None,
        kernels=kernels,
    )


def reshape_(module: nn.Module, plan: GrowthPlan) -> None:
    """Gives an untouched network the shapes of a plan; its new weights are to be loaded next."""
    _refuse_grown(module)
    _check(module, plan)
    with all_or_nothing(module):
        _reshape_(module, plan)


def _refuse_grown(module: nn.Module) -> None:
    if outermost(module):
        raise GrowthError("the network already holds grown blocks; a plan applies to an untouched network of its kind")


def _reshape_(module: nn.Module, plan: GrowthPlan) -> None:
    for name, units in plan.widths.items():
        _set_units_(module, find_sites(module)[name], units)
    set_kernels_(module, plan.kernels)
    for dropin in plan.dropins:
        if dropin.operator == RING:
            attach_rings_(module, rings_wanted(module, dropin.units)[1])
            module.__dict__.setdefault("_dropins", []).append(dropin)
            continue
        for name in (name for name in find_sites(module) if name in dropin.units):
            site = find_sites(module)[name]  # anew each time: blocks at one site change what another one is made of
            count = dropin.units[name]
            values = draw(module, site, count, "random", _own_generator())
            attach_(
                module,
                site,
                count,
                values,
                dropin.operator,
                both=dropin.lateral == "both",
                generator=_own_generator(),
            )
        module.__dict__.setdefault("_dropins", []).append(dropin)
    for name in plan.held:
        module.get_parameter(name).requires_grad_(False)
    if plan.learning is not None:
        learn_only_(module, plan.learning)


def save_grown(module: nn.Module, folder: Path) -> None:
    """Writes plan and tensors into a folder, each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    with whole_file(folder / _TENSORS) as draft:
        save_file(tensors, draft)
    text = plan_of(module).to_json()
    with whole_file(folder / _PLAN) as draft:
        draft.write_text(text, encoding="utf-8")


def load_grown_(module: nn.Module, folder: Path) -> None:
    """Turns an untouched network into the saved one, bit for bit; refuses a network of another kind."""
    text = (folder / _PLAN).read_text(encoding="utf-8")
    _refuse_grown(module)
    reshape_(module, GrowthPlan.from_json(text))
    load_tensors_(module, load_file(folder / _TENSORS))


def load_tensors_(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """load_state_dict(strict=True) with one message that names the first differences."""
    own = module.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in tensors]
    wrong += [f"{name} is unknown here" for name in tensors if name not in own]
    shapes = {name: (tuple(own[name].shape), tuple(tensor.shape)) for name, tensor in tensors.items() if name in own}
    wrong += [f"{name} has shape {given}, not {here}" for name, (here, given) in shapes.items() if here != given]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise GrowthError(f"the saved tensors do not fit {type(module).__name__}: {'; '.join(wrong[:3])}{more}")
    module.load_state_dict(tensors)


def _set_units_(module: nn.Module, site: Site, units: int) -> None:
    if units > site.units:
        widen_(module, site, draw(module, site, units - site.units, "random", _own_generator()))
    elif units < site.units:
        narrow_(module, site, torch.arange(units))


def _own_generator() -> torch.Generator:
    """Values that are about to be overwritten must not use up the global random state."""
    return torch.Generator().manual_seed(0)


def _check(module: nn.Module, plan: GrowthPlan) -> None:
    sites = find_sites(module)
    lacking = [name for name in plan.widths if name not in sites]
    extra = [name for name in sites if name not in plan.widths]
    if lacking or extra:
        what = f"has no site '{lacking[0]}'" if lacking else f"has a site '{extra[0]}' that the plan does not know"
        raise GrowthError(f"the plan is of a {plan.network} of other layers: {type(module).__name__} {what}")
