"""CRITERIA: what a neuron is worth, one score per unit of a site; the lowest go first.

Scores are equivariant: neurons in another order give the same scores in that order. Which units are removed is
chosen in growth/prune.py; activations and gradients are gathered in growth/collect.py.

Axes: N clips, P positions, U units, K outputs of a layer that reads the site.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.errors import GrowthError
from plastsearch.growth.collect import Batches, Loss, collect
from plastsearch.growth.gauge import Need, Record, by_unit
from plastsearch.growth.paths import at, is_grown
from plastsearch.growth.recurrent.cells import RECURRENT, cell_of
from plastsearch.growth.rules import criterion_refused
from plastsearch.growth.site import Site, Slot
from plastsearch.growth.survey import find_sites


@dataclass(frozen=True)
class Evidence:
    """Everything a criterion may look at for one site."""

    module: nn.Module
    site: Site
    record: Record
    added: int  # the last units of the site are the added ones
    generator: torch.Generator

    def entries(self, *roles: str) -> list[tuple[Slot, Tensor]]:
        """Each slot of these roles with its entries sorted by unit."""
        found = []
        for slot in self.site.slots:
            tensor: Any = getattr(at(self.module, slot.module), slot.tensor)
            if slot.role in roles:
                found.append((slot, by_unit(tensor.detach().double(), slot, self.site.units).cpu()))
        return found

    def norm(self, *roles: str) -> Tensor:
        """Euclidean norm of a unit's entries in these roles."""
        square: Tensor = sum(
            (e.square().sum(1) for _, e in self.entries(*roles)), torch.zeros(self.site.units).double()
        )
        return square.sqrt()


def score(
    module: nn.Module,
    sites: Iterable[str] | Mapping[str, Site],
    criteria: Iterable[str],
    batches: Batches,
    loss: Loss,
    generator: torch.Generator,
    added: Mapping[str, int] | None = None,
) -> dict[str, dict[str, Tensor]]:
    """Criterion → site → one score per unit (float64, on the CPU), all from a single pass over the batches.

    `module` is an ordinary network (folded), in which the `added` units of a site are its last ones; `batches` yields
    (inputs, labels) on the module's device; `loss` gives one value per clip.
    """
    wanted = [known(name) for name in criteria]
    chosen = _chosen(module, sites)
    needs = frozenset(need for name in wanted for need in CRITERIA[name].needs)
    empty = {name: Record() for name in chosen}
    records = collect(module, chosen, needs, batches, loss) if needs else empty
    return {
        name: {
            site: _checked(
                name, site, Evidence(module, chosen[site], records[site], (added or {}).get(site, 0), generator)
            )
            for site in chosen
        }
        for name in wanted
    }


def known(name: str) -> str:
    """The name, if there is such a criterion."""
    if name not in CRITERIA:
        close = get_close_matches(name, CRITERIA, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        raise GrowthError(f"unknown criterion '{name}'{hint}; known: {', '.join(CRITERIA)}")
    return name


def _chosen(module: nn.Module, sites: Iterable[str] | Mapping[str, Site]) -> dict[str, Site]:
    grown = next((path for path, part in module.named_modules() if is_grown(part)), None)
    if grown is not None:
        raise GrowthError(
            f"'{grown}' is a grown block beside its base; criteria score ordinary networks: fold it first"
        )
    found = find_sites(module)
    missing = [name for name in sites if name not in found]
    if missing:
        raise GrowthError(f"no site {', '.join(missing)}; the network has {', '.join(found)}")
    return {name: found[name] for name in sites}


def _checked(name: str, site: str, evidence: Evidence) -> Tensor:
    scores = CRITERIA[name].scores(evidence).double().cpu()
    if scores.isnan().any():
        lost = scores.isnan().nonzero().flatten().tolist()
        raise GrowthError(
            f"criterion '{name}' gives NaN at site '{site}' for units {lost[:8]} of {len(scores)}; "
            "the network's weights or activations are no longer finite"
        )
    return scores


def _taylor(e: Evidence) -> Tensor:
    return torch.as_tensor(e.record.gate_abs) / e.record.clips


def _fisher(e: Evidence) -> Tensor:
    return torch.as_tensor(e.record.gate_square) / e.record.clips


def _taylor_weight(e: Evidence) -> Tensor:
    return _per_unit(e.record.weight_abs, e) / e.record.clips


def _gradient_norm(e: Evidence) -> Tensor:
    return (_per_unit(e.record.grad_square, e) / e.record.clips).sqrt()


def _per_unit(value: Tensor | float, e: Evidence) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).expand(e.site.units)


def _magnitude(e: Evidence) -> Tensor:
    gamma = _gamma(e)
    return (e.norm("in") if gamma is None else gamma) * e.norm("out")


