"""What the new neurons of a grown trial answer to, and which of them pruning left.

Activations are means over a clip, at the place where pruning weighs them. Axes: N clips, U units of a site, A attacks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plastsearch.errors import PlastsearchError
from plastsearch.explain.clips import Labelled
from plastsearch.explain.evidence import Tick
from plastsearch.growth.blocks import outermost
from plastsearch.growth.collect import collect
from plastsearch.growth.gauge import by_unit
from plastsearch.growth.paths import at
from plastsearch.growth.site import Site
from plastsearch.growth.survey import find_sites
from plastsearch.models.detector import Detector
from plastsearch.scores.metrics import Floats
from plastsearch.use.stages import TrialStages

PERMUTATIONS = 500
TOP_CLIPS = 3
BATCH = 16


@dataclass(frozen=True)
class Driver:
    """A clip on which a neuron is among its most active."""

    clip: str
    attack: str
    activation: float


@dataclass(frozen=True)
class Neuron:
    """One new neuron."""

    site: str
    unit: int  # among all units of its site
    auc: float  # of its activation: 1 or 0 separates spoofs perfectly, above 0.5 it is more active on spoofs
    by_attack: tuple[float, ...]  # mean less that of bona fide clips, in their standard deviations
    drivers: tuple[Driver, ...]
    survived: bool | None  # None: nothing was pruned, or it cannot be told


@dataclass(frozen=True)
class Turnover:
    """What pruning did at a site, in units."""

    site: str
    added: int
    removed: int
    removed_new: int

    @property
    def share(self) -> float:
        """Of the removed, how many were new: at 1 growth was only a passing widening."""
        return self.removed_new / self.removed if self.removed else 0.0


@dataclass(frozen=True)
class Answers:
    """All new neurons of a trial, the most separable of each site first."""

    clips: str
    attacks: tuple[str, ...]
    neurons: tuple[Neuron, ...]
    chance: float  # |AUC − ½| that the best of as many neurons reaches in 95 % of permuted labels
    old: Mapping[str, tuple[float, ...]]  # |AUC − ½| of the site's old neurons
    turnover: tuple[Turnover, ...]
    pruned: bool

    @property
    def beyond_chance(self) -> int:
        """How many separate better than chance, corrected for their number."""
        return sum(abs(one.auc - 0.5) > self.chance for one in self.neurons)


def added_units(stages: TrialStages) -> dict[str, int]:
    """Units that growth added at each site; refuses a trial that added none."""
    found: dict[str, int] = {}
    number = stages.record.number
    for stage in stages.chain:
        if stage.details.get("operator") == "stack":
            raise PlastsearchError(f"--neurons: trial {number} added whole layers, not neurons to a layer")
        for name, count in (stage.details.get("units") or {}).items() if stage.stage == "dropin" else ():
            found[name] = found.get(name, 0) + int(count)
    found = {name: count for name, count in found.items() if count}
    if not found:
        method = stages.config.method
        raise PlastsearchError(
            f"--neurons: trial {number} ({method}) grew no neurons; name one that did, such as "
            f"{stages.folder}:best, or a trial whose method is dropin or plasticity"
        )
    return found


def answers(stages: TrialStages, clips: Labelled, device: torch.device, seed: int, tick: Tick) -> Answers:
    """Listen to the grown network's new neurons on clips of every attack."""
    added = added_units(stages)
    grown_stage = stages.last("retrain")
    if grown_stage is None:
        raise PlastsearchError(
            f"--neurons: the stage `retrain` of trial {stages.record.number} is no longer in {stages.store.root}; "
            "`plastsearch trial` computes it again"
        )
    grown = stages.network(grown_stage).to(device)
    if outermost(grown):
        raise PlastsearchError(
            f"--neurons: what trial {stages.record.number} grew stands beside its layers as a branch of its own and "
            "has no place among their neurons"
        )
    sites = {name: find_sites(grown)[name] for name in added}
    means = _means(grown, sites, clips, device, tick)
    left = survivors(stages, grown, added)
    new = {name: means[name][:, sites[name].units - added[name] :] for name in added}
    old = {name: means[name][:, : sites[name].units - added[name]] for name in added}
    neurons = [one for name in added for one in _neurons(name, new[name], sites[name].units, clips, left.get(name))]
    attacks = tuple(sorted(set(clips.attacks[~clips.is_bona].tolist())))
    every = np.concatenate(list(new.values()), axis=1)
    return Answers(
        clips.described(), attacks, tuple(neurons), _chance(every, clips.is_bona, seed),
        {name: tuple(abs(aucs(one, ~clips.is_bona) - 0.5).tolist()) for name, one in old.items()},
        _turnover(stages, added), stages.last("prune") is not None,
    )  # fmt: skip


def aucs(means_NU: Floats, positive: NDArray[np.bool_]) -> Floats:
    """Separability of every column at once: the share of pairs in which the positive is higher."""
    ranks = _ranks(means_NU)
    ones, others = int(positive.sum()), int((~positive).sum())
    found: Floats = (ranks[positive].sum(0) - ones * (ones + 1) / 2) / (ones * others)
    return found


