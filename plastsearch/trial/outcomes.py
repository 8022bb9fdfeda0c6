"""What a stage reports: its metrics, and what its record says beside them."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from plastsearch.training.newborns import Standing
from plastsearch.training.state import Quality
from plastsearch.trial import scoring
from plastsearch.trial.networks import Changed


class Incoming(TypedDict):
    """How good a network was when it came into a stage."""

    dev_eer: float | None
    dev_loss: float | None


@dataclass(frozen=True)
class TrainingDetails:
    """What the record of a stage that trained says beside its metrics."""

    history: list[list[float | None]]  # step, training loss, EER, dev loss
    best_step: int
    steps_taken: int
    fit_seconds: float
    prefix: bool  # whether activations below the cut were kept
    incoming: Incoming
    incoming_won: bool
    dev_scores: str | None
    out_of_memory: str | None
    unequal_budget: bool | None
    averaged: int | None = None  # best states whose mean the stage ended with, if it did
    ranks_left: Mapping[str, int] | None = None  # by layer, where AdaLoRA took ranks away
    newborns: list[dict[str, Any]] | None = None  # step, and by site the fields of training.newborns.Standing
    newborn_seconds: float | None = None  # of `fit_seconds`, to find that out


@dataclass(frozen=True)
class ChangeDetails:
    """What the record of a stage that changed the network's shape says."""

    changed: Changed | None
    insertion_error: float | None  # None where the function is to change


@dataclass(frozen=True)
class PruneDetails:
    """What the record of a stage that removed units says."""

    widths: Mapping[str, int]
    removed: Mapping[str, int]
    removed_new: Mapping[str, int]  # of these the ones that the dropin had added
    dev_scores: str | None
    kernels: Mapping[str, int] | None = None  # taps left at each site, where those had grown


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves beside the changed network."""

    metrics: dict[str, float]
    details: TrainingDetails | ChangeDetails | PruneDetails

    @property
    def fit_seconds(self) -> float:
        """Time that training took over all its attempts; 0 where nothing was trained."""
        return self.details.fit_seconds if isinstance(self.details, TrainingDetails) else 0.0

    def plain_details(self) -> dict[str, object]:
        """The details as a record keeps them: flat, without what does not apply."""
        facts = {name: value for name, value in vars(self.details).items() if value is not None}
        changed = facts.pop("changed", None)
        return (vars(changed) if changed else {}) | facts


def newborn_metrics(sites: Iterable[Standing]) -> dict[str, float]:
    """Means over the sites of how newborns stand there."""
    every = list(sites)
    ratios = [one.gradient for one in every if one.gradient is not None]
    found = {"newborn_share": statistics.fmean(one.share for one in every)} if every else {}
    return ({"newborn_gradient": statistics.fmean(ratios)} if ratios else {}) | found


def packed_scores(quality: Quality) -> str | None:
    """The dev scores of a quality as text for a record, if it holds them."""
    return None if quality.scores is None else scoring.packed(quality.scores.cpu())