def _bn_gamma(e: Evidence) -> Tensor:
    gamma = _gamma(e)
    if gamma is None:
        reason = criterion_refused(e.site.name, e.site.kind, "bn_gamma", scaled=False)
        raise GrowthError(reason)
    return gamma


def _gamma(e: Evidence) -> Tensor | None:
    for slot, entries in e.entries("norm"):
        if slot.tensor == "weight":
            return entries[:, 0].abs()
    return None


def _entropy(e: Evidence) -> Tensor:
    return bin_entropy(e.record.clip_means(), shared=False)


def _entropy_shared(e: Evidence) -> Tensor:
    return bin_entropy(e.record.clip_means(), shared=True)


def _gradient_entropy(e: Evidence) -> Tensor:
    dtype = next(tensor.dtype for tensor in e.module.parameters() if tensor.is_floating_point())
    # Gradients of units that are alike differ by rounding, which grows with the sums behind them.
    return middle_ranks(_gradient_norm(e).cpu(), near=torch.finfo(dtype).eps ** 0.75) + middle_ranks(_entropy(e))


def _variance(e: Evidence) -> Tensor:
    count = e.record.positions
    mean = torch.as_tensor(e.record.total) / count
    variance = (torch.as_tensor(e.record.square) / count - mean.square()).clamp_min(0)
    return 0.5 * variance.clamp_min(1e-300).log()  # entropy of a Gaussian, but for a constant


def _co_activation(e: Evidence) -> Tensor:
    return 1 - largest_correlation(torch.cat(e.record.frames))


def _hebbian(e: Evidence) -> Tensor:
    means_NU = e.record.clip_means()
    total = torch.zeros(e.site.units).double()
    for slot in e.site.slots:
        if slot.role == "out":
            weight_UK, columns = _connections(e, slot)
            output_NK = torch.cat(e.record.readers[slot.module])[:, columns]
            total += (absolute_correlation(means_NU, output_NK) * weight_UK).sum(1)
    return total


def _connections(e: Evidence, slot: Slot) -> tuple[Tensor, slice]:
    """Sum of |weights| from each unit to each output of a reader, and which of its outputs these are."""
    layer = at(e.module, slot.module)
    weight = getattr(layer, slot.tensor).detach().double().cpu()
    units = e.site.units
    outputs = weight.shape[1 - slot.dim]
    entries = by_unit(weight.abs(), slot, units)
    weight_UK = entries.reshape(units, slot.gates * slot.width, outputs, -1).sum((1, 3))
    if not isinstance(layer, RECURRENT):
        return weight_UK, slice(None)
    hidden = layer.hidden_size
    start = hidden if slot.tensor.endswith("_reverse") else 0
    return weight_UK.reshape(units, cell_of(layer).gates, hidden).sum(1), slice(start, start + hidden)


def _newest(e: Evidence) -> Tensor:
    units = torch.arange(e.site.units, dtype=torch.float64)
    old = e.site.units - e.added
    return torch.where(units < old, 0.0, old - 1 - units)  # the last one added goes first


def _random(e: Evidence) -> Tensor:
    return torch.rand(e.site.units, generator=e.generator, dtype=torch.float64)


@dataclass(frozen=True)
class Criterion:
    """A criterion and what the pass must gather for it."""

    scores: Callable[[Evidence], Tensor]
    needs: tuple[Need, ...] = ()


CRITERIA: dict[str, Criterion] = {
    "taylor": Criterion(_taylor, ("gates",)),
    "fisher": Criterion(_fisher, ("gates",)),
    "taylor_weight": Criterion(_taylor_weight, ("weights",)),
    "gradient_norm": Criterion(_gradient_norm, ("weights",)),
    "magnitude": Criterion(_magnitude),
    "bn_gamma": Criterion(_bn_gamma),
    "entropy": Criterion(_entropy, ("means",)),
    "entropy_shared": Criterion(_entropy_shared, ("means",)),
    "gradient_entropy": Criterion(_gradient_entropy, ("weights", "means")),
    "variance": Criterion(_variance, ("moments",)),
    "hebbian": Criterion(_hebbian, ("means", "readers")),
    "co_activation": Criterion(_co_activation, ("frames",)),
    "newest": Criterion(_newest),
    "random": Criterion(_random),
}


BINS = 64
LOW, HIGH = 0.001, 0.999  # quantiles that bound the histogram; what lies outside counts in the outer bins
_FINE = 2.0**52  # steps per nat of the terms of an entropy: whole numbers add up alike in any order
_NOISE = 1e-12  # relative; means of equal float64 numbers differ by less