def survivors(stages: TrialStages, grown: Detector, added: Mapping[str, int]) -> dict[str, NDArray[np.bool_]]:
    """Of each site's new units which are still there after pruning, told by the weights that pruning copies."""
    pruned_stage = stages.last("prune")
    if pruned_stage is None:
        return {}
    pruned = stages.network(pruned_stage)
    removed = {name: int(count) for name, count in (pruned_stage.details.get("removed_new") or {}).items()}
    found: dict[str, NDArray[np.bool_]] = {}
    for name, count in added.items():
        kept = kept_units(grown, pruned, name)
        # As many as the stage's record says went, else the marks are no names (units alike, biases made up for).
        if kept is not None and int((~kept[len(kept) - count :]).sum()) == removed.get(name, -1):
            found[name] = kept[len(kept) - count :]
    return found


def kept_units(grown: nn.Module, pruned: nn.Module, name: str) -> NDArray[np.bool_] | None:
    """Which units of a site are still in the pruned network; None where their weights do not tell."""
    before, after = (_marks(one, find_sites(one)[name]) for one in (grown, pruned))
    if before is None or after is None or before.shape[1] != after.shape[1]:
        return None
    there = {row.tobytes() for row in after}
    kept = np.array([row.tobytes() in there for row in before])
    return kept if kept.sum() == len(after) else None


def _marks(network: nn.Module, site: Site) -> NDArray[np.float32] | None:
    """What makes each unit and does not depend on other sites: biases and norms; the weights where it has none."""
    rows = []
    for slot in site.slots:
        tensor: Tensor = getattr(at(network, slot.module), slot.tensor)
        if slot.role in ("in", "norm") and tensor.dim() == 1:
            rows.append(by_unit(tensor.detach().float().cpu(), slot, site.units))
    return np.ascontiguousarray(torch.cat(rows, 1).numpy()) if rows else None


def _means(
    network: Detector, sites: Mapping[str, Site], clips: Labelled, device: torch.device, tick: Tick
) -> dict[str, Floats]:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(0, len(clips), BATCH):
            rows = range(first, min(first + BATCH, len(clips)))
            wave_BT = torch.from_numpy(np.stack([clips.wave(n) for n in rows])).to(device)
            yield wave_BT, torch.zeros(len(rows), dtype=torch.long, device=device)
            tick(rows.stop)

    records = collect(network, sites, frozenset({"means"}), batches(), lambda output, _: output)
    return {name: record.clip_means().double().numpy() for name, record in records.items()}


def _neurons(
    site: str, means_NU: Floats, units: int, clips: Labelled, kept: NDArray[np.bool_] | None
) -> Sequence[Neuron]:
    attacks = sorted(set(clips.attacks[~clips.is_bona].tolist()))
    bona = means_NU[clips.is_bona]
    spread = np.maximum(bona.std(0, ddof=1) if len(bona) > 1 else np.ones(bona.shape[1]), 1e-12)
    effects = np.stack([(means_NU[clips.attacks == name].mean(0) - bona.mean(0)) / spread for name in attacks])
    separable = aucs(means_NU, ~clips.is_bona)
    first = units - means_NU.shape[1]
    found = []
    for unit in np.argsort(-abs(separable - 0.5), kind="stable"):
        top = np.argsort(-means_NU[:, unit], kind="stable")[:TOP_CLIPS]
        drivers = tuple(Driver(str(clips.ids[n]), str(clips.attacks[n]), float(means_NU[n, unit])) for n in top)
        found.append(
            Neuron(
                site, first + int(unit), float(separable[unit]), tuple(effects[:, unit].tolist()), drivers,
                None if kept is None else bool(kept[unit]),
            )
        )  # fmt: skip
    return found


def _chance(means_NU: Floats, is_bona: NDArray[np.bool_], seed: int) -> float:
    """What the best of these neurons reaches when labels are dealt out anew."""
    ranks = _ranks(means_NU)
    ones, others = int((~is_bona).sum()), int(is_bona.sum())
    rng = np.random.default_rng(seed)
    dealt = np.stack([rng.permutation(~is_bona) for _ in range(PERMUTATIONS)]).astype(float)
    found = (dealt @ ranks - ones * (ones + 1) / 2) / (ones * others)
    return float(np.quantile(abs(found - 0.5).max(1), 0.95))


def _ranks(means_NU: Floats) -> Floats:
    """Ranks from 1 in every column, equal values sharing their mean."""
    found = np.empty_like(means_NU)
    for column in range(means_NU.shape[1]):
        _, inverse, counts = np.unique(means_NU[:, column], return_inverse=True, return_counts=True)
        found[:, column] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return found


def _turnover(stages: TrialStages, added: Mapping[str, int]) -> tuple[Turnover, ...]:
    pruned = stages.last("prune")
    if pruned is None:
        return ()
    removed, new = pruned.details.get("removed") or {}, pruned.details.get("removed_new") or {}
    return tuple(
        Turnover(name, count, int(removed.get(name, 0)), int(new.get(name, 0))) for name, count in added.items()
    )
