"""When a sweep has had enough: trials, wall time, GPU-hours, a volume reached, no gain for long, many failures."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.events import Ended, Event, Proposed, Retried
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord

SEARCHING = ("search", "replicate")  # what `search.trials` counts


@dataclass(frozen=True)
class Limits:
    """What a sweep may spend and bear; None: no limit."""

    trials: int | None = None
    wall_s: float | None = None
    gpu_hours: float | None = None
    hypervolume: float | None = None
    stagnation: int | None = None  # trials without gain in hypervolume
    max_failures: int = 2  # of one trial, before it counts as failed
    max_losses: int = 8  # nodes that went down under one trial: it may be the cause, so this has an end, too
    max_failed_fraction: float = 0.5
    failed_floor: int = 4  # so many failed trials at least, before their share counts
    trial_timeout_s: float | None = None

    def bear(self, record: TrialRecord, *, blameless: bool) -> bool:
        """Whether a trial may run once more after a failure; `blameless`: its node went down."""
        # Counted apart: on spot nodes a good configuration loses many workers, while one that fails by itself comes
        # to the same end again and costs GPU time with every attempt.
        if blameless:
            return record.losses < self.max_losses
        return record.failures < self.max_failures


def limits_of(spec: SweepSpec) -> Limits:
    """What the spec allows to spend and to bear."""
    asked = spec.search
    return Limits(
        trials=asked.trials,
        wall_s=asked.wall_s,
        gpu_hours=asked.gpu_hours,
        hypervolume=asked.target_hypervolume,
        stagnation=asked.stagnation,
        max_failures=spec.max_failures,
        max_failed_fraction=spec.max_failed_fraction,
        trial_timeout_s=spec.trial_timeout_s,
    )


@dataclass
class Counted:
    """What budgets ask of all records, counted on with every event: to count anew takes longer with every trial."""

    searched: int = 0  # runs of the search, ended or not: trials and their replicates
    gpu_ms: int = 0  # whole, so that the order in which they are added makes no difference
    own: int = 0  # trials that ended, duplicates aside: one cause would count several times
    failed: int = 0  # of these

    @classmethod
    def of(cls, records: Iterable[TrialRecord]) -> Self:
        """Counted from the start."""
        found = cls()
        for record in records:
            found.searched += record.role in SEARCHING
            found.gpu_ms += round(1000 * record.gpu_seconds)
            found._count_end(record)
        return found

    def note(self, record: TrialRecord | None, event: Event) -> None:
        """Count on: this event has just been applied to the record."""
        if record is None:
            return
        if isinstance(event, Proposed):
            self.searched += record.role in SEARCHING
        elif isinstance(event, Retried | Ended):
            self.gpu_ms += round(1000 * event.gpu_seconds)
            self._count_end(record)

    def _count_end(self, record: TrialRecord) -> None:
        if record.ended and record.reuse_of is None:
            self.own += 1
            self.failed += record.state == "failed"


@dataclass(frozen=True)
class Spent:
    """Where the search stands."""

    records: Collection[TrialRecord]
    wall_s: float
    tally: Counted | None = None  # of these records, by whoever has it


def exhausted(limits: Limits, ranking: Ranking, spent: Spent) -> str | None:
    """Why no further trial should be proposed; None if one may. `trials` is the plan, the others cut it short."""
    tally = spent.tally or Counted.of(spent.records)
    if limits.trials is not None and tally.searched >= limits.trials:
        return "trials"
    if limits.wall_s is not None and spent.wall_s >= limits.wall_s:
        return f"wall time: {limits.wall_s / 60:g} min are spent"
    if limits.gpu_hours is not None:
        # Of all records, not of the search alone: controls, failed and lost attempts are on the same bill.
        hours = tally.gpu_ms / 3_600_000
        if hours >= limits.gpu_hours:
            return f"GPU-hours: {hours:.2f} of {limits.gpu_hours:g} are spent"
    # Last, for a hypervolume is the dearest question, and it is asked at every proposal.
    if limits.hypervolume is None and limits.stagnation is None:
        return None
    records = list(spent.records)
    return _enough(limits, ranking, records, [record for record in records if record.role == "search"])


def _enough(
    limits: Limits, ranking: Ranking, records: Sequence[TrialRecord], search: Sequence[TrialRecord]
) -> str | None:
    volume = ranking.hypervolume(records)
    if volume is None:
        return None
    if limits.hypervolume is not None and volume >= limits.hypervolume:
        return f"hypervolume: {volume:.6g} reached {limits.hypervolume:g}"
    # In the order of their ends: with several slots a trial proposed long ago may be the newest result.
    ended = sorted((r for r in search if r.ended), key=lambda r: (r.ended_at or 0.0, r.number))
    if limits.stagnation is None or len(ended) <= limits.stagnation:
        return None
    recent = {record.number for record in ended[-limits.stagnation :]}
    # Worked out anew instead of remembered, so that a resumed sweep ends at the same trial.
    before = ranking.hypervolume([record for record in records if record.number not in recent])
    # The tolerance is for sums in another order; a volume of 0 has found nothing yet, which is no stagnation.
    if before is not None and volume <= before * (1 + 1e-9) and before > 0:
        return f"stagnation: no gain in {limits.stagnation} trials"
    return None


def failing(
    limits: Limits, records: Collection[TrialRecord], *, at_end: bool = False, tally: Counted | None = None
) -> str | None:
    """The likely common cause, once too large a share of the trials has failed; at the end, few are enough."""
    tally = tally or Counted.of(records)
    if tally.failed < (1 if at_end else limits.failed_floor):
        return None
    if tally.failed <= limits.max_failed_fraction * tally.own:
        return None
    cause, count = common_cause([record for record in records if record.state == "failed" and record.reuse_of is None])
    return f"{tally.failed} of {tally.own} trials failed; {count} of them: {cause}"


def common_cause(failed: Sequence[TrialRecord]) -> tuple[str, int]:
    """The most frequent reason, numbers aside, and how often it was given."""
    groups: dict[str, list[str]] = {}
    for record in failed:
        reason = record.reason or "no reason given"
        # Numbers aside: `worker 4711 died` and `worker 4712 died` are one cause.
        groups.setdefault(re.sub(r"\d+", "#", reason), []).append(reason)
    members = max(groups.values(), key=len)
    return members[0], len(members)
