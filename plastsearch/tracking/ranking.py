"""Where a sweep stands by its records: who counts, the front, its best member, the volume it dominates.

The driver asks while the sweep runs, and the report asks afterwards: one answer for both.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from plastsearch.pareto.attainment import gain
from plastsearch.pareto.front import front, hypervolume
from plastsearch.pareto.truths import Shares, shares
from plastsearch.spec.constraints import Constraint, parse_constraint
from plastsearch.spec.methods import facts
from plastsearch.spec.sweep import Objective
from plastsearch.tracking.records import TrialRecord, known
from plastsearch.tracking.replicates import Replicates

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Ranking:
    """Objectives and constraints, applied to records."""

    objectives: Sequence[Objective]
    constraints: Sequence[Constraint] = ()
    baseline: dict[str, float] = field(default_factory=dict)  # of the control; filled when it ends
    replicates: Replicates = field(default_factory=Replicates)
    _yardsticks: list[TrialRecord] = field(default_factory=list)

    def note(self, record: TrialRecord) -> None:
        """Learn what limits relative to the baseline mean, and what a trial is worth with other seeds."""
        if record.apart:
            return
        self.replicates.note(record)
        if record.yardstick and record.state == "done":
            self.baseline.update(record.metrics)
            self._yardsticks[:] = [record]  # told again on a resume

    def allowed(self, metrics: Metrics) -> bool:
        """Whether it keeps within all limits; one that cannot be measured yet does not count."""
        # A limit relative to the baseline cannot be judged before that has ended; until then nobody is turned away.
        baseline = self.baseline
        if self.replicates.twice and self._yardsticks:  # means of trials keep to limits by the baseline's mean
            baseline = {**baseline, **self.means(self._yardsticks[-1])}
        violations = [limit.violation(metrics, baseline) for limit in self.constraints]
        return all(violation is None or violation <= 0 for violation in violations)

    def missing(self, metrics: Metrics) -> str | None:
        """The first metric without which a finished trial is no result."""
        # Limits, too: a trial that could not be measured against one must not win by that.
        names = [one.metric for one in self.objectives] + [limit.metric for limit in self.constraints]
        return next((name for name in names if not math.isfinite(metrics.get(name, math.nan))), None)

    def result(self, record: TrialRecord) -> bool:
        """Whether it has a place in the comparison: finished, everything measured, no further run of another trial."""
        finished = record.state == "done" and record.role in ("search", "control") and not record.apart
        return finished and self.missing(record.metrics) is None

    def counts(self, record: TrialRecord) -> bool:
        """Whether it may be a member of the front."""
        return self.result(record) and self.allowed(self.means(record))

    def means(self, record: TrialRecord) -> dict[str, float]:
        """Its metrics; those that limits and objectives ask for are means over its seeds."""
        if not self.replicates.twice:
            return record.metrics
        names = {one.metric for one in self.objectives} | {limit.metric for limit in self.constraints}
        found = {name: self.replicates.value(record, name) for name in names}
        return {**record.metrics, **known(found)}

    def values(self, record: TrialRecord) -> list[float]:
        """Its objectives, in order, by their means over its seeds; NaN where one was not measured."""
        metrics = self.means(record)
        return [metrics.get(one.metric, math.nan) for one in self.objectives]

    def revised(self, records: Mapping[int, TrialRecord]) -> dict[int, tuple[list[float], int]]:
        """Search trials of several seeds: their objectives by means, beside single runs, and how many runs."""
        found = {}
        for number, runs in self.replicates.runs.items():
            record = records.get(number)
            if len(runs) < 2 or record is None or record.role != "search" or not self.result(record):
                continue
            values = [self.replicates.relative(record, one.metric) for one in self.objectives]
            known_values = [value for value in values if value is not None]
            if len(known_values) == len(values):
                found[number] = (known_values, len(runs))
        return found

    def membership(self, records: Iterable[TrialRecord]) -> dict[int, float]:
        """How likely each trial that counts is a member of the front; empty while no trial has run twice."""
        return {number: share for number, (share, _) in self.shares(records).items()}

    def shares(self, records: Iterable[TrialRecord]) -> dict[int, tuple[float, float]]:
        """How likely each trial that counts is a member of the front, and how likely the winner; else as above."""
        counted = [record for record in records if self.counts(record)]
        variances = [self.replicates.variance(one.metric) for one in self.objectives]
        known_variances = [variance for variance in variances if variance is not None]
        if not counted or len(known_variances) < len(variances):
            return {}
        found: Shares = shares(
            [self.values(record) for record in counted],
            known_variances,
            [self.replicates.count(record.number) for record in counted],
            [one.goal for one in self.objectives],
            freedoms=[self.replicates.freedom(one.metric) for one in self.objectives],
            candidates=[_may_win(record) for record in counted],
        )
        pairs = zip(found.front.tolist(), found.best.tolist(), strict=True)
        return {record.number: pair for record, pair in zip(counted, pairs, strict=True)}

    def front(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Finished trials within the limits that none dominates (finalists apart), by the first objective."""
        finished = [record for record in records if self.counts(record)]
        if not finished:
            return []
        mask = front([self.values(record) for record in finished], [one.goal for one in self.objectives])
        members = [record for record, inside in zip(finished, mask, strict=True) if inside]
        sign = -1 if self.objectives[0].goal == "max" else 1
        return sorted(members, key=lambda record: (sign * self.values(record)[0], record.number))

    def winner(self, records: Iterable[TrialRecord]) -> TrialRecord | None:
        """The search trial that controls answer to: of those that grew something, the best by the first objective."""
        return next(iter(self.front(record for record in records if _may_win(record))), None)

    def hypervolume(self, records: Sequence[TrialRecord]) -> float | None:
        """The volume the search trials dominate; None where an objective has no reference (yet)."""
        corner = [one.reference for one in self.resolved(records)]
        known = [value for value in corner if value is not None]
        if len(known) < len(corner):
            return None
        # The search alone: with controls in it a volume would rise without anything having been found.
        values = [self.values(record) for record in records if self.counts(record) and record.role == "search"]
        return hypervolume(values, [one.goal for one in self.objectives], known) if values else 0.0

    def gain(self, records: Sequence[TrialRecord]) -> float | None:
        """What the search dominates beyond the baseline, of all that it leaves (pareto/attainment.py); 0 to 1."""
        corner = [one.reference for one in self.resolved(records)]
        known = [value for value in corner if value is not None]
        own = next((self.values(one) for one in reversed(records) if one.yardstick and self.result(one)), None)
        if len(known) < len(corner):
            return None
        values = [self.values(record) for record in records if self.counts(record) and record.role == "search"]
        return gain(values, own, [one.goal for one in self.objectives], known)

    def resolved(self, records: Iterable[TrialRecord]) -> tuple[Objective, ...]:
        """The objectives with the references that stand in where none is given."""
        sizes = (r.metrics["params_baseline"] for r in records if "params_baseline" in r.metrics)
        size = next(sizes, None)
        return tuple(
            one if one.reference is not None else one.model_copy(update={"reference": _default(one.metric, size)})
            for one in self.objectives
        )  # fmt: skip


