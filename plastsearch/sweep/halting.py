"""Which trials are not worth finishing: halving and median rules at rungs, on one metric or on all objectives at once.

A rung is a fraction of the steps after growth: what a shared `train` stage reports is the same for all trials.
The state is a function of the reports in the journal, so a resumed sweep decides as if it had never been killed.
"""

import contextlib
import math
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from plastsearch.pareto.foretelling import LOW
from plastsearch.pareto.layers import Layers
from plastsearch.spec.sweep import Halt, Objective, SweepSpec
from plastsearch.store.room import forget_checkpoints
from plastsearch.tracking.early import Foretold, foretold, progress
from plastsearch.tracking.events import Ended, Event, Reported
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord, known

Rule = Literal["asha", "median", "moasha"]
Scores = dict[str, float]


@dataclass
class Halting:
    """Remembers what every trial had reached at each rung; `asha` and `median` look at the first objective only."""

    rule: Rule
    objectives: Sequence[Objective]
    rungs: tuple[float, ...] = (0.25, 0.5)
    eta: float = 2.0
    least: int = 4  # trials at a rung before anything is halted there
    _reached: list[dict[int, Scores]] = field(default_factory=list)
    _order: list["_Sorted | _Layered"] = field(default_factory=list)  # the same, as the rule looks at it

    def __post_init__(self) -> None:
        self.rungs = tuple(sorted(self.rungs))
        self._reached = [{} for _ in self.rungs]
        one = self.objectives[0]
        self._order = [_Layered(self.objectives) if self.rule == "moasha" else _Sorted(one) for _ in self.rungs]

    def replay(self, records: Iterable[TrialRecord]) -> set[int]:
        """Take in the reports of an earlier session, in the order in which they were written; who was to be halted."""
        # A rule sees who reached a rung before: reports of two trials in another order may halt the other one.
        reports = [(report.at, r.number, i, r) for r in records for i, report in enumerate(r.history)]
        to_halt = set()
        for _, number, i, record in sorted(reports, key=lambda entry: entry[:3]):
            if record.role == "search" and self._decide(record, record.history[: i + 1]):
                to_halt.add(number)
        return to_halt

    def halts(self, record: TrialRecord) -> bool:
        """Take in the record's last report; True if it should not go on."""
        return self._decide(record, record.history)

    def _decide(self, record: TrialRecord, history: Sequence[Reported]) -> bool:
        rung = self._note(record, history)  # also where nothing is decided: later trials are compared with this one
        if rung is None or len(self._reached[rung]) < self.least:
            return False
        # Decided as soon as a trial arrives, as ASHA does, not once a rung is full: no slot stands idle, at the price
        # that early arrivals are judged by few others.
        order = self._order[rung]
        if isinstance(order, _Sorted) and self.rule == "median":
            return order.beyond_median()
        return order.before() >= max(1, math.ceil(len(self._reached[rung]) / self.eta))

    def _note(self, record: TrialRecord, history: Sequence[Reported]) -> int | None:
        """Store the scores at every rung just crossed; the highest of them."""
        done = progress(history)
        if done is None:
            return None
        scores = self._scores(history)
        crossed = None
        # One report may cross several rungs, and a trial that began again crosses some anew: the first time counts.
        for i, rung in enumerate(self.rungs):
            if done >= rung and scores and record.number not in self._reached[i]:
                self._reached[i][record.number] = scores
                self._order[i].add(scores, self._reached[i].values())
                crossed = i
        return crossed

    def _scores(self, history: Sequence[Reported]) -> Scores:
        # Reports differ in what they hold (an evaluation's error, a stage's size): the latest of each metric counts.
        latest: Scores = {}
        for report in history:
            latest.update(known(report.metrics))
        objectives = self.objectives if self.rule == "moasha" else self.objectives[:1]
        return {one.metric: latest[one.metric] for one in objectives if one.metric in latest}


def halting_of(spec: SweepSpec, ranking: Ranking) -> Halting | None:
    """The halting rule; those on one metric take its goal from the objectives, if it is one."""
    halt = spec.halt
    if halt.kind == "none":
        return None
    own = next((one for one in ranking.objectives if one.metric == halt.metric), Objective(metric=halt.metric))
    objectives = ranking.objectives if halt.kind == "moasha" else [own]
    return Halting(halt.kind, objectives, halt.rungs, halt.eta, halt.least)


