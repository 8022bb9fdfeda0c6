"""When a sweep has had enough: trials, wall time, GPU-hours, a volume reached, no gain for long, too many failures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord


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


@dataclass(frozen=True)
class Spent:
    """Where the search stands."""

    records: Sequence[TrialRecord]
    wall_s: float


def exhausted(limits: Limits, ranking: Ranking, spent: Spent) -> str | None:
    """Why no further trial should be proposed; None if one may. `trials` is the plan, the others cut it short."""
    search = [record for record in spent.records if record.role == "search"]
    if limits.trials is not None and len(search) >= limits.trials:
        return "trials"
    if limits.wall_s is not None and spent.wall_s >= limits.wall_s:
        return f"wall time: {limits.wall_s / 60:g} min are spent"
    if limits.gpu_hours is not None:
        # Of all records, not of the search alone: controls, failed and lost attempts are on the same bill.
        hours = sum(record.gpu_seconds for record in spent.records) / 3600
        if hours >= limits.gpu_hours:
            return f"GPU-hours: {hours:.2f} of {limits.gpu_hours:g} are spent"
    # Last, for a hypervolume is the dearest question, and it is asked at every proposal.
    if limits.hypervolume is None and limits.stagnation is None:
        return None
    return _enough(limits, ranking, spent.records, search)


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


def failing(limits: Limits, records: Sequence[TrialRecord], *, at_end: bool = False) -> str | None:
    """The likely common cause, once too large a share of the trials has failed; at the end, few are enough."""
    # Duplicates share the fate of the trial they repeat: one cause would count several times.
    failed = [record for record in records if record.state == "failed" and record.reuse_of is None]
    if len(failed) < (1 if at_end else limits.failed_floor):
        return None
    own = [record for record in records if record.ended and record.reuse_of is None]
    if len(failed) <= limits.max_failed_fraction * len(own):
        return None
    cause, count = common_cause(failed)
    return f"{len(failed)} of {len(own)} trials failed; {count} of them: {cause}"


def common_cause(failed: Sequence[TrialRecord]) -> tuple[str, int]:
    """The most frequent reason, numbers aside, and how often it was given."""
    groups: dict[str, list[str]] = {}
    for record in failed:
        reason = record.reason or "no reason given"
        # Numbers aside: `worker 4711 died` and `worker 4712 died` are one cause.
        groups.setdefault(re.sub(r"\d+", "#", reason), []).append(reason)
    members = max(groups.values(), key=len)
    return members[0], len(members)
