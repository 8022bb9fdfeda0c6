"""Explore or repeat? Which trial of a noisy search should run with a further seed, so that the front can be believed.

The rule: the first (1 - share) of all runs explore. Then whoever is the most in doubt runs again: whether it is on the
front, and, which counts three times, whether it is the winner. It takes the lowest seed that it has not run with, so
that seeds are common; a seed is opened by the baseline, which everything is compared with. Once every membership and
the winner are certain, exploring goes on with what is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from plastsearch.pareto.truths import CERTAIN
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord

OF_WINNER = 3.0  # what doubt about the winner counts, beside doubt about a membership: it is what a user takes home
PILOT = 4  # degrees of freedom of the spread between seeds, below which it is too vague to decide anything by


@dataclass(frozen=True)
class Repeat:
    """Run this trial once more, with its own seed plus `offset`."""

    trial: TrialRecord
    offset: int


class Repeating(Protocol):
    """A rule on who runs again."""

    def next(self, records: Mapping[int, TrialRecord]) -> Repeat | None:
        """Who should run again now; None: explore."""

    def uncertain(self, records: Mapping[int, TrialRecord]) -> Repeat | None:
        """Who should run again, whether or not there would be something to explore; None: nobody."""


@dataclass(frozen=True)
class Replication:
    """Decides from the records alone, so that a resumed sweep comes to the same."""

    ranking: Ranking
    trials: int  # runs of the whole search, of either kind
    share: float  # of these, which may be repeats
    seeds: int  # of one trial, at most
    certain: float = CERTAIN

    def next(self, records: Mapping[int, TrialRecord]) -> Repeat | None:
        """Who should run again now; None: explore."""
        explored = sum(record.role == "search" for record in records.values())
        if explored < explored_first(self.trials, self.share):
            return None
        return self.uncertain(records)

    def uncertain(self, records: Mapping[int, TrialRecord]) -> Repeat | None:
        """The trial that one more seed would tell most about; None: all is certain, or nothing is known."""
        offsets = _offsets(records)
        if self.ranking.replicates.freedom(self.ranking.objectives[0].metric) < PILOT:
            return self._pilot(records, offsets)
        shares = self.ranking.shares(records.values())
        settled = any(best >= self.certain for _, best in shares.values())
        best, most = None, 0.0
        front = {record.number for record in self.ranking.front(records.values())}
        for number, (share, best_share) in shares.items():
            runs = len(offsets[number])
            if runs >= self.seeds:
                continue
            # One run in the front is never certain: that it looks best and that it was lucky are the same event.
            doubt = self.doubt(share) or (0.09 if number in front and runs == 1 else 0.0)
            doubt += 0.0 if settled else OF_WINNER * best_share * (1 - best_share)
            gain = doubt / (runs + 1)  # how far one more run narrows what is known of it
            if gain > most:
                best, most = records[number], gain
        return None if best is None else self._opened(best, offsets, records)

    def doubt(self, share: float) -> float:
        """The variance of a membership; 0 once it is certain either way."""
        return 0.0 if max(share, 1 - share) >= self.certain else share * (1 - share)

    def _pilot(self, records: Mapping[int, TrialRecord], offsets: Mapping[int, set[int]]) -> Repeat | None:
        """How far seeds scatter is not known yet: a second run of each, the front and then the best first."""
        searched = [one for one in records.values() if one.role == "search" and self.ranking.counts(one)]
        sign = -1 if self.ranking.objectives[0].goal == "max" else 1
        by_first = sorted(searched, key=lambda one: (sign * self.ranking.values(one)[0], one.number))
        order = [*self.ranking.front(searched), *by_first]
        fewest = min(order, key=lambda one: len(offsets[one.number]), default=None)
        if fewest is None or len(offsets[fewest.number]) >= self.seeds:
            return None
        return self._opened(fewest, offsets, records)

    def _opened(
        self, record: TrialRecord, offsets: Mapping[int, set[int]], records: Mapping[int, TrialRecord]
    ) -> Repeat:
        """Its next seed; the baseline goes first where it has not run with that."""
        offset = _lowest(offsets[record.number])
        baseline = next((one for one in records.values() if one.yardstick and self.ranking.result(one)), None)
        if baseline is not None and offset not in offsets[baseline.number]:
            return Repeat(baseline, offset)
        return Repeat(record, offset)


@dataclass(frozen=True)
class EverySeed:
    """All trials run with the same number of seeds: one pass over all of them for each."""

    ranking: Ranking
    trials: int  # runs of the whole search, of either kind
    seeds: int

    def next(self, records: Mapping[int, TrialRecord]) -> Repeat | None:
        """The first that lacks a seed, once as many as can have all have been explored; None: explore."""
        explored = sum(record.role == "search" for record in records.values())
        baseline = any(record.yardstick for record in records.values())
        fit = (self.trials - (self.seeds - 1 if baseline else 0)) // self.seeds
        return None if explored < max(1, fit) else self.uncertain(records)

    def uncertain(self, records: Mapping[int, TrialRecord]) -> Repeat | None:
        """Whoever lacks a seed that all are to have."""
        offsets = _offsets(records)
        entrants = [one for one in records.values() if (one.role == "search" or one.yardstick) and one.state == "done"]
        entrants.sort(key=lambda one: (not one.yardstick, one.number))  # the baseline opens each seed
        missing = ((offset, one) for offset in range(1, self.seeds) for one in entrants)
        return next((Repeat(one, offset) for offset, one in missing if offset not in offsets[one.number]), None)


def explored_first(trials: int, share: float) -> int:
    """How many runs explore before the first repeats."""
    return max(1, round((1 - share) * trials))


def _offsets(records: Mapping[int, TrialRecord]) -> dict[int, set[int]]:
    """Seeds each trial has run with or is about to, relative to its own; a failed one is not tried for ever."""
    found = {number: {0} for number, record in records.items() if record.role in ("search", "control")}
    for record in records.values():
        if record.role == "replicate" and record.of in found and record.seed is not None:
            found[record.of].add(record.seed - records[record.of].trial_config.seed)
    return found


def _lowest(taken: set[int]) -> int:
    return next(offset for offset in range(len(taken) + 1) if offset not in taken)
