"""What the parts of a search space must agree on: keys, values, conditions, points. No network is asked here."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from plastsearch.spec.config import WIDER_ALWAYS, TrialConfig
from plastsearch.spec.constraints import SPIKES
from plastsearch.spec.document import Place
from plastsearch.spec.domains import Choice, Domain, FloatRange, IntRange, Subset
from plastsearch.spec.methods import METHODS

Mistake = tuple[Place, str]


class Mistakes(ValueError):
    """Several mistakes, each with its place; load.py takes them apart again."""

    def __init__(self, items: Sequence[Mistake]) -> None:
        self.items = list(items)
        super().__init__("; ".join(f"{'.'.join(map(str, place))}: {message}" for place, message in self.items))


def incoherent(
    base: TrialConfig,
    space: Mapping[str, Domain],
    metrics: Sequence[str],
    controls: Sequence[str],
    try_first: Sequence[Mapping[str, JsonValue]],
    dropped: Collection[str] = (),
) -> list[Mistake]:
    """Every disagreement; keys in `dropped` exist but could not be read, so nothing is said of them."""
    found: list[Mistake] = []
    for key, domain in space.items():
        found += _key(key, domain, base) + _conditions(key, space, dropped)
    found += _growth(base, space, dropped) + _training(base, space, dropped)
    found += _twice("objectives", metrics) + _twice("controls", controls)
    if not {"base", "base.model", "base.model.activation", "model.activation"} & set(dropped):
        found += spike_metrics("objectives", metrics, base, space)
    for index, point in enumerate(try_first):
        found += _point(index, point, space, dropped)
    return found


def set_at(config: TrialConfig, values: Mapping[str, object]) -> TrialConfig:
    """A copy in which dotted paths have new values, validated as a whole."""
    plain = config.model_dump(mode="json", by_alias=True)
    for path, value in values.items():
        *parents, last = path.split(".")
        section = plain
        for parent in parents:
            section = section[parent]
        section[last] = value
    return TrialConfig.model_validate_json(json.dumps(plain), strict=True)


def value_at(config: BaseModel, path: str) -> Any:
    """What stands at a dotted path, as plain data; of what type, only the path knows."""
    plain: Any = config.model_dump(mode="json", by_alias=True)
    for part in path.split("."):
        plain = plain[part]
    return plain


def paths(model: type[BaseModel] = TrialConfig, before: str = "") -> list[str]:
    """The dotted path of everything in a TrialConfig that one value can be chosen for."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        path = before + (field.alias or name)
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            found += paths(section, path + ".")
        else:
            found.append(path)
    return found


def contains(domain: Domain, value: object) -> bool:
    """Whether a value belongs to a domain; of a subset the size alone is known here."""
    if isinstance(domain, Choice):
        return any(_same(value, option) for option in domain.of)
    if isinstance(domain, IntRange):
        return isinstance(value, int) and not isinstance(value, bool) and value in domain.values
    if isinstance(domain, FloatRange):
        if not isinstance(value, int | float) or isinstance(value, bool) or not domain.low <= value <= domain.high:
            return False
        return domain.step is None or math.isclose(value, domain.nearest(value), rel_tol=1e-9, abs_tol=1e-12)
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        return False
    return len(set(value)) == len(value) and domain.min <= len(value) <= (domain.max or len(value))


def _same(one: object, other: object) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _key(key: str, domain: Domain, base: TrialConfig) -> list[Mistake]:
    known = paths()
    if key not in known:
        return [(("space", key), f"no such setting of a trial{suggest(key, known)}; known: {_some(known)}")]
    if key == "data.crops":
        return [(("space", key), "a sweep has one crop policy for all its arms, so it stands under base")]
    if isinstance(domain, Subset) and key != "layers":
        return [(("space", key), "a subset chooses sites, so it stands under 'layers' only; use a choice of lists")]
    if key == "layers" and not isinstance(domain, Subset | Choice):
        return [(("space", key), "layers are a subset of the sites (or a choice of lists of sites)")]
    if not isinstance(domain, Subset) and not isinstance(domain, FloatRange):
        if key != "neurons" and domain.per_layer:
            return [(("space", key, "per_layer"), "belongs to 'neurons' only")]
        if key != "neurons" and domain.fit != "refuse":
            return [(("space", key, "fit"), "belongs to 'neurons' only")]
    return _values(key, domain, base)


def _values(key: str, domain: Domain, base: TrialConfig) -> list[Mistake]:
    """Values that a TrialConfig would refuse, one message each."""
    if isinstance(domain, Subset):
        return []
    options: list[tuple[Place, JsonValue]]
    if isinstance(domain, Choice):
        options = [(("space", key, "of", index), value) for index, value in enumerate(domain.of)]
    else:
        options = [(("space", key, "low"), domain.low), (("space", key, "high"), domain.high)]
    found: list[Mistake] = []
    for place, value in options:
        try:
            set_at(base, {key: value})
        except ValidationError as error:
            found.append((place, f"{as_yaml(value)} does not fit '{key}': {_first(error)}"))
    if key == "neurons" and not found:
        found += [(place, "neurons are added: 1 or more, or 0 for none") for place, v in options if _negative(v)]
    return found


def _negative(value: object) -> bool:
    return isinstance(value, int | float) and value < 0


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    expected = (first.get("ctx") or {}).get("expected")
    return f"known: {str(expected).replace(' or ', ', ')}" if expected else first["msg"].removeprefix("Value error, ")


