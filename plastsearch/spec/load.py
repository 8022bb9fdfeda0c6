"""YAML → SweepSpec or TrialConfig: every mistake at once, each as `file:line: key: what; what to do`."""

import copy
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeGuard, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from plastsearch.errors import SpecError
from plastsearch.spec.coherence import Mistakes, as_yaml, paths, suggest
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.document import Document, Place, override, read_document
from plastsearch.spec.domains import KINDS
from plastsearch.spec.limits import MOST_TOLD
from plastsearch.spec.places import settle_
from plastsearch.spec.sweep import SweepSpec

Model = TypeVar("Model", bound=BaseModel)
_ROUNDS = 12  # each round drops what was refused and looks at the rest again


@dataclass
class Reading:
    """A search space as far as it could be read; `spec` holds the parts without mistakes."""

    document: Document
    spec: SweepSpec | None
    mistakes: list[str] = field(default_factory=list)
    dropped: frozenset[str] = frozenset()  # keys of the space (and dotted ones elsewhere) that could not be read


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """Read a search space; SpecError with every mistake. Its name defaults to the file's."""
    reading = read_sweep(path, overrides)
    if reading.mistakes or reading.spec is None:
        raise SpecError(reading.mistakes)
    return reading.spec


def read_sweep(path: Path, overrides: Sequence[str] = ()) -> Reading:
    """Read as much of a search space as can be read, for `check`, which goes on to look at the rest."""
    document = _open(path, overrides)
    spec, mistakes, dropped = _validate(SweepSpec, document)
    if spec is not None and spec.name is None:
        spec = spec.model_copy(update={"name": _stem(Path(path))})
    return Reading(document, spec, mistakes, dropped)


def load_trial(path: Path, overrides: Sequence[str] = ()) -> TrialConfig:
    """Read one TrialConfig from YAML, or take the `base` of a search space."""
    document = _open(path, overrides)
    if "base" in document.data or "space" in document.data:
        spec, mistakes, _ = _validate(SweepSpec, document)
        if mistakes or spec is None:
            raise SpecError(mistakes)
        return spec.base
    config, mistakes, _ = _validate(TrialConfig, document)
    if mistakes or config is None:
        raise SpecError(mistakes)
    return config


def read_trial(source: Path | None, sets: Sequence[str]) -> TrialConfig:
    """A configuration from a file, or from the defaults; in a space, a path may be given with or without `base.`"""
    if source is None:
        document = Document("command line")
        for text in sets:
            override(document, text, [])
        return parse_trial(document.data, "command line")
    data = read_document(source).data
    if "base" in data or "space" in data:
        fields = TrialConfig.model_fields
        sets = [f"base.{text}" if text.partition("=")[0].split(".")[0] in fields else text for text in sets]
    return load_trial(source, sets)


def parse_trial(values: Mapping[str, JsonValue], name: str = "trial") -> TrialConfig:
    """A TrialConfig from plain data, e.g. of a command line; SpecError with every mistake."""
    document = Document(name, copy.deepcopy(dict(values)))
    settle_(document.data)
    config, mistakes, _ = _validate(TrialConfig, document)
    if mistakes or config is None:
        raise SpecError(mistakes)
    return config


def _open(path: Path, overrides: Sequence[str]) -> Document:
    document = read_document(Path(path))
    for text in overrides:
        override(document, text, paths())
    settle_(document.data)
    return document


def _stem(path: Path) -> str:
    """A name that can be a folder."""
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in path.stem)
    return kept.strip("._-") or "sweep"


def _validate(model: type[Model], document: Document) -> tuple[Model | None, list[str], frozenset[str]]:
    """Validate, drop what was refused, validate the rest, until it passes: later mistakes show beside earlier ones."""
    found: list[tuple[Place, str]] = list(document.mistakes)
    data: dict[str, JsonValue] = json.loads(json.dumps(document.data))
    dropped: set[str] = set()
    checked: Model | None = None
    for _ in range(_ROUNDS):
        try:
            checked = model.model_validate_json(json.dumps(data), strict=True, context={"dropped": dropped})
            break
        except ValidationError as error:
            refused = _refusals(model, error, data)
        found += [(place, message) for place, message in refused if not _follows(place, message, dropped)]
        for place, message in refused:
            dropped.add(_drop(data, place, unknown=message.startswith("unknown key")))
    unique = dict.fromkeys(found)
    ordered = sorted(unique, key=lambda one: (_line(document, one[0]), [str(part) for part in one[0]]))
    told = [document.say(place, message) for place, message in ordered[:MOST_TOLD]]
    if len(ordered) > MOST_TOLD:
        told.append(f"{document.name}: and {len(ordered) - MOST_TOLD:,} more such mistakes; is that the right file?")
    return checked, told, frozenset(dropped)


def _line(document: Document, place: Place) -> int:
    for end in range(len(place), -1, -1):
        if place[:end] in document.lines:
            return document.lines[place[:end]]
    return 0


