"""When a sweep will be over: what is still to run, part by part, and how long such runs took here.

Without waits, which are another trial's time, and without halted and failed trials, which end too early to tell: that
makes it late rather than early.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from plastsearch.spec.methods import Runs
from plastsearch.sweep.budget import SEARCHING
from plastsearch.tracking.records import TrialRecord


@dataclass(frozen=True)
class Part:
    """Runs of one kind: how many a sweep makes at most, and how many have ended."""

    name: str
    planned: int
    ended: int

    @property
    def words(self) -> str:
        """As a display says it."""
        return f"{self.ended}/{self.planned} {self.name}"


def part_of(record: TrialRecord) -> str:
    """The part that a run belongs to."""
    if record.role in SEARCHING:
        return "trials"
    return "finalists" if record.role == "finalist" else "controls"


def parts(records: Collection[TrialRecord], runs: Runs) -> list[Part]:
    """What a sweep consists of, in the order in which it is over; what it does not plan and has not run is left out."""
    planned = {"trials": runs.search, "controls": runs.controls, "finalists": runs.finalists}
    ended = dict.fromkeys(planned, 0)
    for record in records:
        ended[part_of(record)] += record.ended
    # A resume may have asked for fewer than there are already.
    return [Part(name, max(n, ended[name]), ended[name]) for name, n in planned.items() if n or ended[name]]


@dataclass(frozen=True)
class Expected:
    """What is still to run and how long that takes, as known when the last run ended."""

    parts: Sequence[Part]
    each_s: Mapping[str, float]  # by part; empty before anything is known of how long runs take
    starts_s: Mapping[str, float]  # by part, what its runs have to train first

    def left_s(self, running: Sequence[TrialRecord], slots: int, now: float) -> float | None:
        """Seconds until the last finalist has ended."""
        if not self.each_s:
            return None
        return sum(self._part_s(part, [one for one in running if part_of(one) == part.name], slots, now)
                   for part in self.parts)  # fmt: skip

    def _part_s(self, part: Part, running: Sequence[TrialRecord], slots: int, now: float) -> float:
        to_come, each = part.planned - part.ended, self.each_s[part.name]
        if to_come <= 0:
            return 0.0
        work = to_come * each + self.starts_s.get(part.name, 0.0)
        work -= sum(min(each, max(0.0, now - one.started_at)) for one in running if one.started_at is not None)
        # The last few leave slots idle: it takes as long as one of its runs, at least, unless all of them are at work.
        return max(work / slots, each if to_come > len(running) else 0.0)


def expected(records: Sequence[TrialRecord], runs: Runs) -> Expected:
    """From all records; asks none that has not ended."""
    done = [record for record in records if record.state == "done"]
    # What trials begin with is trained by one of them and reused by the others.
    starts = [seconds for record in done if (seconds := record.metrics.get("reused_seconds", 0.0)) > 0]
    start = fmean(starts) if starts else 0.0
    took: dict[str, list[float]] = {"trials": [], "controls": [], "finalists": [], "others": []}
    for record in done:
        seconds = _work(record, start)
        took[part_of(record)].append(seconds)
        if part_of(record) == "controls" and not record.yardstick:  # which grows nothing: others take as long as trials
            took["others"].append(seconds)
    usual = took["trials"] or took["controls"]
    each = {"trials": usual, "controls": took["others"] or usual, "finalists": took["finalists"] or usual}
    # Each seed of the finalists begins with a start of its own, which the first run of that seed trains.
    begun = {record.seed for record in records if record.role == "finalist" and record.ended}
    return Expected(
        parts(records, runs),
        {name: fmean(seconds) for name, seconds in each.items()} if usual else {},
        {"finalists": start * max(0, runs.seeds - len(begun))},
    )


def _work(record: TrialRecord, start_s: float) -> float:
    """A run's own seconds, without those of a start that others reuse."""
    own = record.seconds - record.metrics.get("waited_seconds", 0.0)
    alone = "reused_seconds" in record.metrics and not record.metrics["reused_seconds"]
    return max(own - start_s, 0.0) if alone else own
