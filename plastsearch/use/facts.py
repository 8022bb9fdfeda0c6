"""What is known of a found model beside its weights; kept as JSON and read without trust. No torch here."""

import json
import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from plastsearch.errors import PlastsearchError
from plastsearch.spec.closed import Closed
from plastsearch.use.story import check_story

MOST_BYTES = 8 << 20  # of a facts file: one that is longer was not written here
RATES_HZ = (1_000, 768_000)
MOST_WINDOW_S = 60

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Calibration(Closed):
    """Log-likelihood ratio = slope × score + offset (natural logarithm), and what that was learnt from."""

    slope: Finite
    offset: Finite
    learnt_on: str  # in words: which clips
    bona_fide: int = Field(ge=1)
    spoofed: int = Field(ge=1)
    cllr_before: Finite | None = None
    cllr_after: Finite | None = None
    min_cllr: Finite | None = None


class Facts(Closed):
    """All that scoring needs beside the weights, and where the model comes from."""

    format: Literal[1] = 1
    name: str  # as a person calls it: `smoke:17`
    network: dict[str, JsonValue]  # the detector's plain_config before any growth
    growth: dict[str, JsonValue]  # the plan (growth/checkpoint.py) that turns it into the found one's shapes
    rate_hz: int = Field(ge=RATES_HZ[0], le=RATES_HZ[1])
    length_samples: int = Field(ge=1, le=1 << 26)  # of the clips it was trained and judged on: its window
    storage: Literal["int16", "float32"] = "int16"  # how it heard its clips
    threshold: Finite | None = None  # of the plain score, where the two errors on search-dev are equal
    calibration: Calibration | None = None
    # How it was found, for its card: sweep, trial, configuration, metrics.
    found: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _story_is_one(self) -> Self:
        check_story(self.found)
        return self

    @model_validator(mode="after")
    def _window_is_audible(self) -> Self:
        if self.length_samples < 400:
            raise ValueError("length_samples: below 400 no network here hears anything")
        if self.length_samples > MOST_WINDOW_S * self.rate_hz:
            raise ValueError(f"length_samples: no window here is longer than {MOST_WINDOW_S} s")
        return self


def log_odds(prior: float) -> float:
    """Of a probability of bona fide speech before any score is known."""
    return math.log(prior / (1 - prior))


def validated(plain: object, path: Path) -> Facts:
    """Facts from plain data, each mistake with its place."""
    try:
        return Facts.model_validate_json(json.dumps(plain), strict=True)
    except (ValidationError, RecursionError, ValueError) as error:
        first = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        where = ".".join(str(part) for part in first["loc"]) if first else ""
        what = f"{where}: {first['msg']}".removeprefix(": Value error, ") if first else str(error)[:200]
        raise PlastsearchError(f"{path}: {what}; export the model again") from None
