"""Domains: the values a search may choose from, told apart by `kind`. What they do to a network: search/space.py."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from plastsearch.spec.closed import Closed
from plastsearch.spec.config import SiteName
from plastsearch.spec.limits import MOST_BOUND, MOST_CHOICES, MOST_STEPS_OF_A_RANGE

Value = None | bool | int | float | str  # of one flat parameter
Params = dict[str, Value]  # by name, as a sampler chose them
Point = dict[str, JsonValue]  # key of a space → what a person would write there
Conditions = dict[str, JsonValue]  # key of the space → the value, or list of values, for which a domain counts


class Choice(Closed):
    """One of the values listed."""

    kind: Literal["choice"]
    """A value out of a list."""
    of: tuple[JsonValue, ...] = Field(min_length=1, max_length=MOST_CHOICES)
    """The values, each once."""
    when: Conditions = Field(default_factory=dict, examples=[{"method": "lora"}])
    """Counts only where other keys of the space have these values."""
    per_layer: bool = False
    """`neurons` only: chosen anew for each chosen site."""
    fit: Literal["refuse", "snap"] = "refuse"
    """`neurons` only: what becomes of widths that a site cannot have."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({repr(value) for value in self.of}) < len(self.of):
            raise ValueError("a value is listed twice; list each once")
        return self


class IntRange(Closed):
    """A whole number from `low` to `high`, both included, in steps."""

    kind: Literal["int"]
    """A whole number out of a range."""
    low: int = Field(ge=-MOST_BOUND, le=MOST_BOUND)
    """The smallest value."""
    high: int = Field(ge=-MOST_BOUND, le=MOST_BOUND)
    """The largest value; steps from `low` have to meet it."""
    step: int = Field(1, ge=1, le=MOST_BOUND)
    """From value to value."""
    log: bool = False
    """Small values are as likely as large ones; `low` is then above 0, and there are no steps."""
    when: Conditions = Field(default_factory=dict, examples=[{"method": "lora"}])
    """Counts only where other keys of the space have these values."""
    per_layer: bool = False
    """`neurons` only: chosen anew for each chosen site."""
    fit: Literal["refuse", "snap"] = "refuse"
    """`neurons` only: what becomes of widths that a site cannot have."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _ordered(self.low, self.high, self.log)
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other; drop one, or list the values as a choice")
        _countable((self.high - self.low) // self.step + 1, "a larger step")
        if (self.high - self.low) % self.step:
            reached = self.high - (self.high - self.low) % self.step
            raise ValueError(f"steps of {self.step} from {self.low} miss high: {self.high}; write high: {reached}")
        return self

    @property
    def values(self) -> range:
        """Every value it can take."""
        return range(self.low, self.high + 1, self.step)


class FloatRange(Closed):
    """A number from `low` to `high`, both included."""

    kind: Literal["float"]
    """A number out of a range."""
    low: float = Field(ge=-MOST_BOUND, le=MOST_BOUND)
    """The smallest value."""
    high: float = Field(ge=-MOST_BOUND, le=MOST_BOUND)
    """The largest value."""
    step: float | None = Field(None, gt=0)
    """From value to value; null: any number."""
    log: bool = False
    """Small values are as likely as large ones; `low` is then above 0, and there are no steps."""
    when: Conditions = Field(default_factory=dict, examples=[{"method": "lora"}])
    """Counts only where other keys of the space have these values."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _ordered(self.low, self.high, self.log)
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; drop one, or list the values as a choice")
        if self.step is not None:
            _countable((self.high - self.low) / self.step, "a larger step, or none")
        if self.step is not None and self.low + self.step * (self.count - 1) < self.high - 1e-9 * abs(self.high):
            raise ValueError(f"steps of {self.step:g} from {self.low:g} miss high: {self.high:g}")
        return self

    @property
    def count(self) -> int:
        """How many values; 0: no end of them."""
        return 0 if self.step is None else 1 + math.floor((self.high - self.low) / self.step + 1e-9)

    def nearest(self, value: float) -> float:
        """The value of the range that is meant: 0.6 where adding up steps of 0.2 makes 0.6000000000000001."""
        if self.step is None:
            return value
        return float(f"{self.low + self.step * round((value - self.low) / self.step):.12g}")


class Subset(Closed):
    """Some of the sites that match; the size lies between `min` and `max`."""

    kind: Literal["subset"]
    """Some of the sites; `layers` only."""
    of: SiteName | Annotated[tuple[SiteName, ...], Field(max_length=MOST_CHOICES)] = Field(
        examples=["encoder.*.ffn", "layer{1,2}.*", ["gru.0", "gru.2"]]
    )
    """Patterns over names of sites: `*` within a part, `{0..5}` and `{0,3}` for numbers."""
    min: int = Field(1, ge=0)
    """So many sites at least."""
    max: int | None = Field(None, ge=1)
    """So many at most; null: all of them."""
    when: Conditions = Field(default_factory=dict, examples=[{"method": "lora"}])
    """Counts only where other keys of the space have these values."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not self.of:
            raise ValueError("of: an empty list leaves nothing to choose from; name sites, e.g. 'encoder.*.ffn'")
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max: {self.max} is below min: {self.min}")
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns, one or many."""
        return (self.of,) if isinstance(self.of, str) else self.of


Domain = Annotated[Choice | IntRange | FloatRange | Subset, Field(discriminator="kind")]
KINDS: dict[str, type[Choice] | type[IntRange] | type[FloatRange] | type[Subset]] = {
    "choice": Choice,
    "int": IntRange,
    "float": FloatRange,
    "subset": Subset,
}


def _countable(values: float, mend: str) -> None:
    # Samplers and the count of points list the values of a range.
    if not values <= MOST_STEPS_OF_A_RANGE:
        raise ValueError(
            f"a range of {values:.3g} values; at most {MOST_STEPS_OF_A_RANGE:,}: write {mend}, or less of it"
        )


def _ordered(low: float, high: float, log: bool) -> None:
    if low > high:
        raise ValueError(f"low: {low:g} is above high: {high:g}; swap them")
    if log and low <= 0:
        raise ValueError(f"low: {low:g} has no logarithm; start above 0 or drop log")