def bin_entropy(value_NU: Tensor, *, shared: bool) -> Tensor:
    """Entropy of each column in nats from a 64-bin histogram, with the Miller-Madow correction.

    The range is each unit's own (blind to scale), or one for all units (`shared`, mostly a measure of spread). Exact
    zeros, where a ReLU is silent, have a bin of their own.
    """
    samples, units = value_NU.shape
    low, high = _range(value_NU, shared)
    wide = high - low > _NOISE * low.abs().maximum(high.abs())
    span = torch.where(wide, high - low, torch.ones_like(high))
    place_NU = torch.where(wide, (value_NU - low) / span, torch.zeros_like(value_NU))
    bin_NU = (place_NU * BINS).floor().clamp(0, BINS - 1).long()
    bin_NU[value_NU == 0] = BINS
    count_BU = torch.zeros(BINS + 1, units, dtype=torch.long)
    count_BU.scatter_add_(0, bin_NU, torch.ones_like(bin_NU))
    # Equal histograms, whichever bin holds which count, are to tie to the last bit: floats would add up by bin.
    share = torch.arange(samples + 1, dtype=torch.float64) / samples
    term = (-torch.xlogy(share, share) * _FINE).round().long()
    entropy_U = term[count_BU].sum(0).double() / _FINE
    occupied_U = (count_BU > 0).sum(0).double()
    return entropy_U + (occupied_U - 1) / (2 * samples)


def _range(value_NU: Tensor, shared: bool) -> tuple[Tensor, Tensor]:
    """Low and high quantile of what is not 0, per column or for all columns."""
    spoken_NU = value_NU.masked_fill(value_NU == 0, float("inf"))
    if shared:
        spoken_NU = spoken_NU.reshape(-1, 1)
    order_NU = spoken_NU.sort(dim=0).values
    count_U = (order_NU < float("inf")).sum(0)
    low_U, high_U = _quantile(order_NU, count_U, LOW), _quantile(order_NU, count_U, HIGH)
    silent_U = count_U == 0
    return low_U.masked_fill(silent_U, 0.0), high_U.masked_fill(silent_U, 0.0)


def _quantile(order_NU: Tensor, count_U: Tensor, share: float) -> Tensor:
    """The quantile among the first `count` values of each sorted column, between neighbours linearly."""
    place_U = (count_U - 1).clamp_min(0) * share
    below_U = place_U.floor().long()
    above_U = (below_U + 1).minimum((count_U - 1).clamp_min(0))
    first_U = order_NU.gather(0, below_U[None])[0]
    second_U = order_NU.gather(0, above_U[None])[0]
    return torch.where(first_U == second_U, first_U, first_U + (second_U - first_U) * (place_U - below_U))


def absolute_correlation(value_NU: Tensor, other_NK: Tensor) -> Tensor:
    """|Pearson's r| of every column with every other column, [U, K]; a constant correlates with nothing."""
    return (_standard(value_NU).T @ _standard(other_NK)).abs().clamp_max(1)


def largest_correlation(value_NU: Tensor) -> Tensor:
    """The largest |r| of each column with another one; a constant is its own twin, since a bias can stand for it."""
    corr_UU = absolute_correlation(value_NU, value_NU)
    constant_U = corr_UU.diagonal() < 0.5
    corr_UU.fill_diagonal_(0)
    largest_U = corr_UU.max(dim=1).values
    return largest_U.masked_fill(constant_U, 1.0)


def middle_ranks(value_U: Tensor, near: float = 0.0) -> Tensor:
    """Ranks from 0; equal values share the mean of theirs, so that no rank depends on the order.

    Neighbours that differ by no more than a share `near` of themselves, as by rounding, count as equal.
    """
    sorted_U, order_U = value_U.sort(stable=True)
    apart_U = sorted_U[1:] - sorted_U[:-1] > near * sorted_U[1:].abs().maximum(sorted_U[:-1].abs())
    group_U = torch.cat([torch.zeros(1, dtype=torch.long), apart_U.long().cumsum(0)])[: len(value_U)]
    size_G = torch.bincount(group_U)
    mean_G = size_G.cumsum(0).double() - (size_G.double() + 1) / 2
    return torch.empty(len(value_U), dtype=torch.float64).scatter_(0, order_U, mean_G[group_U])


def _standard(value_NU: Tensor) -> Tensor:
    """Columns with mean 0 and length 1; constant ones (but for rounding) become 0."""
    centred_NU = value_NU - value_NU.mean(0)
    length_U = centred_NU.norm(dim=0)
    noise_U = value_NU.abs().amax(0) * len(value_NU) ** 0.5 * 1e-12
    return torch.where(length_U > noise_U, centred_NU / length_U.clamp_min(1e-300), torch.zeros_like(centred_NU))
