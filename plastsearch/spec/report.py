"""What a trial says while it runs: plain data that crosses processes without torch."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Report:
    """One dev evaluation, stage boundary or result; `step` counts optimiser steps over all stages."""

    stage: str  # train | dropin | retrain | prune | consolidate | timing | result
    step: int
    steps_total: int
    metrics: dict[str, float] = field(default_factory=dict)
    final: bool = False  # the last report holds every metric of the trial
    details: dict[str, Any] = field(default_factory=dict)  # reused stages, warnings, per-attack EERs, device