def _conditions(key: str, space: Mapping[str, Domain], dropped: Collection[str]) -> list[Mistake]:
    found: list[Mistake] = []
    for other, wanted in space[key].when.items():
        place: Place = ("space", key, "when", other)
        if other == key or (other in space and key in space[other].when):
            found.append((place, "depends on itself"))
        elif other in dropped:
            continue
        elif other not in space:
            found.append((place, f"no such key in this space{suggest(other, space)}; known: {', '.join(space)}"))
        elif isinstance(space[other], Subset | FloatRange):
            found.append((place, "a condition asks for a choice or a whole number"))
        else:
            options = wanted if isinstance(wanted, list) else [wanted]
            found += [
                (place, f"{as_yaml(value)} is never chosen for '{other}'")
                for value in options
                if not contains(space[other], value)
            ]
    return found


def _growth(base: TrialConfig, space: Mapping[str, Domain], dropped: Collection[str]) -> list[Mistake]:
    """Methods that grow need to know where and by how much."""
    method = space.get("method")
    methods = list(method.of) if isinstance(method, Choice) else [base.method]
    growing = [name for name in methods if isinstance(name, str) and name in METHODS and METHODS[name].placed]
    unread = {"space", "method", "layers", "neurons", "base", "base.layers", "base.neurons", "base.method"} & set(
        dropped
    )
    if not growing or unread:
        return []
    found: list[Mistake] = []
    operator = space.get("operator")
    operators = list(operator.of) if isinstance(operator, Choice) else [base.operator]
    rings = "ring" in operators and any(name not in WIDER_ALWAYS for name in growing)
    widens = operators != ["ring"] or any(name in WIDER_ALWAYS for name in growing)
    layered = "layers" in space or base.layers or (isinstance(base.neurons, dict) and not rings)
    if not layered:
        found.append((("space",), f"method {growing[0]} grows, but no sites are named; add 'layers' here or in base"))
    if widens and "neurons" not in space and not base.neurons:
        found.append((("space",), f"method {growing[0]} grows, but by nothing; add 'neurons' here or in base"))
    return found


def _training(base: TrialConfig, space: Mapping[str, Domain], dropped: Collection[str]) -> list[Mistake]:
    """What no trial could train with; where a part of it is searched, the points are asked (preflight/checks.py)."""
    refused = base.train.unworkable()
    if refused is None or any(key.startswith(("train.", "base.train")) for key in {*space, *dropped}):
        return []
    return [(("base", "train", refused[0]), refused[1])]


def spike_metrics(
    section: str, metrics: Sequence[str], base: TrialConfig, space: Mapping[str, Domain]
) -> list[Mistake]:
    """Counts of spikes asked of trials that have none: they would never be measured there."""
    searched = space.get("model.activation")
    options = searched.of if isinstance(searched, Choice) else [base.model.activation]
    if all(option == "lif" for option in options):
        return []
    if searched is None:
        why = "this network has no neurons that spike; set base.model.activation: lif"
    else:
        why = "some trials of this space have no neurons that spike; search model.activation: [lif] alone"
    return [
        ((section, at), f"{name} is measured where neurons spike, and {why}, or leave the metric out")
        for at, name in enumerate(metrics)
        if name in SPIKES
    ]


def _twice(section: str, names: Sequence[str]) -> list[Mistake]:
    return [((section, at), f"'{name}' is listed twice") for at, name in enumerate(names) if name in names[:at]]


def _point(
    index: int, point: Mapping[str, JsonValue], space: Mapping[str, Domain], dropped: Collection[str]
) -> list[Mistake]:
    found: list[Mistake] = []
    for key, value in point.items():
        place: Place = ("try_first", index, key)
        if key in dropped:
            continue
        if key not in space:
            found.append((place, f"not searched here{suggest(key, space)}; this space searches: {', '.join(space)}"))
        elif not _point_fits(key, space[key], value):
            found.append((place, f"{as_yaml(value)} is outside of the domain: {domain_words(space[key])}"))
    return found


def _point_fits(key: str, domain: Domain, value: object) -> bool:
    per_layer = isinstance(domain, Choice | IntRange) and domain.per_layer
    if key == "neurons" and per_layer and isinstance(value, dict):
        return all(contains(domain, one) for one in value.values())
    if isinstance(domain, Subset) and isinstance(value, list):
        return all(isinstance(name, str) for name in value)  # patterns are resolved, and counted, in search/space.py
    return contains(domain, value)


def as_yaml(value: object) -> str:
    """A value as a person would write it in YAML."""
    return value if isinstance(value, str) and value else json.dumps(value)


def domain_words(domain: Domain) -> str:
    """A domain in a few words."""
    if isinstance(domain, Choice):
        return "one of " + ", ".join(as_yaml(value) for value in domain.of)
    if isinstance(domain, Subset):
        return f"{domain.min} to {domain.max or 'all'} of {', '.join(domain.patterns)}"
    step = f" in steps of {domain.step:g}" if domain.step not in (None, 1) else ""
    return f"{domain.low:g} to {domain.high:g}{step}{', logarithmic' if domain.log else ''}"


def _some(known: Collection[str]) -> str:
    """The settings of a trial itself; those of its sections by the section's name."""
    sections = dict.fromkeys(name.split(".")[0] + ".…" if "." in name else name for name in known)
    return ", ".join(sections)


def suggest(name: str, known: Collection[str]) -> str:
    """'; did you mean …?' if something known is close."""
    close = get_close_matches(name, list(known), n=1)
    tails = [one for one in known if one.rsplit(".", 1)[-1] == name]
    best = close or tails
    return f"; did you mean '{best[0]}'?" if best else ""
