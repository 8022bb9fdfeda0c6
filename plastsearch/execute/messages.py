"""What crosses the border between the driver and a worker process: a task one way, messages the other, as text."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings


class _Plain(BaseModel):
    # A trial may report a NaN; only the journal, which is read by others, has null for it.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")


class Task(_Plain):
    """All that a worker needs for one attempt at a trial."""

    function: str  # package.module:function
    config: TrialConfig
    settings: RunSettings

    def as_text(self) -> str:
        """The text that `task_from` reads."""
        return self.model_dump_json(by_alias=True)


class Progress(_Plain):
    """A dev evaluation, or the end of a stage (`boundary`)."""

    kind: Literal["progress"] = "progress"
    stage: str
    step: int
    steps_total: int
    metrics: dict[str, float]
    node: str
    boundary: bool = False  # the stage is finished and kept
    system: dict[str, float] = {}  # what this process takes of its machine (own_figures.py)


class _End(_Plain):
    """What every end of an attempt says."""

    node: str | None = None
    seconds: float | None = None  # of the attempt, by the worker's clock; None: there was no worker to tell
    gpu_lost: bool = False  # this process can run nothing more on its GPU


class Done(_End):
    """The final report."""

    kind: Literal["done"] = "done"
    metrics: dict[str, float]
    details: dict[str, Any] = {}


class Failed(_End):
    """Why there is none; `again`: another attempt may do better."""

    kind: Literal["failed"] = "failed"
    reason: str
    again: bool = False
    blameless: bool = False  # it went down with its node
    no_room: bool = False  # a disk was full, or a quota spent: whatever runs next meets the same
    details: dict[str, Any] = {}


class Busy(_End):
    """Another process computes a stage that this attempt needs."""

    kind: Literal["busy"] = "busy"
    reason: str


End = Done | Failed | Busy
Message = Progress | End
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def task_from(text: str) -> Task:
    """The task that was sent."""
    return Task.model_validate_json(text)


def message_as_text(message: Message) -> str:
    """The text that `message_from` reads."""
    # Not by the adapter: it has no settings of its own, and would turn a NaN into null, which is no number any more.
    return message.model_dump_json()


def message_from(text: str) -> Message:
    """The message that was sent."""
    return _MESSAGE.validate_json(text)
