"""Adds neurons to a network without changing what it computes.

Use, from a trained network to one of its original size again:

    sites = find_sites(net)                                   # name → Site; `step` is the unit of `neurons`
    dropin = add_neurons_(net, {"encoder.3.ffn": 64}, mode="frozen", also=["head"], generator=g)
    optimizer = AdamW(trainable(net))                         # freeze.trainable; then train
    net = fold_(net, x)                                       # fold.fold_: frozen blocks → ordinary, wider modules
    gone = choose(scores, dropin.units["encoder.3.ffn"], "all", dropin.units["encoder.3.ffn"])
    remove_neurons_(net, {"encoder.3.ffn": gone})             # prune; unfrozen: `optimizer=` makes its state follow

`mode="frozen"` puts grown blocks beside the base and freezes the rest (freeze.freeze_base_); `mode="unfrozen"` makes
the network's own tensors larger: those learn, and everything else goes on as before. A request that cannot be met
changes nothing. checkpoint.save_grown and load_grown_ keep both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, TypeVar

from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from plastsearch.errors import GrowthError
from plastsearch.growth.attach import attach_
from plastsearch.growth.blocks import GrownHeads, GrownProjection
from plastsearch.growth.folding import fold_
from plastsearch.growth.freeze import freeze_base_, learning_under, new_parameters, wake_
from plastsearch.growth.initialise import INITS, Init, check_gradmax, draw, gradmax, split_units
from plastsearch.growth.kernels.rings import GrownKernel
from plastsearch.growth.optimizer import add_group_, refuse_state
from plastsearch.growth.paths import at
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.resize import Values, all_or_nothing, parameters_of, widen_
from plastsearch.growth.rules import growth_refused
from plastsearch.growth.site import Site, blocks_at
from plastsearch.growth.survey import find_sites, pick, refuse_shared

Answer = TypeVar("Answer")
Mode = Literal["frozen", "unfrozen"]
Operator = Literal["widen", "parallel", "stack"]
Lateral = Literal["into_new", "both"]
_KNOWN: dict[str, tuple[str, ...]] = {
    "mode": ("frozen", "unfrozen"),
    "operator": ("widen", "parallel", "stack"),
    "lateral": ("into_new", "both"),
    "init": INITS,
}


@dataclass(frozen=True)
class Dropin:
    """What one call added: at each site the new units are the last ones, after fold too."""

    mode: Mode
    operator: Operator
    init: Init
    lateral: Lateral
    first: dict[str, int]  # site → index of its first new unit
    units: dict[str, int]  # site → new units (heads, dims per head, channels, …)
    neurons: dict[str, int]  # site → new neurons
    parameters: tuple[str, ...]  # parameters that did not exist before (frozen, parallel, stack)

    def new_units(self, site: str) -> range:
        """Indices of the units that a site gained; none where a whole layer was stacked on it."""
        count = 0 if self.operator == "stack" else self.units[site]
        return range(self.first[site], self.first[site] + count)

    def undo_(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Takes out what this call added: a frozen base is bit for bit what it was, others keep what they learnt."""
        if self.mode == "frozen" or self.operator != "widen":
            fold_(module, verify=False)  # what folding adds goes at once
        remove_neurons_(module, {name: self.new_units(name) for name in self.units}, optimizer)

    def added(self) -> "AddedUnits":
        """What `checkpoint` builds the same shapes from again."""
        return AddedUnits(self.mode, self.operator, self.lateral, dict(self.units))


@dataclass(frozen=True)
class AddedUnits:
    """What a network keeps of each dropin whose blocks it holds."""

    mode: Mode
    operator: Operator | Literal["ring"]
    lateral: Lateral
    units: Mapping[str, int]  # of a ring: taps


def add_neurons_(
    module: nn.Module,
    neurons: Mapping[str, int],
    *,
    mode: Mode = "frozen",
    operator: Operator = "widen",
    init: Init = "random",
    lateral: Lateral = "into_new",
    generator: Generator | None = None,
    optimizer: Optimizer | None = None,
    loss: Callable[[], Tensor] | None = None,
    also: Sequence[str] = (),
) -> Dropin:
    """Adds neurons at sites, earliest first; `also` names what learns beside them if frozen, `loss` is for gradmax."""
    for key, value in (("mode", mode), ("operator", operator), ("lateral", lateral), ("init", init)):
        if value not in _KNOWN[key]:
            raise GrowthError(f"unknown {key} '{value}'; known: {', '.join(_KNOWN[key])}")
    if not neurons:
        raise GrowthError("no site was named to grow; to freeze a network without growth, call freeze.freeze_base_")
    sites = find_sites(module)
    # From here to `all_or_nothing` all is refused that can be, before the first tensor changes.
    units = _all_of(neurons, lambda name: _units(module, sites, name, neurons[name]))
    names = [name for name in sites if name in units]
    separate = mode == "frozen" or operator != "widen"
    _all_of(names, lambda name: _check(module, sites[name], units, mode, operator, init, loss))
    also = (also,) if isinstance(also, str) else also
    learning_under(module, also)
    if optimizer is not None and not separate:
        refuse_state(optimizer, [tensor for name in names for tensor in parameters_of(module, sites[name])])
    # One backward pass for all sites, through the network as it is: after the first site grew it would be another one.
    steered = gradmax(module, [sites[name] for name in names], units, loss, generator) if init == "gradmax" else {}
    known = {id(parameter) for parameter in module.parameters()}
    before = new_parameters(module)
    added: dict[str, int] = {}  # neurons: wider heads count in the heads that this same call adds, too
    with all_or_nothing(module, optimizer, generator):
        for name in names:
            site = find_sites(module)[name]  # as the sites before it have left it
            added[name] = units[name] * site.step
            if separate:
                values = steered.get(name) or draw(module, site, units[name], init, generator)
                attach_(module, site, units[name], values, operator, both=lateral == "both", generator=generator)
            else:
                _enlarge_(module, site, units[name], init, steered.get(name), optimizer, generator)
        first = {name: sites[name].units for name in names}
        new = tuple(sorted(new_parameters(module) - before))
        dropin = Dropin(mode, operator, init, lateral, first, units, added, new)
        if separate:
            module.__dict__.setdefault("_dropins", []).append(dropin.added())
        if mode == "frozen":
            freeze_base_(module, also)
        if optimizer is not None and separate:
            fresh = {name: one for name, one in module.named_parameters() if id(one) not in known}
            add_group_(optimizer, fresh)
    return dropin


