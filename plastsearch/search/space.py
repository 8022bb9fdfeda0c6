"""A search space over a network's sites: flat parameters ↔ TrialConfig, its size, its points. Sampling: study.py."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from numpy.random import Generator
from pydantic import JsonValue, ValidationError

from plastsearch.errors import SpecError
from plastsearch.models.sites import SiteRow, site_table
from plastsearch.models.widths import SitesUnknownError
from plastsearch.search.canonical import canonical
from plastsearch.search.parameters import Parameter, meets, names, parameter, unlabel, values_of
from plastsearch.search.subsets import Encoding, encoding
from plastsearch.search.values import MutatedValues, PointValues, RandomValues, RecordedValues, ValueSource
from plastsearch.spec.coherence import set_at, value_at
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.domains import Choice, Domain, FloatRange, IntRange, Params, Point, Subset, Value
from plastsearch.spec.methods import reads
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.patterns import match_sites
from plastsearch.spec.sweep import SweepSpec


def open_space(spec: SweepSpec) -> "Space":
    """The space of a sweep over the sites of its network; those of the preset, while a hub's weights are not here."""
    try:
        return Space(spec, site_table(spec.base.model))
    except SitesUnknownError:
        return Space(spec, site_table(spec.base.model.model_copy(update={"from_": None})))


