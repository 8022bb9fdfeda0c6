"""A sweep as a state machine on its journal: what runs next, and what becomes of what was heard. Executors serve it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plastsearch.execute import worker
from plastsearch.execute.executor import Attempt
from plastsearch.execute.messages import Busy, Done, End, Failed, Message, Progress, Task
from plastsearch.search.proposer import Proposer
from plastsearch.sweep.budget import Limits, failing
from plastsearch.sweep.first_stages import FirstStages
from plastsearch.sweep.halting import Halting
from plastsearch.sweep.phases import Phase, Plan
from plastsearch.sweep.state import SweepState
from plastsearch.tracking.events import Ended, EndState, Proposed, Reported, Retried, Started
from plastsearch.tracking.journal import TrialRecord
from plastsearch.tracking.ranking import Ranking

INTERRUPTED = "the driver was interrupted"
GRACE_S = 20.0  # between a first interrupt and the end of who has not reported


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
        self.records, self._state, self._write = state.records, state, state.write
        self._phases, self._ranking, self._limits, self._task = list(phases), ranking, limits, task
        self._proposer, self._halting = proposer, halting
        self._first_stages = first_stages or FirstStages(state.records, lambda _: None)
        self.slots, self._gpus, self._grace_s = slots, gpus, grace_s
        self._running: dict[int, tuple[Attempt, float]] = {}  # and when it was handed out
        self._waiting = WaitingTrials()
        self._twins: list[int] = []  # take over a result that is still to come
        self._ended = 0
        self._interrupts = 0
        self._interrupted_at = 0.0
        self._phase: Phase | None = None  # the one that has begun
        self.failure: str | None = None
        self._resume()

    # what executors call

    def next(self) -> Attempt | None:
        """The attempt to start now."""
        alone = self._phase is not None and self._phase.alone
        if self._interrupts or self.failure or len(self._running) >= (1 if alone else self.slots):
            return None
        chosen = self._waiting.ready(self._ended, self.slots)
        if chosen is None:
            record = self._new()
            chosen = (record.number, True) if record is not None else self._waiting.longest()
        return self._hand_out(*chosen) if chosen is not None else None

    @property
    def over(self) -> bool:
        """Nothing runs, and nothing is left to run."""
        if self._running:
            return False
        left = self._phases or self._waiting or self._twins
        return bool(self._interrupts or self.failure) or not left

    @property
    def stopping(self) -> bool:
        """Drop what runs: a second interrupt, or the grace after the first is over."""
        if self._interrupts > 1 or self.failure:
            return True
        at_work = any(self.records[number].state == "running" for number in self._running)
        patient = at_work and time.monotonic() - self._interrupted_at < self._grace_s
        return self._interrupts == 1 and not patient

    def started(self, attempt: Attempt, node: str | None = None) -> None:
        """Write the start down."""
        self._write(Started(trial=attempt.trial, attempt=attempt.attempt, node=node))

    def heard(self, attempt: Attempt, message: Message) -> bool:
        """Write down what a worker said; False: drop the attempt."""
        held = self._running.get(attempt.trial)
        if held is None or held[0] != attempt:
            return False
        if not isinstance(message, Progress):
            if self._interrupts and isinstance(message, Failed):  # it may have been told to stop, too: not its failure
                del self._running[attempt.trial]
            else:
                self._close(attempt, message)
            return False
        boundary = {"boundary": True} if message.boundary else {}
        self._write(
            Reported(
                trial=attempt.trial, attempt=attempt.attempt, stage=message.stage, step=message.step,
                steps_total=message.steps_total, metrics=dict(message.metrics), node=message.node, **boundary,
            )
        )  # fmt: skip
        record = self.records[attempt.trial]
        self._first_stages.hear(record)
        if record.role == "search" and self._halting is not None and self._halting.halts(record):
            self._halt(record)
            return False
        if self._interrupts:  # a report is a good moment to part: the stage store and checkpoints have the rest
            del self._running[attempt.trial]
            return False
        return True

    def lost(self, attempt: Attempt, reason: str, *, blameless: bool = False) -> None:
        """A worker died or was killed: again elsewhere, or failed."""
        held = self._running.get(attempt.trial)
        if held is not None and held[0] == attempt and not self.stopping:  # what we end ourselves is not its failure
            self._close(attempt, Failed(reason=reason, again=True, blameless=blameless))

    def overdue(self) -> list[tuple[Attempt, str]]:
        """Attempts beyond the time limit, which is on their own time."""
        limit = self._limits.trial_timeout_s
        if limit is None:
            return []
        reason, now = f"no end after {limit:g} s (the limit for one trial)", time.time()
        started = [(attempt, self.records[attempt.trial]) for attempt, _ in self._running.values()]
        since = [
            (attempt, now - (record.started_at or now)) for attempt, record in started if record.state == "running"
        ]
        late = [attempt for attempt, spent in since if spent > limit and worker.own_s(attempt.task, spent) > limit]
        return [(attempt, reason) for attempt in late]

    def tick(self) -> None:
        """Let those know who look at the clock: budgets are looked at when a trial is proposed."""
        self._state.tick()

    # what the owner calls

    def interrupt(self) -> int:
        """The first time: hand out nothing more, part at the next report; from the second: stop. How often so far."""
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

    def _new(self) -> TrialRecord | None:
        """The next trial of the current phase, duplicates settled on the way."""
        while self._phases:
            phase = self._phases[0]
            if phase is not self._phase and phase.barrier and (self._running or self._waiting or self._twins):
                return None
            self._phase = phase
            plan = phase.plan(len(self.records), self.records)
            if plan is None:
                self._phases.pop(0)
                continue
            record = self._propose(plan)
            if record.reuse_of is None:
                return record
            self._take_over(record)
        return None

    def _propose(self, plan: Plan) -> TrialRecord:
        again = {name: value for name, value in (("of", plan.of), ("seed", plan.seed)) if value is not None}
        number = len(self.records)
        self._write(
            Proposed(
                trial=number, id=plan.config.trial_id(), role=plan.role, control=plan.control, params=dict(plan.params),
                config=plan.config.model_dump(mode="json", by_alias=True), origin=plan.origin, reuse_of=plan.reuse_of,
                **again,
            )
        )  # fmt: skip
        return self.records[number]

    def _hand_out(self, number: int, may_defer: bool) -> Attempt:
        record = self.records[number]
        defer = may_defer and self.slots > 1 and not self._first_stages.all_wait(record)
        attempt = Attempt(number, record.attempts + 1, self._task(record, defer))
        self._running[number] = (attempt, time.monotonic())
        return attempt

    # what becomes of an attempt

    def _close(self, attempt: Attempt, end: End) -> None:
        record = self.records[attempt.trial]
        match end:
            case Busy():
                self._retry(attempt, end.reason, waits=True)
                self._waiting.defer(record.number, self._ended)
            case Failed() if end.again and self._bears(record, end):
                self._retry(attempt, end.reason, **{"lost" if end.blameless else "failure": True})
                self._waiting.again(record.number)
            case Failed():
                self._end(record, "failed", {}, end.details, end.reason, end)
            case Done() if lacking := self._ranking.missing(end.metrics):
                reason = f"the trial ended without '{lacking}'"
                self._end(record, "failed", end.metrics, end.details, reason, end)
            case Done():
                self._end(record, "done", end.metrics, end.details, None, end)

    def _bears(self, record: TrialRecord, end: Failed) -> bool:
        """Whether the trial may run once more; nodes that went down under it are counted apart from its failures."""
        if end.blameless:
            return record.losses < self._limits.max_losses
        return record.failures < self._limits.max_failures

    def _retry(self, attempt: Attempt, reason: str, **why: bool) -> None:
        """Write down that an attempt is over and the trial is not; `why`: waits, failure or lost."""
        _, since = self._running.pop(attempt.trial)
        spent = round((time.monotonic() - since) * self._gpus, 3)
        why = {"failure": False, **why}
        self._write(Retried(trial=attempt.trial, attempt=attempt.attempt, reason=reason, gpu_seconds=spent, **why))

    def _halt(self, record: TrialRecord) -> None:
        rule = self._halting.rule if self._halting is not None else ""
        reason = f"halted at step {record.step} of {record.steps_total} ({rule})"
        self._end(record, "halted", record.metrics, {}, reason)

    def _end(
        self,
        record: TrialRecord,
        state: EndState,
        found: Mapping[str, float],
        details: dict[str, Any],
        reason: str | None,
        told: End | None = None,
    ) -> None:
        """Write down that a trial is over; `told`: what its worker said, which has the better clock."""
        _, since = self._running.pop(record.number, (None, time.monotonic()))
        seconds = (told.seconds if told is not None else None) or time.monotonic() - since
        metrics: dict[str, float | None] = dict(found)
        waited_s = self._waiting.waited_s(record.number)
        if waited_s is not None:
            metrics["waited_seconds"] = found.get("waited_seconds", 0.0) + waited_s
        self._write(
            Ended(
                trial=record.number, attempt=record.attempts, state=state, metrics=metrics, details=details,
                reason=reason, seconds=round(seconds, 3),
                gpu_seconds=round(found.get("gpu_seconds", seconds * self._gpus), 3),
                fidelity=1.0 if state == "done" else _share(record), node=told.node if told is not None else None,
            )
        )  # fmt: skip
        self._settle(record)

    def _settle(self, record: TrialRecord) -> None:
        """Tell whom it concerns that a trial has ended."""
        self._ended += 1
        self._ranking.note(record)
        if record.role == "search" or record.yardstick:
            self._proposer.tell(record)  # limits relative to the baseline need that one, too
        for number in [n for n in self._twins if self.records[n].reuse_of == record.number]:
            self._twins.remove(number)
            self._take_over(self.records[number])
        if record.role != "finalist":
            self.failure = self.failure or failing(self._limits, list(self.records.values()))

    def _take_over(self, record: TrialRecord) -> None:
        """Give a duplicate the result of the trial it repeats, now or when that one ends."""
        assert record.reuse_of is not None
        original = self.records[record.reuse_of]
        if not original.ended:
            self._twins.append(record.number)
            return
        state: EndState = "reused"
        if original.state == "failed" or original.state == "halted":
            state = original.state
        reason = original.reason and f"as trial {original.number}: {original.reason}"
        self._write(
            Ended(
                trial=record.number, attempt=0, state=state, metrics=dict(original.metrics), reason=reason,
                details={"reused": original.number}, seconds=0.0, gpu_seconds=0.0, fidelity=original.fidelity,
            )
        )  # fmt: skip
        self._settle(record)

    # the journal

    def _resume(self) -> None:
        """Pick up what an earlier driver left open."""
        condemned = self._halting.replay(self.records.values()) if self._halting is not None else set()
        for record in sorted(self.records.values(), key=lambda r: r.number):
            if record.ended:
                self._ended += 1
                self._ranking.note(record)
            elif record.reuse_of is not None:
                self._take_over(record)
            elif record.number in condemned:
                self._halt(record)
            else:
                self._reopen(record)

    def _reopen(self, record: TrialRecord) -> None:
        if record.state == "running":
            heard = record.history[-1].at if record.history else record.started_at
            spent = max(0.0, (heard or 0.0) - (record.started_at or 0.0)) * self._gpus
            self._write(
                Retried(
                    trial=record.number, attempt=record.attempts, reason=INTERRUPTED, failure=False,
                    gpu_seconds=round(spent, 3),
                )
            )  # fmt: skip
        self._waiting.again(record.number)


def _share(record: TrialRecord) -> float:
    return record.step / record.steps_total if record.steps_total else 0.0


@dataclass(frozen=True)
class Deferred:
    """Since when a trial waits, and how many trials had ended by then."""

    ended: int
    since_s: float


class WaitingTrials:
    """First come, first served; a trial taken from it may be deferred once more, or must wait in its own slot."""

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
        for number, deferred in self._deferred.items():
            if deferred.ended < ended:  # some trial has ended since
                return self._leave(number), True
        return self.longest() if len(self._deferred) >= slots else None

    def longest(self) -> tuple[int, bool] | None:
        """The longest deferred trial, this time to wait in its own slot."""
        return (self._leave(next(iter(self._deferred))), False) if self._deferred else None

    def waited_s(self, number: int) -> float | None:
        """How long it has been deferred in all; told once."""
        return self._waited_s.pop(number, None)

    def _leave(self, number: int) -> int:
        waited_s = time.monotonic() - self._deferred.pop(number).since_s
        self._waited_s[number] = self._waited_s.get(number, 0.0) + waited_s
        return number
