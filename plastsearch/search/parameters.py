"""Flat parameters: what a sampler sees of a search space, whatever library it comes from."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from plastsearch.spec.domains import Choice, FloatRange, IntRange, Params, Value


@dataclass(frozen=True)
class Parameter:
    """One number or one of some labels; `key` is the space's key it belongs to."""

    name: str
    key: str
    labels: tuple[Value, ...] = ()  # of a categorical one
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def single(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.labels) == 1 if self.labels else self.low == self.high

    def at(self, unit: float) -> Value:
        """The value at a point between 0 and 1: equal shares for labels and steps."""
        unit = min(max(unit, 0.0), math.nextafter(1.0, 0.0))
        if self.labels:
            return self.labels[int(unit * len(self.labels))]
        if self.log:
            return self._whole_log(unit) if self.whole else min(_between(self.low, self.high, unit), self.high)
        if self.whole or self.step:
            # Equal shares for the steps, instead of rounding: that would give both ends half a share.
            step = self.step or 1
            count = 1 + math.floor((self.high - self.low) / step + 1e-9)
            value = self.low + step * int(unit * count)
            return int(value) if self.whole else value
        return self.low + unit * (self.high - self.low)

    def _whole_log(self, unit: float) -> int:
        # Half a step beyond both ends, as Optuna does, so that they are drawn as often as what lies between them.
        value = _between(max(self.low - 0.5, 0.5), self.high + 0.5, unit)
        return int(min(max(round(value), self.low), self.high))


def _between(low: float, high: float, unit: float) -> float:
    """The point on a logarithmic scale."""
    return math.exp(math.log(low) * (1 - unit) + math.log(high) * unit)


def parameter(name: str, key: str, domain: Choice | IntRange | FloatRange) -> Parameter:
    """The flat parameter of a domain."""
    if isinstance(domain, Choice):
        return Parameter(name, key, tuple(label(value) for value in domain.of))
    if isinstance(domain, IntRange):
        return Parameter(name, key, (), domain.low, domain.high, domain.step, domain.log, True)
    return Parameter(name, key, (), domain.low, domain.high, domain.step, domain.log)


def label(value: JsonValue) -> Value:
    """What stands for a choice: itself, or its JSON text where a sampler could not hold it."""
    return value if isinstance(value, str | int | float | bool) or value is None else json.dumps(value, sort_keys=True)


def flat(params: Mapping[str, JsonValue]) -> Params:
    """Flat parameters as the journal has them."""
    return {name: label(value) for name, value in params.items()}


def unlabel(domain: Choice, chosen: Value) -> JsonValue:
    """The choice a label stands for."""
    # By type as well: in Python 1, 1.0 and True are equal, and a choice may hold all of them.
    found = [value for value in domain.of if label(value) == chosen and type(label(value)) is type(chosen)]
    return found[0] if found else chosen


def values_of(domain: Choice | IntRange | FloatRange) -> list[JsonValue] | None:
    """Every value of a finite domain; None if there is no end of them."""
    if isinstance(domain, Choice):
        return list(domain.of)
    if isinstance(domain, IntRange):
        return list(domain.values)
    if domain.low == domain.high:
        return [domain.low]
    return [domain.nearest(domain.low + (domain.step or 0) * at) for at in range(domain.count)] or None


def meets(wanted: Mapping[str, JsonValue], values: Mapping[str, JsonValue]) -> bool:
    """Whether every condition of a `when:` holds."""
    return all(values[key] in (options if isinstance(options, list) else [options]) for key, options in wanted.items())


def names(value: JsonValue) -> list[str]:
    """Sites as a person writes them: one pattern, or a list of them."""
    return [str(name) for name in value] if isinstance(value, list) else [str(value)]
