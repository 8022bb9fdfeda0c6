"""What a journal says: one frozen type for each kind of line, and how each is read and written.

A journal of another version may say more, or less: what is not known is left out, what is missing has a default.
"""

import json
import time
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

Role = Literal["search", "control", "replicate", "finalist"]
EndState = Literal["done", "failed", "halted", "reused"]
State = Literal["proposed", "running"] | EndState
Status = Literal["done", "budget", "failures", "interrupted"]

ENDED: frozenset[State] = frozenset({"done", "failed", "halted", "reused"})


class Event(BaseModel):
    """One line; `at` is when it was written down, in seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    kind: ClassVar[str] = ""

    at: float = 0.0

    def as_json(self) -> dict[str, JsonValue]:
        """The line as an object: its kind first, and only what its writer said."""
        # Unset fields stay out: defaults may change with the program, what a writer said may not.
        said = self.model_dump(mode="json", exclude_unset=True, exclude={"at"})
        return {"event": self.kind, "at": self.at, **said}


class Opened(Event):
    """The first line: the sweep's specification, that is, which question it asks."""

    kind: ClassVar[str] = "sweep"
    version: int = 1
    name: str = ""
    spec: dict[
        str, JsonValue
    ] = {}  # as SweepSpec.plain() gave it, perhaps to an older program: it is not validated here
    spec_hash: str = ""
    overrides: list[str] = []
    space: str | None = None


class SessionBegun(Event):
    """A driver took the sweep up, for the first time or again."""

    kind: ClassVar[str] = "session"
    session: str | int = ""
    pid: int = 0
    host: str = ""
    resumed: bool = False


class TrialEvent(Event):
    """A line about one trial."""

    trial: int


class Proposed(TrialEvent):
    """A trial is to be run; of a replicate, a finalist and most controls, `of` names the trial it answers to."""

    kind: ClassVar[str] = "propose"
    id: str
    role: Role
    control: str | None = None
    params: dict[str, JsonValue]  # as a sampler chose them, by name
    config: dict[str, JsonValue]  # a TrialConfig as it was dumped, perhaps by an older program
    origin: str = "sampler"
    reuse_of: int | None = None
    of: int | None = None
    seed: int | None = None


class Started(TrialEvent):
    """A worker took an attempt up."""

    kind: ClassVar[str] = "start"
    attempt: int
    node: str | None = None


class Reported(TrialEvent):
    """A dev evaluation or the end of a stage (`boundary`)."""

    kind: ClassVar[str] = "report"
    attempt: int
    stage: str
    step: int
    steps_total: int
    metrics: dict[str, float | None]
    node: str | None = None
    boundary: bool = False


class Retried(TrialEvent):
    """An attempt is over and its trial is not: it waits for a stage, has failed, or went down with its node."""

    kind: ClassVar[str] = "retry"
    attempt: int
    reason: str
    gpu_seconds: float = 0.0
    failure: bool = False
    waits: bool = False
    lost: bool = False


class Ended(TrialEvent):
    """A trial is over; attempt 0 is one that took over the result of its twin."""

    kind: ClassVar[str] = "end"
    attempt: int
    state: EndState
    metrics: dict[str, float | None]
    details: dict[str, Any] = {}
    reason: str | None = None
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    fidelity: float = 0.0
    node: str | None = None


class Finished(Event):
    """The last line of a session: how it ended."""

    kind: ClassVar[str] = "finish"
    status: Status
    reason: str | None = None
    seconds: float = 0.0


class Note(Event):
    """Something to tell that is no part of the journal."""

    kind: ClassVar[str] = "note"
    text: str = ""


class Unknown(Event):
    """A line of a kind that a later version may write."""


KINDS: dict[str, type[Event]] = {
    one.kind: one for one in (Opened, SessionBegun, Proposed, Started, Reported, Retried, Ended, Finished, Note)
}


def note(text: str) -> Note:
    """Something to tell, now."""
    return Note(at=round(time.time(), 6), text=text)


def parse(line: bytes) -> Event:
    """The event of a line; ValueError says what is wrong with it."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("no object")
    lacking = [name for name in ("event", "at") if name not in found]
    if lacking:
        raise ValueError(f"no '{lacking[0]}'")
    try:
        # A kind that only a later version knows is an event of no consequence, not a broken journal.
        return KINDS.get(found.pop("event"), Unknown).model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}") from None
