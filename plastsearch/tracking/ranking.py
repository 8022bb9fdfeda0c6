"""Where a sweep stands by its records: who counts, the front, its best member, the volume it dominates.

The driver asks while the sweep runs, and the report asks afterwards: one answer for both.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from plastsearch.pareto.front import front, hypervolume
from plastsearch.spec.constraints import Constraint, parse_constraint
from plastsearch.spec.methods import facts
from plastsearch.tracking.journal import TrialRecord

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Aim:
    """One objective; the reference is the worst value that still counts."""

    metric: str
    goal: Literal["min", "max"] = "min"
    reference: float | None = None


@dataclass(frozen=True)
class Ranking:
    """Objectives and constraints, applied to records."""

    aims: Sequence[Aim]
    limits: Sequence[Constraint] = ()
    baseline: dict[str, float] = field(default_factory=dict)  # of the control; filled when it ends

    def note(self, record: TrialRecord) -> None:
        """Learn what limits relative to the baseline mean."""
        if record.yardstick and record.state == "done":
            self.baseline.update(record.metrics)

    def allowed(self, metrics: Metrics) -> bool:
        """Whether it keeps within all limits; one that cannot be measured yet does not count."""
        violations = [limit.violation(metrics, self.baseline) for limit in self.limits]
        return all(violation is None or violation <= 0 for violation in violations)

    def missing(self, metrics: Metrics) -> str | None:
        """The first metric without which a finished trial is no result."""
        names = [aim.metric for aim in self.aims] + [limit.metric for limit in self.limits]
        return next((name for name in names if not math.isfinite(metrics.get(name, math.nan))), None)

    def result(self, record: TrialRecord) -> bool:
        """Whether it has a place in the comparison: finished, everything measured, not a finalist."""
        finished = record.state == "done" and record.role != "finalist"
        return finished and self.missing(record.metrics) is None

    def counts(self, record: TrialRecord) -> bool:
        """Whether it may be a member of the front."""
        return self.result(record) and self.allowed(record.metrics)

    def values(self, record: TrialRecord) -> list[float]:
        """Its objectives, in order; NaN where one was not measured."""
        return [record.metrics.get(aim.metric, math.nan) for aim in self.aims]

    def front(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Finished trials within the limits that none dominates (finalists apart), by the first objective."""
        finished = [record for record in records if self.counts(record)]
        if not finished:
            return []
        mask = front([self.values(record) for record in finished], [aim.goal for aim in self.aims])
        members = [record for record, inside in zip(finished, mask, strict=True) if inside]
        sign = -1 if self.aims[0].goal == "max" else 1
        return sorted(members, key=lambda record: (sign * self.values(record)[0], record.number))

    def winner(self, records: Iterable[TrialRecord]) -> TrialRecord | None:
        """The search trial that controls answer to: of those that grew something, the best by the first objective."""
        grown = [r for r in records if r.role == "search" and facts(r.config["method"]).grows]
        return next(iter(self.front(grown)), None)

    def hypervolume(self, records: Sequence[TrialRecord]) -> float | None:
        """The volume the search trials dominate; None where an objective has no reference (yet)."""
        corner = [aim.reference for aim in self.resolved(records)]
        known = [value for value in corner if value is not None]
        if len(known) < len(corner):
            return None
        values = [self.values(record) for record in records if self.counts(record) and record.role == "search"]
        return hypervolume(values, [aim.goal for aim in self.aims], known) if values else 0.0

    def resolved(self, records: Iterable[TrialRecord]) -> tuple[Aim, ...]:
        """The objectives with the references that stand in where none is given."""
        sizes = (r.metrics["params_baseline"] for r in records if "params_baseline" in r.metrics)
        size = next(sizes, None)
        return tuple(
            aim if aim.reference is not None else replace(aim, reference=_default(aim.metric, size))
            for aim in self.aims
        )  # fmt: skip


def ranking_of(spec: Mapping[str, Any], records: Iterable[TrialRecord] = ()) -> Ranking:
    """The ranking that a spec, as plain data, asks for, knowing these records."""
    objectives = spec.get("objectives") or [{"metric": "dev_eer"}]
    aims = [Aim(one["metric"], one.get("goal", "min"), one.get("reference")) for one in objectives]
    ranking = Ranking(aims, [parse_constraint(text) for text in spec.get("constraints") or ()])
    for record in records:
        ranking.note(record)
    return ranking


def _default(metric: str, baseline_size: float | None) -> float | None:
    """EER 50 is chance, a ratio of 1.1 is dearer than full fine-tuning, a network may grow by half."""
    if metric.endswith("eer"):
        return 50.0
    if metric.endswith("ratio"):
        return 1.1
    if metric.startswith("params"):
        return None if baseline_size is None else 1.5 * baseline_size
    return None
