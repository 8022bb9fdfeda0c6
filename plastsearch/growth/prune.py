"""Neurons out: which units go, given scores and a count, and a network that is physically smaller afterwards."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from plastsearch.errors import GrowthError
from plastsearch.growth.collect import Batches, Loss
from plastsearch.growth.criteria import score
from plastsearch.growth.optimizer import refuse_state
from plastsearch.growth.paths import at
from plastsearch.growth.resize import all_or_nothing, narrow_, parameters_of
from plastsearch.growth.site import Site, Slot, blocks_at
from plastsearch.growth.survey import find_sites, pick, refuse_shared

Pool = Literal["added", "all"]


def choose(scores: Tensor, count: int, pool: Pool = "all", added: int = 0, *, pairs: bool = False) -> Tensor:
    """Indices of the `count` units with the lowest scores, ties by index; `added`: how many of the last are new.

    With `pairs` the new units are couples of neighbours that cancel out: they go together, at their mean score.
    """
    if not bool(torch.isfinite(scores).all()):
        bad = int((~torch.isfinite(scores)).sum())
        raise GrowthError(f"{bad} of {len(scores)} neuron scores are not finite; a criterion must score every neuron")
    if pool not in ("added", "all"):
        raise GrowthError(f"unknown pool '{pool}'; known: added, all")
    if scores.dim() != 1:
        raise GrowthError(f"scores are one number for each unit, not a tensor of shape {tuple(scores.shape)}")
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise GrowthError(f"cannot remove {count!r} units: give a whole number")
    total = len(scores)
    first = total - added if pool == "added" else 0
    if not 0 <= added <= total:
        raise GrowthError(f"{added} of {total} units cannot be new")
    if not 0 <= count <= total - first or count == total:
        raise GrowthError(f"cannot remove {count} of {total} units (pool '{pool}' has {total - first}; one must stay)")
    values = scores.detach().double().cpu()
    if pairs:
        return _with_pairs(values, count, first, total - added)
    # Stable, so that among equal scores it is the same units everywhere.
    order = torch.argsort(values[first:], stable=True)[:count] + first
    return order.sort().values


def remove_neurons_(
    module: nn.Module,
    units: Mapping[str, Tensor | Sequence[int]],
    optimizer: Optimizer | None = None,
    *,
    means: Mapping[str, Tensor] | None = None,
) -> dict[str, int]:
    """Removes units (heads, channels, …, by index) at each site; returns the neurons that are left there.

    `means`: each site's mean activation, one entry per feature at its tap; given, the consumers' biases make up for it.
    """
    sites = find_sites(module)
    removed = {name: _check(module, sites, name, chosen) for name, chosen in units.items()}
    given = {name: mean for name, mean in (means or {}).items() if name in removed}
    for name in given:
        _check_means(module, sites[name], given[name], removed)
    if optimizer is not None:
        refuse_state(optimizer, [tensor for name in removed for tensor in parameters_of(module, sites[name])])
    with all_or_nothing(module, optimizer):
        # Before any unit goes: a site's columns are counted with all its units.
        for name, mean in given.items():
            _compensate_(module, sites[name], removed[name], mean)
        for name, chosen in removed.items():
            site = find_sites(module)[name]  # anew: heads that went leave fewer gates to the head width of their layer
            gone = set(chosen.tolist())
            narrow_(module, site, torch.tensor([j for j in range(site.units) if j not in gone]), optimizer)
    after = find_sites(module)
    return {name: after[name].width for name in removed}


def _check(module: nn.Module, sites: Mapping[str, Site], name: str, chosen: Tensor | Sequence[int]) -> Tensor:
    """The indices as a tensor, if those units can go."""
    site = pick(module, sites, name)
    if blocks_at(module, site):
        raise GrowthError(f"site '{name}' carries grown blocks; fold the network first (growth.fold.fold_)")
    refuse_shared(module, site)
    given = torch.as_tensor(chosen).cpu()
    if given.dim() != 1 or (given.numel() and (given.is_floating_point() or given.dtype == torch.bool)):
        kind = f"a tensor of {given.dtype} and shape {tuple(given.shape)}"
        raise GrowthError(f"site '{name}': units to remove are a row of whole numbers (indices), not {kind}")
    indices = given.long().tolist()
    if len(set(indices)) >= site.units:
        raise GrowthError(f"site '{name}' has {site.units} units; cannot remove {len(set(indices))}, one must stay")
    wrong = [j for j in indices if not 0 <= j < site.units]
    if wrong or len(set(indices)) != len(indices):
        what = f"unit {wrong[0]} does not exist" if wrong else "a unit is named twice"
        raise GrowthError(f"site '{name}' has units 0 to {site.units - 1}: {what}")
    return given.long()


def _with_pairs(values: Tensor, count: int, first: int, old: int) -> Tensor:
    """Takes single old units and couples of new ones, lowest mean score first, until the count is met exactly."""
    groups = [[j] for j in range(first, old)] + [[j, j + 1] for j in range(max(first, old), len(values) - 1, 2)]
    groups.sort(key=lambda group: (float(values[group].mean()), group[0]))
    taken: list[int] = []
    for group in groups:
        if len(taken) + len(group) <= count:
            taken += group
    if len(taken) != count:
        raise GrowthError(f"{count} units cannot be removed without breaking an opposite pair; remove an even number")
    return torch.tensor(sorted(taken), dtype=torch.long)


def _check_means(module: nn.Module, site: Site, means: Tensor, removed: Mapping[str, Tensor]) -> None:
    """Refuses mean activations that do not fit the site, or that nothing after it can take up."""
    size = site.tap.gates * site.units * site.tap.width
    if tuple(means.shape) != (size,) or not bool(torch.isfinite(means).all()):
        raise GrowthError(
            f"site '{site.name}': its means are {size} finite numbers, one for each feature at {site.tap.module}, not "
            f"a tensor of shape {tuple(means.shape)}"
        )
    if "chunk.0" in site.parts:
        raise GrowthError(
            f"site '{site.name}': a chunk hears the sum of two others, whose means are not known; remove without means"
        )
    other = site.name.replace("head_width", "attention")
    if site.kind == "head_width" and other in removed:
        raise GrowthError(
            f"site '{site.name}': what its dimensions gave on average depends on the heads of '{other}' that go, too; "
            "with means, remove first one, then the other"
        )
    for slot in site.slots:
        if slot.role in ("out", "recurrent") and _bias(module, site, slot) is None:
            raise GrowthError(f"site '{site.name}': {slot.module} has no bias or BatchNorm after it to take means")


@torch.no_grad()
def _compensate_(module: nn.Module, site: Site, chosen: Tensor, means: Tensor) -> None:
    """Adds what the removed units gave on average to the biases of the layers that read them."""
    for slot in site.slots:
        if slot.role not in ("out", "recurrent"):
            continue
        weight = getattr(at(module, slot.module), slot.tensor)
        gates = min(slot.gates, site.tap.gates)
        if slot.role == "recurrent" and slot.tensor.endswith("_reverse"):
            values = means.view(site.tap.gates, site.units, -1)[1:]
        else:
            values = means.view(site.tap.gates, site.units, -1)[:gates]
        read = weight.index_select(1, _columns(slot, site.units, chosen, gates).to(weight.device))
        shift = read.flatten(2).sum(-1) if weight.dim() > 2 else read
        _shift_bias_(module, site, slot, shift @ values[:, chosen.to(values.device)].flatten().to(weight))


def _columns(slot: Slot, units: int, chosen: Tensor, gates: int) -> Tensor:
    gate = torch.arange(gates).view(-1, 1, 1) * units
    each = (gate + chosen.view(1, -1, 1)) * slot.width + torch.arange(slot.width)
    return each.flatten() + slot.offset


def _shift_bias_(module: nn.Module, site: Site, slot: Slot, shift: Tensor) -> None:
    found = _bias(module, site, slot)
    assert found is not None  # checked before
    owner, name, sign = found
    tensor = getattr(owner, name)
    if isinstance(tensor, nn.Parameter):
        tensor.data = tensor.data + sign * shift  # a new tensor, not an addition in place, which could not be undone
    else:
        setattr(owner, name, tensor + sign * shift)


def _bias(module: nn.Module, site: Site, slot: Slot) -> tuple[Any, str, float] | None:
    """What can take up a constant that a slot's layer has lost: its bias, or the mean in the BatchNorm after it."""
    owner = at(module, slot.module)
    name = slot.tensor.replace("weight", "bias")
    if isinstance(getattr(owner, name, None), Tensor):
        return owner, name, 1.0
    norm = at(module, site.parts["out_norm"]) if "out_norm" in site.parts else None
    if norm is None or norm.running_mean is None:
        return None
    return norm, "running_mean", -1.0


def shrink_(
    module: nn.Module,
    neurons: Mapping[str, int],
    batches: Batches,
    loss: Loss,
    *,
    criterion: str = "taylor",
    pool: Pool = "all",
    added: Mapping[str, int] | None = None,
    generator: Generator | None = None,
    optimizer: Optimizer | None = None,
) -> dict[str, Tensor]:
    """Removes `neurons` of each site, the lowest by a criterion first; returns the units that went, by index.

    `batches` yields (inputs, labels), `loss` gives one value per clip; `added` says how many of a site's last units are
    new (`Dropin.units`), which `pool="added"` and the criterion `newest` ask. Fold a grown network first.
    """
    sites = find_sites(module)
    counts = {}
    for name, count in neurons.items():
        step = pick(module, sites, name).step
        if count % step:
            raise GrowthError(f"site '{name}' cannot lose {count}: its neurons come in multiples of {step}")
        counts[name] = count // step
    found = score(module, list(counts), [criterion], batches, loss, generator or Generator(), added)[criterion]
    gone = {name: choose(found[name], count, pool, (added or {}).get(name, 0)) for name, count in counts.items()}
    remove_neurons_(module, gone, optimizer)
    return gone
