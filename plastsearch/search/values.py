"""Where the values of flat parameters come from while a space is walked: draws, a record, a point, a neighbour."""

from collections.abc import Mapping
from typing import Protocol

from numpy.random import Generator
from pydantic import JsonValue

from plastsearch.errors import SpecError
from plastsearch.search.parameters import Parameter, label, names
from plastsearch.search.subsets import Encoding
from plastsearch.spec.domains import Params, Value


class ValueSource(Protocol):
    """Answers for one parameter, or for all of a subset's."""

    def value(self, one: Parameter) -> Value:
        """A value of the parameter."""

    def subset(self, sites: Encoding) -> Params:
        """Values of all parameters of a subset, of an allowed size."""


class RandomValues:
    """Every value is drawn."""

    def __init__(self, rng: Generator) -> None:
        self._rng = rng

    def value(self, one: Parameter) -> Value:
        """Any value, each as likely."""
        return one.at(self._rng.random())

    def subset(self, sites: Encoding) -> Params:
        """Any size, each as likely."""
        return sites.draw(self._rng)


class RecordedValues:
    """Parameters that are known."""

    def __init__(self, params: Mapping[str, Value]) -> None:
        self._params = params

    def value(self, one: Parameter) -> Value:
        """The one recorded."""
        return self._params[one.name]

    def subset(self, sites: Encoding) -> Params:
        """Those recorded."""
        return {one.name: self._params[one.name] for one in sites.parameters}


class PointValues(RandomValues):
    """What a person wrote, by key of the space; the rest is drawn."""

    def __init__(self, point: Mapping[str, JsonValue], rng: Generator) -> None:
        super().__init__(rng)
        self._point = point

    def value(self, one: Parameter) -> Value:
        """The point's value, which may be one for all sites or one for each."""
        if one.key not in self._point:
            return super().value(one)
        # One value for all sites or a table of sites; what a table leaves out is drawn like any other parameter.
        value = self._point[one.key]
        site = one.name.removeprefix(one.key + ".")
        if isinstance(value, dict) and one.name != one.key:
            return label(value[site]) if site in value else super().value(one)
        return label(value)

    def subset(self, sites: Encoding) -> Params:
        """The point's sites, if the encoding can say them."""
        if "layers" not in self._point:
            return super().subset(sites)
        chosen = names(self._point["layers"])
        strange = [name for name in chosen if name not in sites.names]
        if strange:
            known = ", ".join(sites.names)
            raise SpecError([f"layers: {', '.join(strange)} may not be chosen here; the space has {known}"])
        params = sites.encode(chosen)
        if params is None or not sites.least <= len(chosen) <= sites.most:
            raise SpecError(
                [
                    f"layers: {', '.join(chosen) or 'no sites'} cannot be chosen: {sites.least} to {sites.most} sites"
                    + ("" if params else "; or use encoding onoff, which can say every subset")
                ]
            )
        return params


class MutatedValues(RandomValues):
    """Known parameters, but for one that is drawn anew."""

    def __init__(self, params: Mapping[str, Value], name: str, rng: Generator) -> None:
        super().__init__(rng)
        self._params = params
        self._name = name

    def value(self, one: Parameter) -> Value:
        """Another value for the one, drawn where the change makes new parameters count."""
        if one.name != self._name:
            return self._params[one.name] if one.name in self._params else super().value(one)
        # Of two labels every other draw is the old one again; after sixteen the neighbour is the point itself.
        old = self._params[one.name]
        return next((new for _ in range(16) if (new := super(MutatedValues, self).value(one)) != old), old)

    def subset(self, sites: Encoding) -> Params:
        """One switch the other way, then other switches until the size is allowed."""
        return sites.repair({one.name: self.value(one) for one in sites.parameters}, self._rng)
