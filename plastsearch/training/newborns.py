"""Newborn units in a network: which entries of which parameters are theirs, and what they are to it while it trains.

New units may act in the forward pass and hardly learn in the backward one. How far that is so is measured on a folded
view of the network, in which both regimes look alike: the gradient each unit gets or, frozen, would get, and what it
adds to the layers that read it. The view shares all tensors but those that fold; nothing of the network moves.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from plastsearch.errors import GrowthError
from plastsearch.growth.blocks import outermost
from plastsearch.growth.collect import eval_mode
from plastsearch.growth.folding import fold_
from plastsearch.growth.freeze import new_parameters
from plastsearch.growth.gauge import Gauge, by_unit
from plastsearch.growth.halving import Halving
from plastsearch.growth.paths import at
from plastsearch.growth.recurrent.cells import data_of
from plastsearch.growth.resize import entries
from plastsearch.growth.site import Site, Slot
from plastsearch.growth.survey import find_sites

EXACT = 2**24 - 1  # whole numbers up to here are exact in float32
Moments = dict[tuple[str, Slot], tuple[float, float]]  # mean gradient and mean squared gradient of a slot's incumbents


@dataclass(frozen=True)
class Born:
    """What newborn units of a site have in one parameter, through one slot of the site."""

    site: str
    slot: Slot
    parameter: str  # its name in the network as it stands
    place: tuple[Tensor, ...]  # indices of the entries
    unit: Tensor  # to which newborn of the site each belongs, from 0


@dataclass(frozen=True)
class Standing:
    """What the newborns of one site are to it: 1 and their share of the units are what incumbents would be."""

    gradient: float | None  # root mean square gradient of a newborn over that of an incumbent; None: those have none
    share: float  # of the squared output that the layers behind it get from the site
    units: float  # their share of the site's units


@dataclass(frozen=True)
class Probe:
    """A few training clips, as far up the network as nothing moves, and how they go on from there."""

    inputs: Tensor
    labels: Tensor
    logits: Callable[[nn.Module, Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]  # mean over the clips

    def some(self, rows: slice) -> "Probe":
        """Some of the clips."""
        return replace(self, inputs=self.inputs[rows], labels=self.labels[rows])


@contextmanager
def folded_view(module: nn.Module, instead: Mapping[int, nn.Parameter] | None = None) -> Iterator[nn.Module]:
    """The network folded, on the same tensors; `instead`: other ones in their place, by `id`."""
    if not outermost(module):
        yield module
        return
    learns = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    try:
        yield fold_(copy.deepcopy(module, memo | dict(instead or {})), verify=False)
    finally:
        # Folding lets the base learn again, and the base's tensors are the network's own.
        for parameter, flag in learns:
            parameter.requires_grad_(flag)


def newborn_entries(module: nn.Module, added: Mapping[str, int]) -> list[Born]:
    """Where the last `added` units of each site stand, in a network that grew in either regime."""
    new = new_parameters(module)
    if not new:
        sites = find_sites(module)
        return [born for name in added for born in _enlarged(module, sites[name], added[name])]
    named = {name: parameter for name, parameter in module.named_parameters() if name in new}
    return [born for some in _portions(named) for born in _blocks(module, added, named, some)]


def _enlarged(module: nn.Module, site: Site, count: int) -> Iterator[Born]:
    """Newborns among the entries of the network's own tensors."""
    for slot in site.slots:
        parameter = getattr(at(module, slot.module), slot.tensor)
        if isinstance(parameter, nn.Parameter):
            numbers = torch.arange(parameter.numel(), device=parameter.device).view_as(parameter)
            own = by_unit(numbers, slot, site.units)[site.units - count :]
            yield _born(site.name, slot, f"{slot.module}.{slot.tensor}", parameter, own)


def _born(site: str, slot: Slot, name: str, parameter: Tensor, own: Tensor) -> Born:
    """Flat indices by unit, [units, entries], as a place in a parameter; -1: belongs to none."""
    unit = torch.arange(len(own), device=own.device)[:, None].expand_as(own)
    there = own >= 0
    place = torch.unravel_index(own[there].long(), parameter.shape)
    return Born(site, slot, name, tuple(place), unit[there])


