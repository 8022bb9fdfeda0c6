"""Where a sweep stands: the front of its trials, the volume it dominates, what a trial must report to count."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from plastsearch.pareto.front import front, hypervolume
from plastsearch.spec.constraints import Constraint
from plastsearch.tracking.journal import TrialRecord

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Aim:
    """One objective; the reference is the worst value that still counts."""

    metric: str
    goal: Literal["min", "max"] = "min"
    reference: float | None = None


@dataclass(frozen=True)
class Standing:
    """Objectives and constraints, applied to records."""

    aims: Sequence[Aim]
    limits: Sequence[Constraint] = ()
    baseline: dict[str, float] = field(default_factory=dict)  # of the control; filled when it ends

    def note(self, record: TrialRecord) -> None:
        """Learn what limits relative to the baseline mean."""
        if record.control == "baseline" and record.role == "control" and record.state == "done":
            self.baseline.update(record.metrics)

    def allowed(self, metrics: Metrics) -> bool:
        """Whether it keeps within all limits; one that cannot be measured yet does not count."""
        violations = [limit.violation(metrics, self.baseline) for limit in self.limits]
        return all(violation is None or violation <= 0 for violation in violations)

    def missing(self, metrics: Metrics) -> str | None:
        """The first metric without which a finished trial is no result."""
        names = [aim.metric for aim in self.aims] + [limit.metric for limit in self.limits]
        return next((name for name in names if not math.isfinite(metrics.get(name, math.nan))), None)

    def values(self, record: TrialRecord) -> list[float]:
        """Its objectives, in order."""
        return [record.metrics[aim.metric] for aim in self.aims]

    def front(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Finished trials within the limits that none dominates (finalists apart), by the first objective."""
        finished = [record for record in records if self._counts(record)]
        if not finished:
            return []
        mask = front([self.values(record) for record in finished], [aim.goal for aim in self.aims])
        members = [record for record, inside in zip(finished, mask, strict=True) if inside]
        sign = -1 if self.aims[0].goal == "max" else 1
        return sorted(members, key=lambda record: (sign * self.values(record)[0], record.number))

    def hypervolume(self, records: Sequence[TrialRecord]) -> float | None:
        """The volume the search trials dominate; None where an objective has no reference (yet)."""
        reference = self._corner(records)
        if reference is None:
            return None
        values = [self.values(record) for record in records if self._counts(record) and record.role == "search"]
        return hypervolume(values, [aim.goal for aim in self.aims], reference) if values else 0.0

    def _corner(self, records: Sequence[TrialRecord]) -> list[float] | None:
        corner = [aim.reference if aim.reference is not None else _default(aim.metric, records) for aim in self.aims]
        known = [value for value in corner if value is not None]
        return known if len(known) == len(corner) else None

    def _counts(self, record: TrialRecord) -> bool:
        finished = record.state == "done" and record.role != "finalist"
        return finished and self.missing(record.metrics) is None and self.allowed(record.metrics)


def _default(metric: str, records: Sequence[TrialRecord]) -> float | None:
    """EER 50 is chance, a ratio of 1.1 is dearer than full fine-tuning, a network may grow by half."""
    if metric.endswith("eer"):
        return 50.0
    if metric.endswith("ratio"):
        return 1.1
    if metric.startswith("params"):
        sizes = [r.metrics["params_baseline"] for r in records if "params_baseline" in r.metrics]
        return 1.5 * sizes[0] if sizes else None
    return None
