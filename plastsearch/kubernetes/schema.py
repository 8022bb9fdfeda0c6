"""Fields of RayJobs, RayClusters and Pods against KubeRay's definitions, in sentences; their data: make_schemas.py."""

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from plastsearch.kubernetes.make_schemas import DATA, Node

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "boolean": (bool,),
    "number": (int, float),
}  # fmt: skip
_SHOWN = 12  # known fields that are listed when none looks alike

Said = tuple[str, str]  # path of a field, what is wrong with it and what to do


def releases() -> list[str]:
    """The releases of KubeRay whose fields are known, newest first."""
    return [_data()["release"], *_data()["older"]]


def check_kind(kind: str, spec: object, wanted: Sequence[str]) -> Iterator[Said]:
    """The `spec` of a RayJob or RayCluster, for each release of KubeRay that is to take it."""
    yield from _check(_data()["kinds"][kind], spec, "spec")
    for release, kinds in _data()["older"].items():
        for how, path in kinds[kind] if release in wanted else ():
            steps = [part for piece in path.split(".") for part in re.findall(r"[^\[\]]+|\[\]", piece)]
            yield from _older(spec, steps, "spec", how, release)


def check_pod(spec: object, at: str) -> Iterator[Said]:
    """The `spec` of a Pod template, wherever it stands: KubeRay's definitions hold that of Kubernetes whole."""
    job = _fields(_data()["kinds"]["RayJob"])
    yield from _check(_fields(job["submitterPodTemplate"])["spec"], spec, at)


@cache
def _data() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(DATA.read_bytes()))
    return document


def _resolved(node: Node) -> Node:
    while isinstance(node.get("ref"), int):
        node = _data()["shared"][node["ref"]]
    return node


def _fields(node: Node) -> dict[str, Node]:
    return _resolved(_resolved(node).get("properties", {}))


def _check(node: Node, value: object, at: str) -> Iterator[Said]:
    node = _resolved(node)
    if value is None and (node.get("nullable") or node.get("open")):
        return
    said = _wrong_value(node, value)
    if said:
        yield at, said
    elif isinstance(value, dict):
        yield from _check_fields(node, value, at)
    elif isinstance(value, list) and "items" in node:
        for number, item in enumerate(value):
            yield from _check(node["items"], item, f"{at}[{number}]")


def _check_fields(node: Node, value: Mapping[str, object], at: str) -> Iterator[Said]:
    fields = _fields(node)
    for name in node.get("required", ()):
        if name not in value:
            yield f"{at}.{name}", "is missing; it must be given"
    for name, item in value.items():
        if name in fields:
            yield from _check(fields[name], item, f"{at}.{name}")
        elif "values" in node:
            yield from _check(node["values"], item, f"{at}.{name}")
        elif fields and not node.get("open"):
            yield f"{at}.{name}", f"no such field; {alike(name, list(fields))}"


def alike(word: str, known: list[str]) -> str:
    """What may have been meant, or what there is."""
    near = get_close_matches(word, known, 1, 0.7)
    if near:
        return f"did you mean {near[0]}?"
    more = ", …" if len(known) > _SHOWN else ""
    return f"remove it, or use one of: {', '.join(known[:_SHOWN])}{more}"


def _wrong_value(node: Node, value: object) -> str | None:
    if node.get("intOrString"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            return f"is {_shown(value)}; give a number or a string"
        return _wrong_text(node, str(value))
    wanted = node.get("type")
    # In Python a bool is an int, in YAML it is not.
    if wanted and (not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean")):
        return f"is {_shown(value)}; give {_ARTICLE.get(wanted, 'a')} {wanted}{_hint(wanted, value)}"
    if "enum" in node and value not in node["enum"]:
        return f"is {_shown(value)}; give one of: {', '.join(map(str, node['enum']))}"
    if isinstance(value, int | float):
        if "minimum" in node and value < node["minimum"]:
            return f"is {value}; give at least {node['minimum']}"
        if "maximum" in node and value > node["maximum"]:
            return f"is {value}; give at most {node['maximum']}"
    if isinstance(value, list) and len(value) < node.get("minItems", 0):
        return f"has {len(value)} entries; give at least {node['minItems']}"
    return _wrong_text(node, value) if isinstance(value, str) else None


def _wrong_text(node: Node, text: str) -> str | None:
    if "pattern" in node and not re.search(node["pattern"], text):
        return f"is {_shown(text)}, which cannot be read; write it as Kubernetes does, such as 500m, 2 or 16Gi"
    if len(text) < node.get("minLength", 0):
        return "is empty; give a value"
    if len(text) > node.get("maxLength", len(text)):
        return f"has {len(text)} characters; give at most {node['maxLength']}"
    return None


_ARTICLE = {"object": "an", "array": "an", "integer": "an"}


def _hint(wanted: str, value: object) -> str:
    if wanted == "string" and isinstance(value, bool | int | float):
        return f', in quotes: "{_shown(value)}"'
    return ""


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _older(value: object, steps: list[str], at: str, how: str, release: str) -> Iterator[Said]:
    step, *rest = steps
    if step == "[]":
        for number, item in enumerate(value if isinstance(value, list) else ()):
            yield from _older(item, rest, f"{at}[{number}]", how, release)
    elif isinstance(value, dict):
        if rest:
            if step in value:
                yield from _older(value[step], rest, f"{at}.{step}", how, release)
        elif how == "absent" and step in value:
            yield f"{at}.{step}", f"KubeRay {release} has no such field; leave it out, so that both releases take this"
        elif how == "required" and step not in value:
            yield f"{at}.{step}", f"is missing, and KubeRay {release} asks for it; give it"
