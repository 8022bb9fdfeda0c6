"""A sweep as a state machine on its journal: what runs next, and what becomes of what was heard. Executors serve it.

How a decision is worded for the journal: entries.py. Who waits for whom: waiting.py.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plastsearch.execute import worker
from plastsearch.execute.executor import Attempt
from plastsearch.execute.messages import Busy, Done, End, Failed, Message, Progress, Task
from plastsearch.search.proposer import Proposer
from plastsearch.sweep import entries
from plastsearch.sweep.budget import Limits, failing
from plastsearch.sweep.entries import TrialEnd
from plastsearch.sweep.halting import Halting
from plastsearch.sweep.phases import Phase
from plastsearch.sweep.state import SweepState
from plastsearch.sweep.waiting import FirstStages, WaitingTrials
from plastsearch.tracking.events import Retried, Started, note
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord

GRACE_S = 20.0  # between a first interrupt and the end of who has not reported


@dataclass(frozen=True)
class _HandedOut:
    attempt: Attempt
    since_s: float  # by the monotonic clock: a corrected wall clock must not make a trial negative


class Sweep:
    """The driver of one sweep: what runs next, and what becomes of it. One thread at a time calls it."""

    def __init__(
        self,
        state: SweepState,
        phases: Sequence[Phase],
        ranking: Ranking,
        limits: Limits,
        task: Callable[[TrialRecord, bool], Task],
        *,
        proposer: Proposer,
        halting: Halting | None = None,
        first_stages: FirstStages | None = None,
        slots: int = 1,
        gpus: float = 0.0,
        grace_s: float = GRACE_S,
    ) -> None:
        self.records = state.records
        self.slots = slots
        self.failure: str | None = None  # why the sweep ends although there is more to run
        self.no_room: str | None = None  # the disk is full: what was to run waits for a session with more
        self._state = state
        self._write = state.write
        self._phases = list(phases)
        self._ranking = ranking
        self._limits = limits
        self._task = task
        self._proposer = proposer
        self._halting = halting
        self._first_stages = first_stages or FirstStages(state.records, lambda _: None)
        self._gpus = gpus
        self._grace_s = grace_s
        self._running: dict[int, _HandedOut] = {}
        self._waiting = WaitingTrials()
        self._duplicates: list[int] = []  # take over a result that is still to come
        self._ended = 0
        self._number = max(state.records, default=-1) + 1  # of the next trial
        self._interrupts = 0
        self._interrupted_at = 0.0
        self._phase: Phase | None = None  # the one that has begun
        self._begun_s: dict[int, float] = {}  # when the attempt began that runs or ran last
        self._late_at = 0.0  # before that no attempt can be beyond its limit
        self._resume()

    # what executors call

    def next(self) -> Attempt | None:
        """The attempt to start now."""
        if self._interrupts or self.failure or self.no_room or self._full:
            return None
        chosen = self._waiting.ready(self._ended, self.slots)
        if chosen is None:
            record = self._new()
            # Nothing new to propose, or not yet: then who was deferred has a slot to wait in, and no process idles.
            chosen = (record.number, True) if record is not None else self._waiting.longest()
        return self._hand_out(*chosen) if chosen is not None else None

    @property
    def over(self) -> bool:
        """Nothing runs, and nothing is left to run."""
        if self._running:
            return False
        left = self._phases or self._waiting or self._duplicates
        return bool(self._interrupts or self.failure or self.no_room) or not left

    @property
    def stopping(self) -> bool:
        """Drop what runs: a second interrupt, or the grace after the first is over."""
        if self._interrupts > 1 or self.failure:
            return True
        # Handed out is not started: Ray may still look for a node, and nothing is lost if such an attempt is dropped.
        at_work = any(self.records[number].state == "running" for number in self._running)
        patient = at_work and time.monotonic() - self._interrupted_at < self._grace_s
        return self._interrupts == 1 and not patient

    def started(self, attempt: Attempt, node: str | None = None) -> None:
        """Write the start down."""
        self._write(Started(trial=attempt.trial, attempt=attempt.attempt, node=node))
        self._begun_s[attempt.trial] = now = time.monotonic()
        self._late_at = min(self._late_at, now + (self._limits.trial_timeout_s or 0.0))

    def heard(self, attempt: Attempt, message: Message) -> bool:
        """Write down what a worker said; False: drop the attempt."""
        if not self._current(attempt):
            return False
        if not isinstance(message, Progress):
            if self._interrupts and isinstance(message, Failed):  # it may have been told to stop, too: not its failure
                del self._running[attempt.trial]
            else:
                self._close(attempt, message)
            return False
        self._write(entries.reported(attempt, message))
        record = self.records[attempt.trial]
        self._first_stages.hear(record)
        if record.role == "search" and self._halting is not None and self._halting.halts(record):
            self._halt(record, self._halting.rule)
            return False
        if self._interrupts:  # a report is a good moment to part: the stage store and checkpoints have the rest
            del self._running[attempt.trial]
            return False
        return True

    def lost(self, attempt: Attempt, reason: str, *, blameless: bool = False) -> None:
        """A worker died or was killed: again elsewhere, or failed."""
        if self._current(attempt) and not self.stopping:  # what we end ourselves is not its failure
            self._close(attempt, Failed(reason=reason, again=True, blameless=blameless))

    def overdue(self) -> list[tuple[Attempt, str]]:
        """Attempts beyond the time limit, which is on their own time."""
        limit, now = self._limits.trial_timeout_s, time.monotonic()
        # Asked in every round of Tune's loop: with 1,024 at work a look at each takes a millisecond.
        if limit is None or now < self._late_at:
            return []
        late = []
        self._late_at = math.inf
        for handed_out in self._running.values():
            attempt = handed_out.attempt
            record = self.records[attempt.trial]
            # From its start on: the time that Ray took to find a place for it is not the trial's.
            spent_s = now - self._begun_s.get(attempt.trial, now)
            if record.state != "running":
                continue  # `started` will say so
            self._late_at = min(self._late_at, now + max(0.0, limit - spent_s))
            if spent_s <= limit:
                continue
            if worker.own_s(attempt.task, spent_s) > limit:  # last, since it reads a file that may be on NFS
                late.append((attempt, f"no end after {limit:g} s (the limit for one trial)"))
        return late

    def say(self, text: str) -> None:
        """Tell the user, and nobody else."""
        self._state.tell(note(text))

    def tick(self) -> None:
        """Pass on that some time has passed; budgets are looked at when a trial is proposed, not here."""
        self._state.tick()

    # what the owner calls

    def interrupt(self) -> int:
        """The first time: hand out nothing more, part at the next report; from the second: stop. How often so far."""
        # Called from a signal handler, perhaps in the middle of `heard`: it sets two numbers and writes nothing.
        self._interrupts += 1
        self._interrupted_at = time.monotonic()
        return self._interrupts

    @property
    def interrupted(self) -> bool:
        """Whether someone asked to stop."""
        return self._interrupts > 0

    def too_many_failures(self) -> str | None:
        """The likely common cause, if too large a share of a finished sweep's trials failed."""
        searched = [record for record in self.records.values() if record.role != "finalist"]
        return failing(self._limits, searched, at_end=True)

    # choosing

    @property
    def _full(self) -> bool:
        alone = self._phase is not None and self._phase.alone
        return len(self._running) >= (1 if alone else self.slots)

    def _new(self) -> TrialRecord | None:
        """The next trial of the current phase, duplicates settled on the way."""
        while self._phases:
            phase = self._phases[0]
            # Only on the way into a phase: its own trials would else wait for each other and use one slot.
            if phase is not self._phase and phase.barrier and (self._running or self._waiting or self._duplicates):
                return None
            self._phase = phase
            number = self._number  # not how many there are: a repaired journal may lack some
            planned = phase.next(number, self.records)
            if planned is None:
                self._phases.pop(0)
                continue
            self._write(entries.proposed(number, planned))
            self._number += 1
            record = self.records[number]
            if record.reuse_of is None:
                return record
            self._take_over(record)
        return None

    def _hand_out(self, number: int, may_defer: bool) -> Attempt:
        record = self.records[number]
        # Giving way serves only if others have work for the slot, and nobody has while all begin with the same stage.
        defer = may_defer and self.slots > 1 and not self._first_stages.all_wait(record)
        attempt = Attempt(number, record.attempts + 1, self._task(record, defer))
        self._running[number] = _HandedOut(attempt, time.monotonic())
        return attempt

    # what becomes of an attempt

    def _current(self, attempt: Attempt) -> bool:
        """Whether it is the one we listen to: a worker that was given up may speak after its trial began again."""
        held = self._running.get(attempt.trial)
        return held is not None and held.attempt == attempt

    def _close(self, attempt: Attempt, end: End) -> None:
        record = self.records[attempt.trial]
        match end:
            case Busy():
                self._retry(attempt, end.reason, waits=True)
                self._waiting.defer(record.number, self._ended)
            case Failed() if end.again and self._limits.bear(record, blameless=end.blameless):
                self._retry(attempt, end.reason, **{"lost" if end.blameless else "failure": True})
                self._waiting.again(record.number)
            case Failed() if end.no_room:
                # Not its failure, nor would the next trial fare better: each would train, and end at its first write.
                # (What may pass elsewhere was tried again above: it may have been one node's own disk.)
                self._retry(attempt, end.reason)
                self._waiting.again(record.number)
                self.no_room = end.reason
            case Failed():
                self._end(record, TrialEnd("failed", {}, end.details, end.reason, end))
            case Done() if lacking := self._ranking.missing(end.metrics):
                # No default in its place: an invented number would win or lose a comparison.
                reason = f"the trial ended without '{lacking}'"
                self._end(record, TrialEnd("failed", end.metrics, end.details, reason, end))
            case Done():
                self._end(record, TrialEnd("done", end.metrics, end.details, told=end))

    def _retry(self, attempt: Attempt, reason: str, **why: bool) -> None:
        """Write down that an attempt is over and the trial is not; `why`: waits, failure or lost."""
        since_s = self._running.pop(attempt.trial).since_s
        spent = round((time.monotonic() - since_s) * self._gpus, 3)
        why = {"failure": False, **why}
        self._write(Retried(trial=attempt.trial, attempt=attempt.attempt, reason=reason, gpu_seconds=spent, **why))

    def _halt(self, record: TrialRecord, rule: str) -> None:
        reason = f"halted at step {record.step} of {record.steps_total} ({rule})"
        self._end(record, TrialEnd("halted", record.metrics, reason=reason))

    def _end(self, record: TrialRecord, end: TrialEnd) -> None:
        held = self._running.pop(record.number, None)  # none on resuming, where a halt is only made up for
        since_s = held.since_s if held is not None else time.monotonic()
        waited_s = self._waiting.waited_s(record.number)
        self._write(entries.ended(record, end, since_s=since_s, waited_s=waited_s, gpus=self._gpus))
        self._settle(record)

    def _settle(self, record: TrialRecord) -> None:
        """Pass an end on: to the ranking, the proposer, and the duplicates that waited for this result."""
        self._ended += 1
        self._ranking.note(record)
        if record.role == "search" or record.yardstick:
            self._proposer.tell(record)  # limits relative to the baseline need that one, too
        if record.role == "replicate":
            self._revise()
        for number in [n for n in self._duplicates if self.records[n].reuse_of == record.number]:
            self._duplicates.remove(number)
            self._take_over(self.records[number])
        # A finalist repeats what has run already: its failures say nothing about the space, and nothing follows them.
        if record.role != "finalist":
            self.failure = self.failure or failing(self._limits, self.records.values(), tally=self._state.tally)

    def _revise(self) -> None:
        """Tell the proposer by their means of all that ran with further seeds: a new run moves what seeds do to all."""
        for number, (values, runs) in self._ranking.revised(self.records).items():
            self._proposer.revise(self.records[number], values, runs)

    def _take_over(self, record: TrialRecord) -> None:
        """Give a duplicate the result of the trial it repeats, now or when that one ends."""
        assert record.reuse_of is not None
        original = self.records[record.reuse_of]
        if not original.ended:
            self._duplicates.append(record.number)
            return
        self._write(entries.taken_over(record, original))
        self._settle(record)

    # the journal

    def _resume(self) -> None:
        """Pick up what an earlier driver left open."""
        # A driver may be killed between a report and the halt that follows from it: such trials must not run on.
        to_halt = self._halting.replay(self.records.values()) if self._halting is not None else set()
        # By number, so that who was proposed first runs first again, whatever was killed.
        for record in sorted(self.records.values(), key=lambda r: r.number):
            if record.ended:
                # The proposer was opened with these records: to tell it again would count every result twice.
                self._ended += 1
                self._ranking.note(record)
            elif record.reuse_of is not None:
                self._take_over(record)
            elif record.number in to_halt and self._halting is not None:
                self._halt(record, self._halting.rule)
            else:
                if record.state == "running":
                    self._write(entries.left_open(record, self._gpus))
                self._waiting.again(record.number)