class Space:
    """Domains × sites. `walk` is the one place that knows which parameters count, given the others."""

    def __init__(self, spec: SweepSpec, rows: Sequence[SiteRow]) -> None:
        self.spec = spec
        self.sites = tuple(row.name for row in rows)
        self._tables = {spec.base.model.model_dump_json(): {row.name: row for row in rows}}
        base = spec.base
        # Patterns become names here, once: a trial's id must not depend on how its sites were written.
        fixed = {"layers": tuple(match_sites(base.layers, self.sites))} if base.layers else {}
        self.base = base.model_copy(update=fixed)
        self.domains: dict[str, Domain] = {key: spec.space[key] for key in _parents_first(spec.space)}
        self._rest = {key: value_at(self.base, key) for key in self.domains}
        layers = self.domains.get("layers")
        self.subset: Encoding | None = None
        if isinstance(layers, Subset):
            names = match_sites(layers.patterns, self.sites)
            if layers.min > len(names):
                raise SpecError([f"space.layers.min: {layers.min} of {len(names)} sites; lower it or match more sites"])
            self.subset = encoding(spec.search.encoding, names, layers.min, layers.max, spec.search.blocks)

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """The sites a trial may choose; where none are searched, all of the kinds that the base names."""
        layers = self.domains.get("layers")
        if self.subset is not None:
            return self.subset.names
        if isinstance(layers, Choice):
            named = {name for value in layers.of for name in match_sites(tuple(names(value)), self.sites)}
            return tuple(name for name in self.sites if name in named)
        kinds = {row.kind for name, row in self.rows(self.base.model).items() if name in self.base.growth()}
        return tuple(name for name, row in self.rows(self.base.model).items() if row.kind in kinds)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Every flat parameter that any point may have, by name, parents first."""
        found: list[Parameter] = []
        for key, domain in self.domains.items():
            if isinstance(domain, Subset):
                found += self.subset.parameters if self.subset else ()
            elif _per_layer(domain):
                found += [parameter(f"{key}.{site}", key, domain) for site in self.candidates]
            else:
                found.append(parameter(key, key, domain))
        return {one.name: one for one in found}

    @cached_property
    def always(self) -> frozenset[str]:
        """Names of the parameters that every point has."""
        free = {key for key, domain in self.domains.items() if not domain.when and not self._conditional(key, domain)}
        return frozenset(name for name, one in self.parameters.items() if one.key in free)

    def rows(self, model: ModelConfig) -> dict[str, SiteRow]:
        """The sites of a network, by name."""
        key = model.model_dump_json()
        if key not in self._tables:
            try:
                rows = site_table(model)
            except SitesUnknownError:
                rows = site_table(model.model_copy(update={"from_": None}))
            self._tables[key] = {row.name: row for row in rows}
        return self._tables[key]

    def walk(self, chooser: ValueSource) -> tuple[Params, Point]:
        """Ask for each parameter that counts, parents first; the flat parameters, and what they mean."""
        params: Params = {}  # as a sampler sees them
        point: Point = {}  # as a person would write them
        values = dict(self._rest)  # the point and what the base says of the rest: conditions ask for both
        for key, domain in self.domains.items():
            if not self._counts(key, domain, values):
                continue
            if isinstance(domain, Subset):
                assert self.subset is not None
                params |= (chosen := chooser.subset(self.subset))
                point[key] = list(self.subset.decode(chosen))
            elif _per_layer(domain):
                sites = self._chosen_sites(values)
                chosen = {f"{key}.{site}": chooser.value(self.parameters[f"{key}.{site}"]) for site in sites}
                params |= chosen
                point[key] = {site: _meaning(domain, chosen[f"{key}.{site}"]) for site in sites}
            else:
                value = chooser.value(self.parameters[key])
                if isinstance(domain, FloatRange) and isinstance(value, int | float):
                    value = domain.nearest(value)  # 0.6000000000000001 would be another trial than 0.6
                params[key] = value
                point[key] = self._resolved(key, _meaning(domain, params[key]))
            values[key] = point[key]
        return params, point

    def config(self, params: Mapping[str, Value]) -> TrialConfig:
        """The trial that flat parameters mean, in its canonical form."""
        _, point = self.walk(RecordedValues(params))
        return self.config_at(point)

    def config_at(self, point: Mapping[str, object]) -> TrialConfig:
        """The trial that differs from the base in these settings, inside or outside of their domains; canonical."""
        try:
            config = set_at(self.base, point)
        except ValidationError as error:  # values that are allowed one by one may exclude each other
            raise SpecError([f"a point of the space is no configuration: {error.errors()[0]['msg']}"]) from None
        return canonical(self._snapped(config), self.sites)

    def flat(self, point: Mapping[str, JsonValue], rng: Generator) -> Params:
        """The flat parameters of a point; what it leaves open is drawn."""
        given = dict(point)
        if "layers" in given:
            given["layers"] = self._resolved("layers", given["layers"])
            layers = self.domains.get("layers")
            if isinstance(layers, Choice):
                same = [one for one in layers.of if match_sites(tuple(names(one)), self.sites) == given["layers"]]
                given["layers"] = same[0] if same else point["layers"]
        return self.walk(PointValues(given, rng))[0]

    def draw(self, rng: Generator) -> Params:
        """A random point."""
        return self.walk(RandomValues(rng))[0]

    def neighbour(self, params: Mapping[str, Value], rng: Generator) -> Params:
        """The same point but for one parameter."""
        # One parameter, but a new walk: a change of the method, say, makes other parameters count.
        free = [name for name in params if not self.parameters[name].single]
        if not free:
            return dict(params)
        return self.walk(MutatedValues(params, free[int(rng.integers(len(free)))], rng))[0]

    @cached_property
    def size(self) -> int | None:
        """How many points there are, exactly; None if a range has no steps."""
        # Counted by domains, not by listing: the switches of 24 sites alone make 16 million points.
        return self._size(list(self.domains), dict(self._rest))

    def points(self) -> Iterator[Point]:
        """Every point of a finite space, small subsets first."""
        return self._points(list(self.domains), dict(self._rest))

    def _counts(self, key: str, domain: Domain, values: Mapping[str, JsonValue]) -> bool:
        return reads(str(values.get("method", self.base.method)), key) and meets(domain.when, values)

    def _chosen_sites(self, values: Mapping[str, JsonValue]) -> list[str]:
        """Where a point grows: as chosen so far, else as the base says."""
        chosen = values.get("layers")
        return names(chosen) if chosen else list(self.base.layers)

    def _conditional(self, key: str, domain: Domain) -> bool:
        """Whether a parameter hangs on the method or on the chosen sites."""
        method = self.domains.get("method")
        methods = method.of if isinstance(method, Choice) else (self.base.method,)
        return _per_layer(domain) or not all(reads(str(name), key) for name in methods)

    def _resolved(self, key: str, value: JsonValue) -> JsonValue:
        return [*match_sites(tuple(names(value)), self.sites)] if key == "layers" and value else value

    def _snapped(self, config: TrialConfig) -> TrialConfig:
        """Widths rounded to what a site can have, where the space asks for that."""
        domain = self.domains.get("neurons")
        growth = config.growth()
        if not isinstance(domain, Choice | IntRange) or domain.fit != "snap" or not growth or config.rings():
            return config
        rows = self.rows(config.model)
        fitted = {name: snapped(count, rows[name].step) if name in rows else count for name, count in growth.items()}
        return config.model_copy(update={"layers": tuple(fitted), "neurons": fitted})

    def _controlling(self) -> set[str]:
        return {other for domain in self.domains.values() for other in domain.when} | {"method"}

    def _size(self, keys: list[str], values: dict[str, JsonValue]) -> int | None:
        if not keys:
            return 1
        key, rest = keys[0], keys[1:]
        domain = self.domains[key]
        if not self._counts(key, domain, values):
            return self._size(rest, values)
        if isinstance(domain, Subset):
            assert self.subset is not None
            # How many sites are chosen matters for what follows, which they are does not.
            return _sum(
                _times(count, self._size(rest, {**values, key: [""] * size}))
                for size, count in self.subset.counts().items()
            )
        options = values_of(domain)
        if options is None:
            return None
        if _per_layer(domain):
            return _times(len(options) ** len(self._chosen_sites(values)), self._size(rest, values))
        if key in self._controlling() or key == "layers":
            return _sum(self._size(rest, {**values, key: self._resolved(key, value)}) for value in options)
        return _times(len(options), self._size(rest, values))  # nothing that follows depends on this value

    def _points(self, keys: list[str], values: dict[str, JsonValue]) -> Iterator[Point]:
        if not keys:
            yield {}
            return
        key, rest = keys[0], keys[1:]
        domain = self.domains[key]
        if not self._counts(key, domain, values):
            yield from self._points(rest, values)
            return
        for value in self._options(key, domain, values):
            for point in self._points(rest, {**values, key: value}):
                yield {key: value, **point}

    def _options(self, key: str, domain: Domain, values: Mapping[str, JsonValue]) -> Iterator[JsonValue]:
        if isinstance(domain, Subset):
            assert self.subset is not None
            for chosen in self.subset.subsets():
                yield [*chosen]
            return
        options = values_of(domain)
        if options is None:
            raise SpecError([f"space.{key}: sampler grid needs steps; add `step:` or list the values as a choice"])
        if _per_layer(domain):
            yield from _products(self._chosen_sites(values), options)
        else:
            yield from (self._resolved(key, value) for value in options)


def snapped(count: int, step: int) -> int:
    """The nearest multiple of a site's step, never none at all."""
    # In whole numbers: Python's round() takes halves to the even neighbour, so 24 and 40 would meet at 32 of step 16.
    return count if count == 0 else max(1, (2 * count + step) // (2 * step)) * step


def _products(sites: Sequence[str], options: Sequence[JsonValue]) -> Iterator[dict[str, JsonValue]]:
    if not sites:
        yield {}
        return
    for rest in _products(sites[:-1], options):
        for value in options:
            yield {**rest, sites[-1]: value}


def _parents_first(space: Mapping[str, Domain]) -> list[str]:
    """Keys such that conditions come before what hangs on them, the method first and sites before widths."""
    left = sorted(space, key=lambda key: (key != "method", key != "layers"))
    done: list[str] = []
    while left:
        ready = next((key for key in left if all(other in done for other in space[key].when)), None)
        if ready is None:
            raise SpecError([f"space: the conditions of {', '.join(left)} go round in a circle"])
        left.remove(ready)
        done.append(ready)
    if "layers" in done and "neurons" in done and _per_layer(space["neurons"]):
        done.remove("neurons")
        done.insert(done.index("layers") + 1, "neurons")
    return done


def _per_layer(domain: Domain) -> bool:
    return isinstance(domain, Choice | IntRange) and domain.per_layer


def _meaning(domain: Choice | IntRange | FloatRange, chosen: Value) -> JsonValue:
    return unlabel(domain, chosen) if isinstance(domain, Choice) else chosen


def _times(count: int, rest: int | None) -> int | None:
    return None if rest is None else count * rest


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
