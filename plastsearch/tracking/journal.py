"""trials.jsonl, the truth of a sweep: append-only, one writer, one JSON object per line; and what it adds up to."""

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from pydantic import JsonValue

from plastsearch.errors import PlastsearchError
from plastsearch.files import plain
from plastsearch.lock import take
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import YARDSTICK
from plastsearch.tracking.events import (
    ENDED,
    Ended,
    Event,
    Finished,
    Opened,
    Proposed,
    Reported,
    Retried,
    Role,
    SessionBegun,
    Started,
    State,
    TrialEvent,
    parse,
)

FILE = "trials.jsonl"
LOCK = "driver.lock"
VERSION = 1
# A power cut may cost reports, which only inform, and proposals of the last moment, which follow from the seed and come
# again; never a result, nor anything written before one.
DURABLE = (Opened, Ended, Retried, Finished)
SETTLE_S = 0.5

E = TypeVar("E", bound=Event)


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
    of: int | None = None  # of a finalist the trial it repeats, of a control the trial it answers to
    seed: int | None = None  # of a finalist
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
    started_at: float | None = None
    ended_at: float | None = None
    history: list[Reported] = field(default_factory=list)

    @cached_property
    def trial_config(self) -> TrialConfig:
        """The configuration, if this program understands it."""
        return TrialConfig.model_validate(self.config)

    @property
    def ended(self) -> bool:
        """Whether nothing more will be heard of it."""
        return self.state in ENDED

    @property
    def yardstick(self) -> bool:
        """Whether it is the control that relative limits refer to; its finalists bear its name, but are none."""
        return self.role == "control" and self.control == YARDSTICK


class Journal:
    """The one writer of a sweep folder: holds its lock, mends a torn tail, appends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / FILE
        self._lock = _lock(folder)
        self._unsettled_s = 0.0  # since when something waits for the disk
        try:
            mend(self.path)
            self._file: IO[bytes] = self.path.open("ab")
        except BaseException:
            self._lock.close()
            raise

    def append(self, event: E) -> E:
        """Write one event down and date it; when this returns, a killed driver cannot lose it."""
        written = event.model_copy(update={"at": round(time.time(), 6)})
        line = json.dumps(plain(written.as_json()), separators=(",", ":"), allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        self._unsettled_s = self._unsettled_s or time.monotonic()
        if isinstance(event, DURABLE):
            self._sync()
        return written

    def tick(self) -> None:
        """Called now and then: what is not on the disk for half a second is put there."""
        if self._unsettled_s and time.monotonic() - self._unsettled_s > SETTLE_S:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._unsettled_s = 0.0

    def clear(self) -> None:
        """Start over: for a sweep that was opened and never ran a trial."""
        self._file.truncate(0)

    def close(self) -> None:
        """Let the next driver in."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mend(path: Path) -> int:
    """Cut a line that a killed writer left unfinished, and say how many bytes that were."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        whole = _end_of_last_line(file, end)
        if whole < end:
            file.truncate(whole)
            file.flush()
            os.fsync(file.fileno())
        return end - whole


def read(folder: Path) -> list[Event]:
    """Every event in order; an unfinished last line, still being written or torn, is left out."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise PlastsearchError(f"{folder}: no sweep here ({FILE} is missing)")
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_parse(line, path, number) for number, line in enumerate(lines, 1) if line.strip(b"\0 \r")]


def trials(events: Iterable[Event]) -> dict[int, TrialRecord]:
    """Trial number → what the events add up to."""
    records: dict[int, TrialRecord] = {}
    for event in events:
        apply(records, event)
    return records


def seconds_so_far(events: Iterable[Event]) -> float:
    """Wall time of all sessions, each from its opening to its last word."""
    total, opened, last = 0.0, None, 0.0
    for event in events:
        if isinstance(event, SessionBegun):
            total += last - opened if opened is not None else 0.0
            opened = event.at
        last = event.at
    return total + (last - opened if opened is not None else 0.0)


def _lock(folder: Path) -> IO[str]:
    file = (folder / LOCK).open("a+")
    if not take(file.fileno(), folder / LOCK):
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise PlastsearchError(
            f"{folder}: another driver (process {holder}) is running this sweep; "
            "wait for it, stop it, or choose another folder with --out"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _end_of_last_line(file: IO[bytes], end: int) -> int:
    """The offset after the last newline, looked for backwards in blocks."""
    position = end
    while position > 0:
        size = min(65_536, position)
        position -= size
        file.seek(position)
        found = file.read(size).rfind(b"\n")
        if found >= 0:
            return position + found + 1
    return 0


def _parse(line: bytes, path: Path, number: int) -> Event:
    try:
        return parse(line)
    except ValueError as error:
        raise PlastsearchError(
            f"{path}:{number}: not a journal line ({error}); restore the file from a copy or remove that line"
        ) from None


def apply(records: dict[int, TrialRecord], event: Event) -> TrialRecord | None:
    """Apply one event to the records in place; the record it touched, if any."""
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
        proposed_at=event.at,
    )


def _started(record: TrialRecord, event: Started) -> None:
    record.state = "running"
    record.attempts = event.attempt
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