def _follows(place: Place, message: str, dropped: set[str]) -> bool:
    """Whether a mistake only follows from something that was dropped."""
    return message.startswith("missing") and any(part.startswith(_dotted(place)) for part in dropped if part)


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _drop(data: dict[str, JsonValue], place: Place, *, unknown: bool) -> str:
    """Take the refused part out, a whole domain or list where half of it would only mislead; its name."""
    if not unknown:
        if place[:1] == ("space",) and len(place) > 1:
            place = place[:2]
        numbers = [at for at, part in enumerate(place) if isinstance(part, int)]
        place = place[: numbers[0]] if numbers else place
    if not place:
        data.clear()
    at = place
    while at:
        node: JsonValue = data
        for part in at[:-1]:
            node = node.get(str(part)) if isinstance(node, dict) else None
        if isinstance(node, dict) and at[-1] in node:
            del node[str(at[-1])]
            break
        at = at[:-1] if place[:1] != ("space",) else ()
    return str(place[1]) if place[:1] == ("space",) and len(place) > 1 else _dotted(place)


def _refusals(model: type[BaseModel], error: ValidationError, data: JsonValue) -> list[tuple[Place, str]]:
    """Pydantic's errors as (path in the file, message in our words)."""
    found: dict[Place, list[str]] = {}
    errors = error.errors()
    for one in errors:
        if one["type"] == "too_short" and any(_below(other["loc"], one["loc"]) for other in errors):
            continue  # its items were refused one by one
        raised = (one.get("ctx") or {}).get("error")
        before = step_into(one["loc"], data)
        if isinstance(raised, Mistakes):
            for place, message in raised.items:
                found.setdefault((*before, *place), []).append(message)
        else:
            # What is close to each of thousands of unknown keys nobody reads, and it takes long to find.
            many = one["type"] == "extra_forbidden" and len(found) > MOST_TOLD
            found.setdefault(before, []).append("unknown key" if many else _message(model, one))
    return [(place, _joined(messages)) for place, messages in found.items()]


def _below(inner: tuple[str | int, ...], outer: tuple[str | int, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _joined(messages: list[str]) -> str:
    """Alternatives of a union speak one after the other; say it once."""
    unique = list(dict.fromkeys(messages))
    wanted = [text for text in unique if text.startswith("should be ")]
    if len(wanted) == len(unique) and len(unique) > 1:
        heads = [text.removeprefix("should be ").split(", not ")[0] for text in unique]
        return f"should be {' or '.join(heads)}, not {unique[-1].split(', not ')[-1]}"
    return "; ".join(unique)


_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "string": "a word",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a section of `key: value`",
    "model": "a section of `key: value`",
}


def _message(model: type[BaseModel], error: ErrorDetails) -> str:
    kind = error["type"]
    context = error.get("ctx") or {}
    given = error.get("input")
    loc = error["loc"]
    if kind == "extra_forbidden":
        known = known_keys(model, loc[:-1])
        return f"unknown key{suggest(str(loc[-1]), known)}; known: {', '.join(known)}"
    if kind == "missing":
        return "missing; add it"
    if kind == "union_tag_not_found":
        if isinstance(given, dict):
            return f"missing `kind`; add one of {', '.join(KINDS)}"
        return f"should be a domain, e.g. {{kind: choice, of: […]}}, not {as_yaml(given)}"
    if kind == "union_tag_invalid":
        tag = str(context.get("tag"))
        return f"unknown kind '{tag}'{suggest(tag, KINDS)}; known: {', '.join(KINDS)}"
    if kind == "literal_error":
        options = [part.strip().strip("'") for part in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"unknown value {_short(given)}{suggest(str(given), options)}; known: {', '.join(options)}"
    if kind in {"value_error", "assertion_error"}:
        return str(context.get("error") or error["msg"])
    family = kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float")
    if family in _TYPES and family != kind:
        return f"should be {_TYPES[family]}, not {_short(given)}"
    return f"{str(error['msg']).removeprefix('Input ')}, not {_short(given)}"


def _short(value: object) -> str:
    text = f"'{value}'" if isinstance(value, str) else as_yaml(value)
    return text if len(text) <= 60 else text[:57] + "…"


def known_keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys of the section at `loc`, as they are written in YAML."""
    here: object = model
    for part in loc:
        here = _keys_below(here, part)
    return [field.alias or name for name, field in here.model_fields.items()] if _is_model(here) else []


def step_into(loc: Sequence[str | int], data: JsonValue) -> Place:
    """The parts of a place that exist in the data; pydantic adds tags of unions and names of types between them."""
    place: Place = ()
    for at, part in enumerate(loc):
        last = at == len(loc) - 1
        if isinstance(data, dict) and (part in data or last) and not _is_tag(part, data):
            place, data = (*place, part), data.get(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            place, data = (*place, part), data[part]
    return place


def _is_tag(part: str | int, data: dict[str, JsonValue]) -> bool:
    """A union's tag, not a missing key."""
    text = str(part)
    return text not in data and (data.get("kind") == text or "[" in text or text in {"str", "int", "float", "bool"})


def _keys_below(here: object, part: str | int) -> object:
    """The type one step further down."""
    if _is_model(here):
        by_name = {field.alias or name: field.annotation for name, field in here.model_fields.items()}
        return _bare(by_name.get(str(part)))
    if get_origin(here) is dict:
        return _bare(get_args(here)[1])
    if get_origin(here) in {tuple, list}:
        return _bare(get_args(here)[0])
    if part in KINDS:
        return KINDS[str(part)]
    return here


def _bare(annotation: object) -> object:
    """Without Annotated and None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        rest = [one for one in get_args(annotation) if one is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _is_model(here: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(here, type) and issubclass(here, BaseModel)