def _portions(named: Mapping[str, nn.Parameter]) -> Iterator[list[str]]:
    """Names of parameters whose entries can be counted exactly in float32."""
    some: list[str] = []
    total = 0
    for name, parameter in named.items():
        if parameter.numel() > EXACT:
            raise GrowthError(f"{name} has {parameter.numel():,} entries; newborns' are told apart up to {EXACT:,}")
        if total + parameter.numel() > EXACT:
            yield some
            some, total = [], 0
        some.append(name)
        total += parameter.numel()
    yield some


def _blocks(
    module: nn.Module, added: Mapping[str, int], named: Mapping[str, nn.Parameter], some: Sequence[str]
) -> Iterator[Born]:
    """Newborns in blocks of their own: numbered entry by entry, folded, and found by their numbers."""
    instead: dict[int, nn.Parameter] = {}
    starts: dict[str, int] = {}
    count = 1  # 0: of another portion, or put there by folding
    for name, parameter in named.items():
        numbers = torch.zeros_like(parameter, dtype=torch.float32)
        if name in some:
            starts[name] = count
            numbers = torch.arange(count, count + parameter.numel(), device=parameter.device).view_as(parameter)
            count += parameter.numel()
        instead[id(parameter)] = nn.Parameter(numbers.float())
    with folded_view(module, instead) as view:
        sites = find_sites(view)
        for name, units in added.items():
            site = sites[name]
            for slot in site.slots:
                tensor = getattr(at(view, slot.module), slot.tensor)
                if isinstance(tensor, nn.Parameter):
                    numbers = by_unit(tensor.detach(), slot, site.units)[site.units - units :].long()
                    for one, start in starts.items():
                        own = numbers - start
                        own = torch.where((own >= 0) & (own < named[one].numel()), own, -1)
                        if bool((own >= 0).any()):
                            yield _born(name, slot, one, named[one], own)


def standing(module: nn.Module, added: Mapping[str, int], probe: Probe, halving: Halving) -> dict[str, Standing]:
    """How newborns stand at each site with the last `added` units, on the probe's clips in eval mode."""
    with folded_view(module) as view:
        sites = [site for name, site in find_sites(view).items() if added.get(name)]

        def attempt(parts: int) -> dict[str, Standing]:
            with _watched(view, sites, added) as outputs:
                gradients = _gradients(view, sites, _pieces(probe, parts))
            return {site.name: _standing(site, added[site.name], gradients, outputs[site.name]) for site in sites}

        return halving(attempt, len(probe.labels))


def incumbents_moments(
    module: nn.Module, added: Mapping[str, int], batches: Sequence[Probe], halving: Halving
) -> Moments:
    """Moments of the gradients that the incumbents of each slot get on some batches, as means over its entries."""
    with folded_view(module) as view:
        sites = [site for name, site in find_sites(view).items() if added.get(name)]

        def attempt(parts: int) -> Moments:
            totals: dict[tuple[str, Slot], list[tuple[Tensor, Tensor]]] = {}
            for batch in batches:
                for site, slot, slope in _gradients(view, sites, _pieces(batch, parts)).slopes:
                    old = slope[: site.units - added[site.name]].double()
                    totals.setdefault((site.name, slot), []).append((old.mean(), old.square().mean()))
            return {
                key: (float(sum(mean for mean, _ in each)) / len(each), float(sum(two for _, two in each)) / len(each))
                for key, each in totals.items()
            }

        return halving(attempt, max(len(batch.labels) for batch in batches))


def outgoing_scales(module: nn.Module, added: Mapping[str, int]) -> dict[tuple[str, Slot], float]:
    """The root mean square of the incumbents' weights in each slot that reads them."""
    with folded_view(module) as view:
        found = {}
        for name, site in find_sites(view).items():
            for slot in site.slots if added.get(name) else ():
                if slot.role == "out":
                    weights = by_unit(getattr(at(view, slot.module), slot.tensor).detach(), slot, site.units)
                    found[name, slot] = float(weights[: site.units - added[name]].double().square().mean().sqrt())
        return found


