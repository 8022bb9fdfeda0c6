"""How what the driver decides is worded for the journal: one function for each kind of line about a trial.

Who decides is run.py. A field that nobody sets here stays out of the line (Event.as_json writes only what was set), so
optional fields are passed only where they say something.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plastsearch.execute.executor import Attempt
from plastsearch.execute.messages import End, Progress
from plastsearch.sweep.planned import PlannedTrial
from plastsearch.tracking.events import Ended, EndState, Proposed, Reported, Retried
from plastsearch.tracking.records import TrialRecord

INTERRUPTED = "the driver was interrupted"


def proposed(number: int, planned: PlannedTrial) -> Proposed:
    """A trial is to be run; its whole configuration is written, so that a resume never asks a sampler again."""
    said = (("of", planned.of), ("seed", planned.seed))
    repeats: dict[str, Any] = {name: value for name, value in said if value is not None}
    config = planned.config.model_dump(mode="json", by_alias=True)
    return Proposed(
        trial=number, id=planned.config.trial_id(), role=planned.role, control=planned.control,
        params=dict(planned.params), config=config, origin=planned.origin, reuse_of=planned.reuse_of, **repeats,
    )  # fmt: skip


def reported(attempt: Attempt, message: Progress) -> Reported:
    """A worker said how far it is."""
    # As a dictionary: what was not said stays out of the line.
    more: dict[str, Any] = {"boundary": True} if message.boundary else {}
    more |= {"system": message.system} if message.system else {}
    return Reported(
        trial=attempt.trial, attempt=attempt.attempt, stage=message.stage, step=message.step,
        steps_total=message.steps_total, metrics=dict(message.metrics), node=message.node, **more,
    )  # fmt: skip


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended; `told`: what its worker said, if it could say anything."""

    state: EndState
    metrics: Mapping[str, float]
    details: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    told: End | None = None


def ended(record: TrialRecord, end: TrialEnd, *, since_s: float, waited_s: float | None, gpus: float) -> Ended:
    """A trial is over that was handed out at `since_s` and has been deferred for `waited_s`."""
    told, metrics = end.told, end.metrics
    # The worker's clock is better: the driver's has the start of a process in it, which takes 1.5 to 4 s on Ray.
    seconds = (told.seconds if told is not None else None) or time.monotonic() - since_s
    written: dict[str, float | None] = dict(metrics)
    if waited_s is not None:
        # Waits inside its attempts the trial has counted itself; those between attempts only the driver knows.
        written["waited_seconds"] = metrics.get("waited_seconds", 0.0) + waited_s
    return Ended(
        trial=record.number, attempt=record.attempts, state=end.state, metrics=written,
        details=end.details, reason=end.reason, seconds=round(seconds, 3),
        # A result from a GPU says itself what it cost; of any other end the slot is charged.
        gpu_seconds=round(metrics.get("gpu_seconds", seconds * gpus), 3),
        fidelity=1.0 if end.state == "done" else _share_done(record),
        node=told.node if told is not None else None,
    )  # fmt: skip


def taken_over(record: TrialRecord, original: TrialRecord) -> Ended:
    """A duplicate ended as the trial it repeats did, at no cost: GPU-hours are counted once."""
    state: EndState = "reused"
    if original.state == "failed" or original.state == "halted":
        state = original.state  # no result: `reused` would give the duplicate a place among results
    reason = original.reason and f"as trial {original.number}: {original.reason}"
    return Ended(
        trial=record.number, attempt=0, state=state, metrics=dict(original.metrics), reason=reason,
        details={"reused": original.number}, seconds=0.0, gpu_seconds=0.0, fidelity=original.fidelity,
    )  # fmt: skip


def left_open(record: TrialRecord, gpus: float) -> Retried:
    """An earlier driver was gone before this attempt was; it is no failure of the configuration."""
    # Nobody knows when the worker died, only when it was last heard; what it cost after that is not charged.
    heard_at = record.history[-1].at if record.history else record.started_at
    spent = max(0.0, (heard_at or 0.0) - (record.started_at or 0.0)) * gpus
    return Retried(
        trial=record.number, attempt=record.attempts, reason=INTERRUPTED, failure=False, gpu_seconds=round(spent, 3)
    )


def _share_done(record: TrialRecord) -> float:
    return record.step / record.steps_total if record.steps_total else 0.0