class _Sorted:
    """Values of one metric in order, the newest known: a decision does not look at all of them."""

    def __init__(self, objective: Objective) -> None:
        self._metric = objective.metric
        self._sign = -1.0 if objective.goal == "max" else 1.0
        self._values: list[float] = []
        self._newest = 0.0

    def add(self, scores: Scores, _all: Collection[Scores]) -> None:
        self._newest = self._sign * scores[self._metric]
        insort(self._values, self._newest)

    def before(self) -> int:
        """How many are better than the newest."""
        return bisect_left(self._values, self._newest)

    def beyond_median(self) -> bool:
        """Whether the newest is worse than the median of the others."""
        own, count = self.before(), len(self._values) - 1
        low, high = (self._values[at + (at >= own)] for at in ((count - 1) // 2, count // 2))
        return self._newest > (low + high) / 2


class _Layered:
    """Non-dominated layers over the objectives that all have reported."""

    # Our own rule: Ray's ASHA takes one metric, and Optuna prunes nothing where there are several objectives. Ranks
    # need the same values of all, so an objective that somebody has not reported yet is left out.
    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._common = list(objectives)
        self._layers = self._of([])
        self._before = 0

    def add(self, scores: Scores, everybody: Collection[Scores]) -> None:
        common = [one for one in self._common if one.metric in scores]
        if len(common) < len(self._common):
            self._common = common
            self._layers = self._of(list(everybody)[:-1])
        if common:
            self._before = self._layers.add([scores[one.metric] for one in common])

    def before(self) -> int:
        """How many lie in layers before that of the newest; none where nothing can be compared."""
        return self._before if self._common else 0

    def _of(self, everybody: Sequence[Scores]) -> Layers:
        goals = [one.goal for one in self._common]
        return Layers(goals or ["min"], [[scores[one.metric] for one in self._common] for scores in everybody if goals])


def warning(found: Sequence[Foretold], rule: Rule) -> str | None:
    """What to say of a rule whose rungs foretell little; None while all is well, or nothing is known."""
    low = [one for one in found if one.correlation < LOW]
    if not low:
        return None
    worst = min(low, key=lambda one: one.correlation)
    return (
        f"halting by {rule}: at {worst.share:.0%} of the steps after growth results hardly foretell the last ones "
        f"(rank correlation {worst.correlation:.2f} over {worst.trials} trials that ended, below {LOW:g}); it may stop "
        "the best trials. Later rungs (halt.rungs), a larger halt.eta, or halt: {kind: none} are safer"
    )


class HaltingWatch:
    """Warns, once in a session, when trials that ended show that the rungs foretell little."""

    def __init__(self, halt: Halt, records: Mapping[int, TrialRecord], say: Callable[[str], None]) -> None:
        self._halt = halt
        self._records = records
        self._say = say
        self._said = halt.kind == "none"

    def feed(self, event: Event) -> None:
        """Look again whenever a trial has ended."""
        if self._said or self._halt.kind == "none" or not isinstance(event, Ended) or event.state != "done":
            return
        found = foretold(list(self._records.values()), self._halt.metric, self._halt.rungs)
        text = warning(found, self._halt.kind)
        if text is not None:
            self._said = True
            self._say(text)

    def close(self) -> None:
        """Nothing is open."""


class HaltedCheckpoints:
    """Deletes the checkpoints of halted trials: nobody goes on from them, and each holds a network and its optimiser.

    A worker that is told to stop still holds its stage for a while, so they are asked for whenever a trial ends. Those
    that stay (a worker on another node was killed) go with the next session, or with `plastsearch store gc`.
    """

    def __init__(self, store: Path, records: Mapping[int, TrialRecord]) -> None:
        self._store = store
        self._records = records
        self._halted = {record.id for record in records.values() if record.state == "halted"}

    def feed(self, event: Event) -> None:
        """Remember who was halted; delete what can be deleted now."""
        if isinstance(event, Ended):
            if event.state == "halted":
                self._halted.add(self._records[event.trial].id)
            self._delete()

    def close(self) -> None:
        """Delete what is left, now that nothing runs any more."""
        self._delete()

    def _delete(self) -> None:
        if self._halted:
            with contextlib.suppress(OSError):  # a file server that does not answer: they are asked for again
                self._halted = forget_checkpoints(self._store, self._halted)