@dataclass(frozen=True)
class _Gradients:
    """Gradients of one batch: by unit and slot, and their squared norm by unit of each site."""

    slopes: list[tuple[Site, Slot, Tensor]]
    squares: dict[str, Tensor]


def _pieces(probe: Probe, parts: int) -> list[Probe]:
    size = -(-len(probe.labels) // parts)
    return [probe.some(slice(first, first + size)) for first in range(0, len(probe.labels), size)]


def _gradients(view: nn.Module, sites: Sequence[Site], pieces: Sequence[Probe]) -> _Gradients:
    """The gradient of the mean loss of a batch, taken in pieces, at every connection of the sites."""
    gauges = [Gauge(view, site, frozenset({"weights"})) for site in sites]
    own = {id(parameter): parameter for gauge in gauges for _, parameter in gauge.parameters()}
    sums: dict[int, Tensor] = {}
    clips = sum(len(piece.labels) for piece in pieces)
    with eval_mode(view, list(own.values())), torch.enable_grad():
        for piece in pieces:
            loss = piece.loss(piece.logits(view, piece.inputs), piece.labels) * (len(piece.labels) / clips)
            found = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
            for key, one in zip(own, found, strict=True):
                if one is not None:
                    sums[key] = sums[key] + one if key in sums else one
    slopes = []
    for gauge in gauges:
        gauge.add_weights(sums, clips)
        for slot, parameter in gauge.parameters():
            if id(parameter) in sums:
                slopes.append((gauge.site, slot, by_unit(sums[id(parameter)], slot, gauge.site.units)))
    return _Gradients(slopes, {gauge.site.name: torch.as_tensor(gauge.record.grad_square) for gauge in gauges})


def _standing(site: Site, new: int, gradients: _Gradients, outputs: list[tuple[Tensor, Tensor]]) -> Standing:
    square = gradients.squares[site.name]
    old, born = square[: site.units - new].mean(), square[site.units - new :].mean()
    incumbents = float(sum(one for one, _ in outputs))
    newborns = float(sum(one for _, one in outputs))
    whole = incumbents + newborns
    ratio = float((born / old).sqrt()) if float(old) else None
    return Standing(ratio, newborns / whole if whole else 0.0, new / site.units)


@contextmanager
def _watched(
    view: nn.Module, sites: Sequence[Site], added: Mapping[str, int]
) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """Collects what incumbents and newborns of each site add to what reads them, as sums of squares."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {site.name: [] for site in sites}
    with ExitStack() as stack:
        for site in sites:
            for slot in site.slots:
                if slot.role == "out" and getattr(at(view, slot.module), slot.tensor).dim() > 1:
                    watch = _reading(site, slot, added[site.name], found[site.name])
                    stack.callback(at(view, slot.module).register_forward_pre_hook(watch).remove)
        yield found


def _reading(
    site: Site, slot: Slot, new: int, found: list[tuple[Tensor, Tensor]]
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    units = torch.arange(site.units)

    @torch.no_grad()
    def watch(layer: nn.Module, args: tuple[Any, ...]) -> None:
        weight = getattr(layer, slot.tensor)
        parts = []
        for chosen in (units[: site.units - new], units[site.units - new :]):
            last = slot.offset + slot.gates * site.units * slot.width
            index = entries(slot, site.units, chosen, last)[slot.offset :].to(weight.device)
            only = torch.zeros_like(weight).index_copy(slot.dim, index, weight.index_select(slot.dim, index))
            parts.append(_through(layer, only, args[0]).float().square().sum())
        found.append((parts[0], parts[1]))

    return watch


def _through(layer: Any, weight: Tensor, entering: Any) -> Tensor:
    """What a layer makes of its input with these weights alone, without a bias."""
    if isinstance(layer, nn.Linear):
        return functional.linear(entering, weight)
    if isinstance(layer, nn.modules.conv._ConvNd):
        made: Tensor = layer._conv_forward(entering, weight, None)
        return made
    return functional.linear(data_of(entering), weight)  # of a recurrent layer: what its gates get