def ranking_of(spec: Mapping[str, JsonValue], records: Iterable[TrialRecord] = ()) -> Ranking:
    """The ranking that a spec, as plain data, asks for, knowing these records."""
    constraints = spec.get("constraints")
    limits = [parse_constraint(str(text)) for text in constraints] if isinstance(constraints, list) else []
    ranking = Ranking(objectives_of(spec), limits)
    for record in records:
        ranking.note(record)
    return ranking


def objectives_of(spec: Mapping[str, JsonValue]) -> list[Objective]:
    """What a spec, as plain data, asks for; a very old one did not say, and meant the error rate."""
    asked = spec.get("objectives")
    said = [_objective(one) for one in asked if isinstance(one, dict)] if isinstance(asked, list) else []
    return said or [Objective(metric="dev_eer")]


def _may_win(record: TrialRecord) -> bool:
    return record.role == "search" and facts(str(record.config["method"])).grows


def _objective(plain: Mapping[str, JsonValue]) -> Objective:
    """Not validated: a sweep of an older program may have asked for what this one does not measure any more."""
    goal, reference = plain.get("goal"), plain.get("reference")
    return Objective.model_construct(
        metric=str(plain["metric"]), goal="max" if goal == "max" else "min",
        reference=reference if isinstance(reference, int | float) else None,
    )  # fmt: skip


def _default(metric: str, baseline_size: float | None) -> float | None:
    """EER 50 is chance, a ratio of 1.1 is dearer than full fine-tuning, a network may grow by half."""
    if metric.endswith("eer"):
        return 50.0
    if metric.endswith("ratio"):
        return 1.1
    if metric.startswith("params"):
        return None if baseline_size is None else 1.5 * baseline_size
    return None