def _all_of(names: Iterable[str], ask: Callable[[str], Answer]) -> dict[str, Answer]:
    """The answer for each site, or one error with what is wrong at all of them."""
    found: dict[str, Answer] = {}
    wrong: list[str] = []
    for name in names:
        try:
            found[name] = ask(name)
        except GrowthError as error:
            wrong.append(str(error))
    if wrong:
        raise GrowthError("\n".join(dict.fromkeys(wrong)))
    return found


def _enlarge_(
    module: nn.Module,
    site: Site,
    count: int,
    init: Init,
    values: Values | None,
    optimizer: Optimizer | None,
    generator: Generator | None,
) -> None:
    if init == "net2net":
        copies, share = split_units(module, site, count, generator)
        widen_(module, site, copies, optimizer)
        share()
    else:
        widen_(module, site, values or draw(module, site, count, init, generator), optimizer)
    woken = wake_(module, site)
    if optimizer is not None:
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        add_group_(optimizer, {name: parameter for name, parameter in woken.items() if id(parameter) not in held})


def _units(module: nn.Module, sites: Mapping[str, Site], name: str, neurons: int) -> int:
    """Neurons as units of their site, or an error that says what would fit."""
    site = pick(module, sites, name)
    if isinstance(neurons, bool) or not isinstance(neurons, Integral) or neurons <= 0:
        raise GrowthError(f"site '{name}' cannot grow by {neurons!r}: give a whole number above 0 or leave it out")
    if neurons % site.step:
        low = neurons - neurons % site.step
        near = f"{low} or {low + site.step}" if low else f"{site.step}"
        what = "head width" if site.kind == "attention" else "number of heads"
        raise GrowthError(
            f"site '{name}' cannot grow by {neurons}: neurons come in multiples of {site.step}, its {what}; try {near}"
        )
    return int(neurons) // site.step


def _check(
    module: nn.Module,
    site: Site,
    units: Mapping[str, int],
    mode: Mode,
    operator: Operator,
    init: Init,
    loss: Callable[[], Tensor] | None,
) -> None:
    """Refuses what cannot be done at a site, with the reason and a way out, before anything has changed."""
    reason = growth_refused(
        site.name, site.kind, units[site.name], mode=mode, operator=operator, init=init, together=units
    )
    if reason:
        raise GrowthError(reason)
    refuse_shared(module, site)
    if init == "gradmax":
        check_gradmax(module, site, units[site.name], loss)
    separate = mode == "frozen" or operator != "widen"
    act = at(module, site.parts["act"]) if "act" in site.parts else None
    weights = [weight.numel() for weight in act.parameters()] if isinstance(act, nn.Module) else []
    if weights and (separate or max(weights) > 1):
        what = f"its activation {type(act).__name__} has weights of its own"
        raise GrowthError(f"site '{site.name}': {what}, which would have to grow too; put one without weights there")
    if operator == "stack":
        if not {"layer", "recurrent"} & set(site.parts):
            why = "its layer was not declared (`layer=`)"
            raise GrowthError(f"site '{site.name}': nothing to stack, since {why}; stack on an attention or ffn site")
        return
    blocked = blocks_at(module, site)
    if any(isinstance(block, GrownKernel) for block in blocked):
        raise GrowthError(
            f"site '{site.name}' carries a ring around its kernel; fold the network before it grows wider"
        )
    if not separate and blocked:
        raise GrowthError(
            f"site '{site.name}' carries grown blocks of the frozen regime; fold the network before it grows unfrozen"
        )
    if site.kind == "hidden" and not all(hasattr(block, "extend") or hasattr(block, "gates") for block in blocked):
        raise GrowthError(f"site '{site.name}' or its reader has a branch beside it or a layer on top; it cannot grow")
    other = {"attention": GrownProjection, "head_width": GrownHeads}.get(site.kind)
    if separate and other and any(isinstance(block, other) for block in blocked):
        raise GrowthError(f"site '{site.name}': heads and head width of one layer cannot both carry blocks; fold first")
