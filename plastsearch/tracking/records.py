"""What a sweep's events add up to: the state of every trial, in memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import JsonValue

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import YARDSTICK
from plastsearch.tracking.events import (
    ENDED,
    Ended,
    Event,
    Proposed,
    Reported,
    Retried,
    Role,
    Source,
    Started,
    State,
    TrialEvent,
)


@dataclass
class TrialRecord:
    """All that the journal says of one trial."""

    number: int
    id: str
    role: Role
    control: str | None
    params: dict[str, JsonValue]
    config: dict[str, JsonValue]
    origin: str = "sampler"
    reuse_of: int | None = None
    of: int | None = None  # of a finalist or replicate the trial it repeats, of a control the trial it answers to
    seed: int | None = None  # of a finalist or a replicate
    source: Source | None = None  # in a merged sweep
    apart: bool = False  # of other data than the journal's head asks about
    state: State = "proposed"
    attempts: int = 0
    failures: int = 0  # attempts that ended in a failure
    losses: int = 0  # attempts that went down with their node
    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    reasons: list[str] = field(default_factory=list)  # why earlier attempts ended
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    fidelity: float = 0.0
    stage: str | None = None
    step: int = 0
    steps_total: int = 0
    node: str | None = None
    proposed_at: float = 0.0
    begun_at: float | None = None  # its first attempt
    started_at: float | None = None  # its latest
    ended_at: float | None = None
    history: list[Reported] = field(default_factory=list)

    @cached_property
    def trial_config(self) -> TrialConfig:
        """The configuration, if this program understands it."""
        return TrialConfig.recorded(self.config)

    @property
    def placed(self) -> dict[str, int]:
        """Neurons by site where gradients chose among them, over all insertions; empty for other methods."""
        found: dict[str, int] = {}
        for insertion in self.details.get("growth_plan") or ():
            for site, neurons in insertion["sites"].items():
                found[site] = found.get(site, 0) + neurons
        return dict(sorted(found.items()))

    @property
    def ended(self) -> bool:
        """Whether nothing more will be heard of it."""
        return self.state in ENDED

    @property
    def yardstick(self) -> bool:
        """Whether it is the control that relative limits refer to; its finalists bear its name, but are none."""
        return self.role == "control" and self.control == YARDSTICK


def trials(events: Iterable[Event]) -> dict[int, TrialRecord]:
    """Trial number → what the events add up to."""
    records: dict[int, TrialRecord] = {}
    for event in events:
        apply(records, event)
    return records


def apply(records: dict[int, TrialRecord], event: Event) -> TrialRecord | None:
    """Apply one event to the records in place; the record it touched, if any. Lines come checked (reading.py)."""
    # A trial keeps all of its reports: halting rules are replayed from them, and curves are drawn from them.
    if isinstance(event, Proposed):
        records[event.trial] = _proposed(event)
    elif isinstance(event, TrialEvent):
        record = records[event.trial]
        match event:
            case Started():
                _started(record, event)
            case Reported():
                _reported(record, event)
            case Retried():
                _retried(record, event)
            case Ended():
                _ended(record, event)
    return records[event.trial] if isinstance(event, TrialEvent) else None


def _proposed(event: Proposed) -> TrialRecord:
    return TrialRecord(
        number=event.trial,
        id=event.id,
        role=event.role,
        control=event.control,
        params=event.params,
        config=event.config,
        origin=event.origin,
        reuse_of=event.reuse_of,
        of=event.of,
        seed=event.seed,
        source=event.source,
        apart=event.apart,
        proposed_at=event.at,
    )


def _started(record: TrialRecord, event: Started) -> None:
    record.state = "running"
    record.attempts = event.attempt
    record.begun_at = event.at if record.begun_at is None else record.begun_at
    record.started_at = event.at
    record.node = event.node or record.node


def _reported(record: TrialRecord, event: Reported) -> None:
    record.stage, record.step, record.steps_total = event.stage, event.step, event.steps_total
    record.metrics.update(known(event.metrics))
    record.node = event.node or record.node
    record.history.append(event)


def _retried(record: TrialRecord, event: Retried) -> None:
    record.state = "proposed"
    record.reasons.append(event.reason)
    record.failures += event.failure
    record.losses += event.lost
    record.gpu_seconds += event.gpu_seconds
    if event.reopened:
        record.metrics, record.details, record.reason, record.ended_at = {}, {}, None, None


def _ended(record: TrialRecord, event: Ended) -> None:
    record.state = event.state
    if event.state in {"done", "reused"}:
        record.metrics = known(event.metrics)  # the final report alone is the result
    else:
        record.metrics.update(known(event.metrics))
    record.details = event.details
    record.reason = event.reason
    record.seconds = event.seconds
    record.gpu_seconds += event.gpu_seconds  # beside what lost attempts cost
    record.fidelity = event.fidelity
    record.node = event.node or record.node
    record.ended_at = event.at


def known(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Those that were measured: null stands for a number that is none."""
    return {name: value for name, value in metrics.items() if value is not None}
