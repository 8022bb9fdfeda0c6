"""Where the values of flat parameters come from while a space is walked: draws, a record, a point, a neighbour."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.random import Generator

from plastsearch.errors import SpecError
from plastsearch.search.parameters import Parameter, label
from plastsearch.search.subsets import Encoding


class ValueSource(Protocol):
    """Answers for one parameter, or for all of a subset's."""

    def value(self, one: Parameter) -> Any:
        """A value of the parameter."""

    def subset(self, names: Encoding) -> dict[str, Any]:
        """Values of all parameters of a subset, of an allowed size."""


class RandomValues:
    """Every value is drawn."""

    def __init__(self, rng: Generator) -> None:
        self._rng = rng

    def value(self, one: Parameter) -> Any:
        """Any value, each as likely."""
        return one.at(self._rng.random())

    def subset(self, names: Encoding) -> dict[str, Any]:
        """Any size, each as likely."""
        return names.draw(self._rng)


class RecordedValues:
    """Parameters that are known."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def value(self, one: Parameter) -> Any:
        """The one recorded."""
        return self._params[one.name]

    def subset(self, names: Encoding) -> dict[str, Any]:
        """Those recorded."""
        return {one.name: self._params[one.name] for one in names.parameters}


class PointValues(RandomValues):
    """What a person wrote, by key of the space; the rest is drawn."""

    def __init__(self, point: Mapping[str, Any], rng: Generator) -> None:
        super().__init__(rng)
        self._point = point

    def value(self, one: Parameter) -> Any:
        """The point's value, which may be one for all sites or one for each."""
        if one.key not in self._point:
            return super().value(one)
        value = self._point[one.key]
        site = one.name.removeprefix(one.key + ".")
        if isinstance(value, dict) and one.name != one.key:
            return value[site] if site in value else super().value(one)
        return label(value) if one.labels else value

    def subset(self, names: Encoding) -> dict[str, Any]:
        """The point's sites, if the encoding can say them."""
        if "layers" not in self._point:
            return super().subset(names)
        chosen = self._point["layers"]
        strange = [name for name in chosen if name not in names.names]
        if strange:
            known = ", ".join(names.names)
            raise SpecError([f"layers: {', '.join(strange)} may not be chosen here; the space has {known}"])
        params = names.encode(chosen)
        if params is None or not names.least <= len(chosen) <= names.most:
            raise SpecError(
                [
                    f"layers: {', '.join(chosen) or 'no sites'} cannot be chosen: {names.least} to {names.most} sites"
                    + ("" if params else "; or use encoding onoff, which can say every subset")
                ]
            )
        return params


class MutatedValues(RandomValues):
    """Known parameters, but for one that is drawn anew."""

    def __init__(self, params: Mapping[str, Any], name: str, rng: Generator) -> None:
        super().__init__(rng)
        self._params, self._name = params, name

    def value(self, one: Parameter) -> Any:
        """Another value for the one, drawn where the change makes new parameters count."""
        if one.name != self._name:
            return self._params[one.name] if one.name in self._params else super().value(one)
        old = self._params[one.name]
        return next((new for _ in range(16) if (new := super(MutatedValues, self).value(one)) != old), old)

    def subset(self, names: Encoding) -> dict[str, Any]:
        """One switch the other way, and the size mended."""
        return names.repair({one.name: self.value(one) for one in names.parameters}, self._rng)
