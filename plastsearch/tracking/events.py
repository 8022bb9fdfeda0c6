"""What a journal says: one frozen type for each kind of line, and how each is read and written.

A journal of another version may say more, or less: what is not known is left out, what is missing has a default.
"""

import json
import re
import time
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from plastsearch.tracking.shapes import check_details, check_spec

Role = Literal["search", "control", "replicate", "finalist"]
EndState = Literal["done", "failed", "halted", "reused"]
State = Literal["proposed", "running"] | EndState
Status = Literal["done", "budget", "failures", "interrupted"]

# As far as a clock, a counter or a bill can come; what is beyond was not written by a driver.
Moment = Annotated[float, Field(ge=0, le=2.5e11)]  # up to the year 9892
Count = Annotated[int, Field(ge=0, le=10**15)]
LARGEST = 1e100  # of other numbers: their squares are numbers still

ENDED: frozenset[State] = frozenset({"done", "failed", "halted", "reused"})


class Event(BaseModel):
    """One line; `at` is when it was written down, in seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    kind: ClassVar[str] = ""

    at: Moment = 0.0

    def as_json(self) -> dict[str, JsonValue]:
        """The line as an object: its kind first, and only what its writer said."""
        # Unset fields stay out: defaults may change with the program, what a writer said may not.
        said = self.model_dump(mode="json", exclude_unset=True, exclude={"at"})
        return {"event": self.kind, "at": self.at, **said}


class Merged(BaseModel):
    """One of the sweeps that a merged one was put together from, with its own head."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    label: str  # trials name it
    folder: str = ""
    spec: dict[str, JsonValue] = {}
    spec_hash: str = ""
    overrides: list[str] = []
    status: str = ""
    began_at: Moment = 0.0
    seconds: float = 0.0
    hosts: list[str] = []
    sessions: list[str] = []


class Source(BaseModel):
    """Where a trial of a merged sweep came from, and what it was there."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    sweep: str  # a label of Opened.merged
    trial: Annotated[int, Field(ge=0, le=10**9)]
    role: Role
    of: Count | None = None
    reuse_of: Count | None = None

    @property
    def words(self) -> str:
        """As tables name it."""
        return f"{self.sweep}:{self.trial}"


class Opened(Event):
    """The first line: the sweep's specification, that is, which question it asks."""

    kind: ClassVar[str] = "sweep"
    version: Count = 1
    name: str = ""
    # As SweepSpec.plain() gave it, perhaps to an older program: only what reports read of it is looked at (shapes.py).
    spec: dict[str, JsonValue] = {}
    spec_hash: str = ""
    overrides: list[str] = []
    space: str | None = None
    merged: list[Merged] = []  # of a sweep that was put together from others


class SessionBegun(Event):
    """A driver took the sweep up, for the first time or again."""

    kind: ClassVar[str] = "session"
    session: str | int = ""
    pid: int = 0
    host: str = ""
    resumed: bool = False
    commit: str = ""  # of the checkout it ran from, where there is one
    branch: str = ""
    command: str = ""  # what goes on with it
    versions: dict[str, str] = {}  # of Python and the libraries that results rest on, as the driver has them


class TrialEvent(Event):
    """A line about one trial."""

    trial: Annotated[int, Field(ge=0, le=10**9)]


class Proposed(TrialEvent):
    """A trial is to be run; of a replicate, a finalist and most controls, `of` names the trial it answers to."""

    kind: ClassVar[str] = "propose"
    id: str
    role: Role
    control: str | None = None
    params: dict[str, JsonValue]  # as a sampler chose them, by name
    config: dict[str, JsonValue]  # a TrialConfig as it was dumped, perhaps by an older program
    origin: str = "sampler"
    reuse_of: Count | None = None
    of: Count | None = None
    seed: int | None = None
    source: Source | None = None  # in a merged sweep
    apart: bool = False  # merged from other data than its journal's head asks about: it ranks with nobody here


class Started(TrialEvent):
    """A worker took an attempt up."""

    kind: ClassVar[str] = "start"
    attempt: Count
    node: str | None = None


class Reported(TrialEvent):
    """A dev evaluation or the end of a stage (`boundary`)."""

    kind: ClassVar[str] = "report"
    attempt: Count
    stage: str
    step: Count
    steps_total: Count
    metrics: dict[str, float | None]
    node: str | None = None
    boundary: bool = False
    system: dict[str, float | None] = {}  # what its process took of the machine, as that process saw it


class Retried(TrialEvent):
    """An attempt is over and its trial is not: it waits for a stage, has failed, or went down with its node."""

    kind: ClassVar[str] = "retry"
    attempt: Count
    reason: str
    gpu_seconds: float = 0.0
    failure: bool = False
    waits: bool = False
    lost: bool = False
    reopened: bool = False  # it had ended as failed, for no fault of its own, and runs again


class Ended(TrialEvent):
    """A trial is over; attempt 0 is one that took over the result of its twin."""

    kind: ClassVar[str] = "end"
    attempt: Count
    state: EndState
    metrics: dict[str, float | None]
    details: dict[str, Any] = {}
    reason: str | None = None
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    fidelity: float = 0.0
    node: str | None = None


class Tally(BaseModel):
    """How far the search was, so that whoever asks need not read the journal to its end (standing.py)."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    ended: Count = 0  # trials of the search, whatever became of them
    failed: Count = 0
    planned: Count | None = None
    best: float | None = None  # the first objective of those that keep within the limits


class Finished(Event):
    """The last line of a session: how it ended."""

    kind: ClassVar[str] = "finish"
    status: Status
    reason: str | None = None
    seconds: float = 0.0
    tally: Tally | None = None  # older drivers did not say


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
    try:
        found = json.loads(line.decode(), parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("no object")
    lacking = [name for name in ("event", "at") if name not in found]
    if lacking:
        raise ValueError(f"no '{lacking[0]}'")
    kind = found.pop("event")
    if not isinstance(kind, str):
        raise ValueError("event: a word was expected")
    if _SURROGATE.search(line) and _has_half_characters(found):
        raise ValueError("half a character (a lone surrogate), which no text can hold")
    try:
        # A kind that only a later version knows is an event of no consequence, not a broken journal.
        event = KINDS.get(kind, Unknown).model_validate(found)
        _check(event)
        return event
    except ValidationError as error:
        raise ValueError(in_words(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _check(event: Event) -> None:
    """What is asked of a line that is read, and not of one that is written: a trial may report what is no number."""
    if isinstance(event, Opened):
        for spec in (event.spec, *(one.spec for one in event.merged)):
            check_spec(spec)
    numbers: list[float | None] = []
    if isinstance(event, Reported | Ended):
        numbers += event.metrics.values()
    if isinstance(event, Reported):
        numbers += event.system.values()
    if isinstance(event, Ended):
        check_details(event.details)
        numbers += (event.seconds, event.fidelity)
    if isinstance(event, Ended | Retried):
        numbers.append(event.gpu_seconds)
    if isinstance(event, Finished):
        numbers += (event.seconds, None if event.tally is None else event.tally.best)
    far = next((one for one in numbers if one is not None and not abs(one) <= LARGEST), None)
    if far is not None:
        raise ValueError(f"{far:g} is no measurement")


def in_words(error: ValidationError) -> str:
    """The first of its complaints, with where."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _has_half_characters(found: object) -> bool:
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
