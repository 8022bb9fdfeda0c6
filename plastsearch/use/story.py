"""How a model was found, as its facts tell it: what a card draws numbers from has its kinds, the rest is free."""

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

Finite = Annotated[float, Field(allow_inf_nan=False)]
Rates = dict[str, Finite]
Metrics = dict[str, Finite | None]
JUDGED = ("dev_eer", "eval_eer")  # a metric of this name is a number wherever it stands


class _StageTold(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    sites: dict[str, int] | None = None
    removed: dict[str, int] | None = None
    removed_new: dict[str, int] | None = None
    kernels: dict[str, int] | None = None


class _Story(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    config: dict[str, JsonValue] | None = None
    metrics: Metrics | None = None
    baseline: Metrics | None = None
    per_attack: Rates | None = None
    eval_per_attack: Rates | None = None
    attack_intervals: dict[str, dict[str, tuple[Finite, Finite]]] | None = None
    stages: list[_StageTold] | None = None
    finalists: list[Metrics] | None = None
    baseline_finalists: list[Metrics] | None = None
    evaluation_names: list[str] | None = None

    @model_validator(mode="after")
    def _judged(self) -> "_Story":
        for metrics in (self.metrics or {}, self.baseline or {}):
            if any(metrics.get(name, 0) is None for name in JUDGED):
                raise ValueError(f"metrics: {' and '.join(JUDGED)} are numbers where they are there")
        for run in (*(self.finalists or ()), *(self.baseline_finalists or ())):
            if run.get("eval_eer") is None:
                raise ValueError("finalists: each has its eval_eer")
        return self


def check_story(found: dict[str, JsonValue]) -> None:
    """ValueError with the place of the first thing that is not of its kind."""
    try:
        _Story.model_validate_json(json.dumps(found), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"found.{where}: {first['msg']}".replace("found.: Value error, ", "found.")) from None
