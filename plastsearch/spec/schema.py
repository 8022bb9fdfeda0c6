"""From pydantic's places to ours: which keys a section knows, and which parts of a place stand in the file."""

import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from plastsearch.spec.domains import KINDS

Path = tuple[str | int, ...]


def known_keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys of the section at `loc`, as they are written in YAML."""
    here: Any = model
    for part in loc:
        here = _below(here, part)
    return [field.alias or name for name, field in here.model_fields.items()] if _is_model(here) else []


def step_into(loc: Sequence[str | int], data: Any) -> Path:
    """The parts of a place that exist in the data; pydantic adds tags of unions and names of types between them."""
    path: Path = ()
    for at, part in enumerate(loc):
        last = at == len(loc) - 1
        if isinstance(data, dict) and (part in data or last) and not _is_tag(part, data):
            path, data = (*path, part), data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path, data = (*path, part), data[part]
    return path


def _is_tag(part: str | int, data: dict[str, Any]) -> bool:
    """A union's tag, not a missing key."""
    text = str(part)
    return text not in data and (data.get("kind") == text or "[" in text or text in {"str", "int", "float", "bool"})


def _below(here: Any, part: str | int) -> Any:
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


def _bare(annotation: Any) -> Any:
    """Without Annotated and None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        rest = [one for one in get_args(annotation) if one is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _is_model(here: Any) -> bool:
    return isinstance(here, type) and issubclass(here, BaseModel)
