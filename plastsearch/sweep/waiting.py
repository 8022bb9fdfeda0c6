"""Who waits for whom: trials share a first stage, which one of them computes; others need a stage somebody computes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from plastsearch.errors import PlastsearchError
from plastsearch.tracking.records import TrialRecord
from plastsearch.trial.keys import foreseen, stage_keys
from plastsearch.trial.methods import stages_of

_SOME = 1000  # clips: their number is the same for all, so the names only differ where the trials do
FirstStage = Callable[[TrialRecord], str | None]


def first_stage(record: TrialRecord) -> str | None:
    """The first stage by the name it would have in the stage store; None: nothing that could be shared."""
    config = record.trial_config
    try:
        first = stages_of(config, _SOME)[0]
        return stage_keys(config, [first], foreseen(config))[0].key if first.name == "train" else None
    except PlastsearchError:
        return None  # the trial will say what is wrong


class FirstStages:
    """Remembers what each trial begins with and which of these stages are finished."""

    def __init__(self, records: Mapping[int, TrialRecord], name: FirstStage = first_stage) -> None:
        self._records = records
        self._name = name  # of a trial's first stage
        self._names: dict[int, str | None] = {}
        self._finished: set[str] = set()  # by what was heard: the driver never looks into the store, which may be far
        for record in list(records.values()):
            self.hear(record)

    def hear(self, record: TrialRecord) -> None:
        """Take notice of a trial that is past its first stage: nobody has to wait for that stage any more."""
        name = self._of(record)
        if name is None or name in self._finished:
            return
        if record.stage not in {None, "train"} or any(report.boundary for report in record.history):
            self._finished.add(name)

    def awaited(self, record: TrialRecord) -> TrialRecord | None:
        """The other trial that is just computing what this one begins with: of those that run, the first to start."""
        name = self._of(record)
        if name is None or name in self._finished or record.state != "running" or record.stage is not None:
            return None
        # The first to start holds the stage's lease; the others ask for it, one after the other.
        running = [one for one in list(self._records.values()) if one.state == "running" and self._of(one) == name]
        first = min(running, key=lambda one: (one.started_at or 0.0, one.number))
        return None if first is record else first

    def all_wait(self, record: TrialRecord) -> bool:
        """Whether all trials so far begin with one stage that is not finished: then nobody else has work for a slot."""
        name = self._of(record)
        if name is None or name in self._finished:
            return False
        return all(self._of(one) == name for one in self._records.values())

    def _of(self, record: TrialRecord) -> str | None:
        if record.number not in self._names:
            self._names[record.number] = self._name(record)
        return self._names[record.number]


@dataclass(frozen=True)
class Deferred:
    """Since when a trial waits, and how many trials had ended by then."""

    ended: int
    since_s: float


class WaitingTrials:
    """Trials that were proposed and wait for a slot: those to run again, and those deferred for a stage they need.

    A slot is rather given to others than left waiting for a stage; but somebody has to ask for the stage, so the
    longest deferred trial waits in a slot of its own once nothing else is to be done.
    """

    def __init__(self) -> None:
        self._again: list[int] = []
        self._deferred: dict[int, Deferred] = {}
        self._waited_s: dict[int, float] = {}

    def __bool__(self) -> bool:
        return bool(self._again or self._deferred)

    def again(self, number: int) -> None:
        """Run it as soon as there is a slot."""
        self._again.append(number)

    def defer(self, number: int, ended: int) -> None:
        """Another process computes what it needs next: give its slot to others."""
        self._deferred[number] = Deferred(ended, time.monotonic())

    def ready(self, ended: int, slots: int) -> tuple[int, bool] | None:
        """A trial to run now, before any new one, and whether it may be deferred again."""
        if self._again:
            return self._again.pop(0), True
        # While no trial has ended, the stage it needs is most likely still being computed: it would be Busy again.
        for number, deferred in self._deferred.items():
            if deferred.ended < ended:
                return self._leave(number), True
        # More deferred trials than slots would only add proposals that know no results.
        return self.longest() if len(self._deferred) >= slots else None

    def longest(self) -> tuple[int, bool] | None:
        """The longest deferred trial, this time to wait in its own slot."""
        return (self._leave(next(iter(self._deferred))), False) if self._deferred else None

    def waited_s(self, number: int) -> float | None:
        """How long it has been deferred in all; forgotten with the answer, which goes into the journal."""
        return self._waited_s.pop(number, None)

    def _leave(self, number: int) -> int:
        waited_s = time.monotonic() - self._deferred.pop(number).since_s
        self._waited_s[number] = self._waited_s.get(number, 0.0) + waited_s
        return number
