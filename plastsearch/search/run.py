"""A sweep as a state machine on its journal: what runs next, and what becomes of what was heard. Executors serve it."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from plastsearch.search.budget import Limits, failing
from plastsearch.search.executor import Attempt, Message
from plastsearch.search.halting import Halting
from plastsearch.search.phases import Phase, Plan
from plastsearch.search.proposer import Proposer
from plastsearch.search.standing import Standing
from plastsearch.tracking.journal import Event, Journal, TrialRecord, fold

INTERRUPTED = "the driver was interrupted"


class Listener(Protocol):
    """A display or a tracker: told of every event after it is written down."""

    def feed(self, event: Event) -> None:
        """Take in one event; must not raise."""


@runtime_checkable
class Ticking(Protocol):
    """A listener that also wants to know when nothing happens."""

    def tick(self) -> None:
        """Called a few times a second; must not raise."""


class Sweep:
    """The desk of one sweep folder. One thread at a time calls it."""

    def __init__(
        self,
        journal: Journal,
        records: dict[int, TrialRecord],
        phases: Sequence[Phase],
        standing: Standing,
        limits: Limits,
        task: Callable[[TrialRecord, bool], dict[str, Any]],
        *,
        proposer: Proposer,
        halting: Halting | None = None,
        first_stage: Callable[[TrialRecord], str | None] | None = None,
        listeners: Sequence[Listener] = (),
        slots: int = 1,
        gpus: float = 0.0,
        grace_s: float = 20.0,
    ) -> None:
        self.records = records
        self.slots = slots
        self._journal, self._phases, self._standing, self._limits, self._task = (
            journal,
            list(phases),
            standing,
            limits,
            task,
        )
        self._proposer, self._halting, self._listeners, self._gpus, self._grace_s = (
            proposer,
            halting,
            listeners,
            gpus,
            grace_s,
        )
        self._first_stage = first_stage
        self._firsts: dict[int, str | None] = {}  # what a trial begins with
        self._running: dict[int, tuple[Attempt, float]] = {}  # and when it was handed out
        self._again: list[int] = []  # retries and resumed trials, first come first served
        self._deferred: dict[int, tuple[int, float]] = {}  # → trials ended by then, since when
        self._waited: dict[int, float] = {}
        self._twins: list[int] = []  # take over a result that is still to come
        self._ended = 0
        self._interrupts = 0
        self._interrupted_at = 0.0
        self._alone = False
        self.failure: str | None = None
        self._resume()

    # what executors call

    def next(self) -> Attempt | None:
        """The attempt to start now."""
        if self._interrupts or self.failure or len(self._running) >= (1 if self._alone else self.slots):
            return None
        chosen = self._old()
        if chosen is None:
            record = self._new()
            chosen = (record, True) if record is not None else self._waiting()
        return self._hand_out(*chosen) if chosen is not None else None

    @property
    def over(self) -> bool:
        """Nothing runs, and nothing is left to run."""
        if self._running:
            return False
        left = self._phases or self._again or self._deferred or self._twins
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
        awaits = self._awaits(attempt.trial)
        self._write(
            "start", trial=attempt.trial, attempt=attempt.attempt, node=node,
            **({} if awaits is None else {"awaits": awaits}),
        )  # fmt: skip

    def heard(self, attempt: Attempt, message: Message) -> bool:
        """Write down what a worker said; False: drop the attempt."""
        held = self._running.get(attempt.trial)
        if held is None or held[0] != attempt:
            return False
        if message["kind"] == "end":
            self._close(attempt, message)
            return False
        said = {key: message[key] for key in ("stage", "step", "steps_total", "metrics", "node")}
        self._write("report", trial=attempt.trial, attempt=attempt.attempt, **said)
        record = self.records[attempt.trial]
        if record.role == "search" and self._halting is not None and self._halting.halts(record):
            self._halt(record)
            return False
        if self._interrupts:  # a report is a good moment to part: the stage store and checkpoints have the rest
            del self._running[attempt.trial]
            return False
        return True

    def lost(self, attempt: Attempt, reason: str) -> None:
        """A worker died or was killed: again elsewhere, or failed."""
        held = self._running.get(attempt.trial)
        if held is not None and held[0] == attempt and not self.stopping:  # what we end ourselves is not its failure
            self._close(attempt, {"state": "failed", "metrics": {}, "reason": reason, "again": True})

    def overdue(self) -> list[tuple[Attempt, str]]:
        """Attempts beyond the time limit."""
        limit = self._limits.trial_timeout_s
        if limit is None:
            return []
        reason, now = f"no end after {limit:g} s (the limit for one trial)", time.time()
        started = [(attempt, self.records[attempt.trial]) for attempt, _ in self._running.values()]
        late = [a for a, record in started if record.state == "running" and now - (record.started_at or now) > limit]
        return [(attempt, reason) for attempt in late]

    def tick(self) -> None:
        """Let those know who look at the clock: budgets are looked at when a trial is proposed."""
        self._journal.tick()
        for listener in self._listeners:
            if isinstance(listener, Ticking):
                listener.tick()

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

    def _old(self) -> tuple[TrialRecord, bool] | None:
        """A trial to run again; deferred ones as soon as some trial has ended since."""
        if self._again:
            return self.records[self._again.pop(0)], True
        ready = [number for number, (ended, _) in self._deferred.items() if ended < self._ended]
        if ready:
            return self._undefer(ready[0], True)
        if len(self._deferred) >= self.slots:
            return self._waiting()
        return None

    def _waiting(self) -> tuple[TrialRecord, bool] | None:
        """The longest deferred trial, this time to wait for its stage in its own slot."""
        return self._undefer(next(iter(self._deferred)), False) if self._deferred else None

    def _undefer(self, number: int, defer: bool) -> tuple[TrialRecord, bool]:
        _, since = self._deferred.pop(number)
        self._waited[number] = self._waited.get(number, 0.0) + time.monotonic() - since
        return self.records[number], defer

    def _new(self) -> TrialRecord | None:
        """The next trial of the current phase, duplicates settled on the way."""
        while self._phases:
            phase = self._phases[0]
            if phase.barrier and (self._running or self._again or self._deferred or self._twins):
                return None
            self._alone = phase.alone
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
        self._write(
            "propose",
            trial=len(self.records),
            id=plan.config.trial_id(),
            role=plan.role,
            control=plan.control,
            params=plan.params,
            config=plan.config.model_dump(mode="json", by_alias=True),
            origin=plan.origin,
            reuse_of=plan.reuse_of,
            **plan.extra,
        )
        return self.records[len(self.records) - 1]

    def _awaits(self, number: int) -> int | None:
        """The earlier running trial that is just computing what this one begins with."""
        for other in (number, *self._running):
            if other not in self._firsts:
                self._firsts[other] = self._first_stage(self.records[other]) if self._first_stage else None
        own = self._firsts[number]
        busy = (n for n in self._running if n < number and self.records[n].stage in {None, "train"})
        return next((n for n in busy if own is not None and self._firsts[n] == own), None)

    def _all_wait(self, record: TrialRecord) -> bool:
        """While all begin with the same stage, nobody else has work for the slot: best is to wait in it, all loaded."""
        self._awaits(record.number)
        if len(set(self._firsts.values())) > 1 or self._firsts[record.number] is None:
            return False
        return all(one.stage in {None, "train"} and not one.ended for one in self.records.values())

    def _hand_out(self, record: TrialRecord, defer: bool) -> Attempt:
        defer = defer and not self._all_wait(record)
        attempt = Attempt(record.number, record.attempts + 1, self._task(record, defer and self.slots > 1))
        self._running[record.number] = (attempt, time.monotonic())
        return attempt

    # what becomes of an attempt

    def _close(self, attempt: Attempt, message: Message) -> None:
        record = self.records[attempt.trial]
        if message["state"] == "busy":
            self._retry(attempt, message["reason"], failure=False, waits=True)
            self._deferred[record.number] = (self._ended, time.monotonic())
            return
        if message["state"] == "done" and (lacking := self._standing.missing(message["metrics"])):
            message = {**message, "state": "failed", "reason": f"the trial ended without '{lacking}'"}
        if message["state"] == "failed" and message.get("again") and record.failures < self._limits.max_failures:
            self._retry(attempt, message["reason"], failure=True)
            self._again.append(record.number)
            return
        self._end(record, message)

    def _retry(self, attempt: Attempt, reason: str, *, failure: bool, **more: Any) -> None:
        _, since = self._running.pop(attempt.trial)
        spent = round((time.monotonic() - since) * self._gpus, 3)
        self._write(
            "retry",
            trial=attempt.trial,
            attempt=attempt.attempt,
            reason=reason,
            failure=failure,
            gpu_seconds=spent,
            **more,
        )

    def _halt(self, record: TrialRecord) -> None:
        rule = self._halting.rule if self._halting is not None else ""
        reason = f"halted at step {record.step} of {record.steps_total} ({rule})"
        self._end(record, {"state": "halted", "metrics": record.metrics, "reason": reason})

    def _end(self, record: TrialRecord, message: Message) -> None:
        _, since = self._running.pop(record.number, (None, time.monotonic()))
        seconds = message.get("seconds") or time.monotonic() - since
        metrics = dict(message["metrics"])
        if record.number in self._waited:
            metrics["waited_seconds"] = metrics.get("waited_seconds", 0.0) + self._waited.pop(record.number)
        self._write(
            "end",
            trial=record.number,
            attempt=record.attempts,
            state=message["state"],
            metrics=metrics,
            details=message.get("details") or {},
            reason=message.get("reason"),
            seconds=round(seconds, 3),
            gpu_seconds=round(metrics.get("gpu_seconds", seconds * self._gpus), 3),
            fidelity=1.0 if message["state"] == "done" else _share(record),
            node=message.get("node"),
        )
        self._settle(record)

    def _settle(self, record: TrialRecord) -> None:
        """Tell whom it concerns that a trial has ended."""
        self._ended += 1
        self._standing.note(record)
        if record.role == "search" or (record.control == "baseline" and record.role == "control"):
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
        state = "reused" if original.state in {"done", "reused"} else original.state
        reason = original.reason and f"as trial {original.number}: {original.reason}"
        self._write(
            "end",
            trial=record.number,
            attempt=0,
            state=state,
            metrics=original.metrics,
            details={"reused": original.number},
            reason=reason,
            seconds=0.0,
            gpu_seconds=0.0,
            fidelity=original.fidelity,
        )
        self._settle(record)

    # the journal

    def _resume(self) -> None:
        """Pick up what an earlier driver left open."""
        condemned = self._halting.replay(self.records.values()) if self._halting is not None else set()
        for record in sorted(self.records.values(), key=lambda r: r.number):
            if record.ended:
                self._ended += 1
                self._standing.note(record)
            elif record.reuse_of is not None:
                self._take_over(record)
            elif record.number in condemned:
                self._halt(record)
            else:
                self._reopen(record)

    def _reopen(self, record: TrialRecord) -> None:
        if record.state == "running":
            heard = record.history[-1]["at"] if record.history else record.started_at
            spent = max(0.0, (heard or 0.0) - (record.started_at or 0.0)) * self._gpus
            self._write(
                "retry",
                trial=record.number,
                attempt=record.attempts,
                reason=INTERRUPTED,
                failure=False,
                gpu_seconds=round(spent, 3),
            )
        self._again.append(record.number)

    def _write(self, event: str, **content: Any) -> None:
        written = self._journal.append(event, **content)
        fold(self.records, written)
        for listener in self._listeners:
            listener.feed(written)


def _share(record: TrialRecord) -> float:
    return record.step / record.steps_total if record.steps_total else 0.0
