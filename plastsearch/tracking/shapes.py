"""What readers of a journal rely on in its two free fields: a sweep's specification, and what a trial says of itself.

Older and later programs may say more there, so nothing is refused for being unknown; what is read has its type.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from plastsearch.spec.sweep import Halt


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _Objective(_Shape):
    metric: str
    goal: Literal["min", "max"] | None = None
    reference: float | None = Field(None, ge=-1e100, le=1e100)


class _Spec(_Shape):
    name: str | None = None
    question: str | None = None
    base: dict[str, JsonValue] = {}
    space: dict[str, JsonValue] = {}
    objectives: list[_Objective] | None = None
    constraints: list[str] | None = None
    controls: list[str] | None = None
    search: dict[str, JsonValue] = {}
    halt: dict[str, JsonValue] | None = None


class _Newborns(_Shape):
    gradient: float | None
    share: float
    units: float


class _Look(_Shape):
    step: int
    sites: dict[str, _Newborns] = {}


class _Stage(_Shape):
    stage: str
    key: str
    source: str | None = Field(None, alias="from")
    seconds: float = 0.0
    newborns: list[_Look] | None = None


class _Insertion(_Shape):
    sites: dict[str, int] = {}


class _Set(_Shape):
    digest: str
    clips: int = 0
    hours: float = 0.0


class _Details(_Shape):
    stages: list[_Stage] | None = None
    warnings: list[str] | None = None
    scores: dict[str, str] | None = None
    score_file: str | None = None
    growth_plan: list[_Insertion] | None = None
    model_key: str | None = None
    per_attack: dict[str, float | None] | None = None
    data: dict[str, _Set] | None = None
    eval_openings: int = 0
    eval_openings_said: str = ""


def check_spec(plain: dict[str, JsonValue]) -> None:
    """ValidationError: something that reports read of it has another type."""
    found = _Spec.model_validate(plain)
    if found.halt is not None:
        Halt.model_validate(found.halt)


def check_details(plain: dict[str, Any]) -> None:
    """ValidationError: something that is read of it has another type."""
    _Details.model_validate(plain)
