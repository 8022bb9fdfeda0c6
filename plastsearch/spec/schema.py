"""JSON Schema of search spaces and of trial configurations, for editors: the models of this room, and what goes beyond.

Descriptions, defaults and limits stand with the settings. Here is what one setting alone cannot say: which domains a
key of `space` may have, and which settings exclude each other. What needs a network, a corpus or arithmetic stays with
`check`; the test of this file lists it. Addresses there are none: `$id` names the schema, and nothing is fetched.
"""

import json
from typing import Literal, cast

from plastsearch.spec.coherence import paths
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.constraints import METRICS, SPIKES
from plastsearch.spec.methods import METHODS
from plastsearch.spec.sweep import SweepSpec

Schema = dict[str, object]
Kind = Literal["space", "trial"]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE = "plastsearch.schema.json"  # beside the shipped spaces

_TITLES: dict[Kind, str] = {"space": "Search space of plastsearch", "trial": "Trial configuration of plastsearch"}
_NOT_SEARCHED = ("data.crops",)  # one policy for all arms
_DOMAINS = {"choice": "Choice", "int": "IntRange", "float": "FloatRange", "subset": "Subset"}


def schema(kind: Kind = "space") -> Schema:
    """The schema of a search space's file, or of a trial's."""
    model = SweepSpec if kind == "space" else TrialConfig
    made = cast("Schema", model.model_json_schema(by_alias=True))
    named: Schema = {"$schema": DIALECT, "$id": f"plastsearch-{kind}.schema.json", "title": _TITLES[kind]}
    _tidy(made)
    found = {**named, **{key: value for key, value in made.items() if key != "title"}}
    definitions = _section(found, "$defs")
    if kind == "trial":
        definitions["TrialConfig"] = {
            key: found.pop(key) for key in ("type", "properties", "additionalProperties")
        }  # in one place, under the name by which the rest refers to it
        found["$ref"] = "#/$defs/TrialConfig"
    _excluding(definitions)
    if kind == "space":
        _searched(found, definitions)
        found["allOf"] = _together()
    return found


def as_text(kind: Kind = "space") -> str:
    """The schema as a file holds it."""
    return json.dumps(schema(kind), indent=1, ensure_ascii=False) + "\n"


def _tidy(node: object, named: bool = False) -> None:
    """Takes out titles that only repeat a key, defaults that whole sections repeat, and a keyword of OpenAPI."""
    if isinstance(node, dict):
        if not named:
            node.pop("discriminator", None)
            if isinstance(node.get("title"), str):
                node.pop("title")
            if isinstance(node.get("default"), dict) and "$ref" in node:
                node.pop("default")
        for key, value in node.items():
            if key not in ("default", "examples", "enum", "const"):
                _tidy(value, named=key in ("properties", "$defs") and not named)
    elif isinstance(node, list):
        for value in node:
            _tidy(value)


def _section(node: Schema, *keys: str) -> Schema:
    for key in keys:
        node = cast("Schema", node[key])
    return node


def _excluding(definitions: Schema) -> None:
    """What excludes each other inside one section."""
    both: Schema = {"steps": {"type": "integer"}, "epochs": {"type": "number"}}
    _section(definitions, "TrainConfig")["not"] = {"required": ["steps", "epochs"], "properties": both}
    for name, step in (("IntRange", {"not": {"const": 1}}), ("FloatRange", {"type": "number"})):
        if name in definitions:
            logarithmic: Schema = {"log": {"const": True}}
            _section(definitions, name).update(
                {
                    "if": {"required": ["log"], "properties": logarithmic},
                    "then": {
                        "properties": {"low": {"exclusiveMinimum": 0}},
                        "not": {"required": ["step"], "properties": {"step": step}},
                    },
                }
            )


def _place(path: str) -> str:
    """Where the schema of a setting stands, by its dotted path."""
    sections = {"model": "ModelConfig", "data": "DataConfig", "train": "TrainConfig", "search_dev": "SearchDev"}
    sections |= {"shares": "StageValues", "lr_ratios": "StageValues"}
    *above, last = path.split(".")
    return f"#/$defs/{sections[above[-1]] if above else 'TrialConfig'}/properties/{last}"


def _searched(found: Schema, definitions: Schema) -> None:
    """Each key of `space` with the domains that fit its setting, and their values held to that setting."""
    settings = [path for path in paths() if path not in _NOT_SEARCHED]
    properties: Schema = {}
    for path in settings:
        at = _section({"$defs": definitions}, *_place(path).removeprefix("#/").split("/"))
        said: Schema = {"description": at["description"]} if "description" in at else {}
        properties[path] = {**said, "anyOf": [_domain(kind, path) for kind in _kinds(path, at)]}
    space = _section(found, "properties", "space")
    del space["additionalProperties"]
    space |= {"properties": properties, "additionalProperties": False}
    points: Schema = {path: {"$ref": _place(path)} for path in settings}
    _section(found, "properties", "try_first")["items"] = {
        "type": "object", "properties": points, "additionalProperties": False,
    }  # fmt: skip
    for name in _DOMAINS.values():
        when = _section(definitions, name, "properties", "when")
        del when["additionalProperties"]
        when["propertyNames"] = {"enum": settings}
    choice = _section(definitions, "Choice", "properties", "of")
    choice["uniqueItems"] = True
    del choice["items"]
    del definitions["JsonValue"]


def _kinds(path: str, setting: Schema) -> list[str]:
    if path == "layers":
        return ["subset", "choice"]
    options = cast("list[Schema]", setting.get("anyOf") or [setting])
    types = {str(option["type"]) for option in options if "type" in option}
    if "neurons" in path:
        types = {"integer"}
    return ["choice", *(["int"] if types & {"integer", "number"} else []), *(["float"] if "number" in types else [])]


def _domain(kind: str, path: str) -> Schema:
    """One kind of domain, with what one key allows of it."""
    value: Schema = {"$ref": _place(path)}
    if path == "neurons":  # added: a negative number means something in a journal alone
        value |= {"not": {"type": "number", "exclusiveMaximum": 0}}
    held: Schema = {"when": {"not": {"required": [path]}}}
    if kind == "choice":
        held["of"] = {"items": value}
    elif kind in ("int", "float"):
        held |= {"low": value, "high": value}
    if path != "neurons" and kind in ("choice", "int"):
        held |= {"per_layer": {"const": False}, "fit": {"const": "refuse"}}
    return {"allOf": [{"$ref": f"#/$defs/{_DOMAINS[kind]}"}, {"properties": held}]}


def _together() -> list[object]:
    """What parts of a space must agree on, as far as it can be said without arithmetic."""
    searches = {name: {"required": ["space"], "properties": {"space": {"required": [name]}}} for name in (
        "method", "layers", "neurons", "operator", "seed", "model.activation")}  # fmt: skip

    def in_base(name: str, value: Schema) -> Schema:
        return {"required": ["base"], "properties": {"base": {"required": [name], "properties": {name: value}}}}

    growing: list[object] = [name for name, facts in METHODS.items() if facts.placed]
    grows: Schema = {
        "not": searches["method"],
        "properties": {"base": {"properties": {"method": {"enum": growing}}}},
    }
    by_site = in_base("neurons", {"type": "object"})
    layers: Schema = {
        "description": "A method that grows needs `layers`, in `space` or in `base`.",
        "anyOf": [searches["layers"], in_base("layers", {"minItems": 1}), by_site],
    }
    neurons: Schema = {
        "description": "A method that grows needs `neurons`, in `space` or in `base`, unless kernels grow.",
        "anyOf": [
            searches["neurons"],
            in_base("neurons", {"not": {"const": 0}}),
            searches["operator"],
            in_base("operator", {"const": "ring"}),
        ],
    }
    repeats: Schema = {"required": ["search"], "properties": {"search": {
        "required": ["replicate"], "properties": {"replicate": {"not": {"const": "none"}}}}}}  # fmt: skip
    chance: Schema = {
        "properties": {"search": {"properties": {"duplicates": {"not": {"const": "replicate"}}}}},
        "not": searches["seed"],
    }
    spiking: Schema = {"anyOf": [searches["model.activation"], in_base(
        "model", {"required": ["activation"], "properties": {"activation": {"const": "lif"}}})]}  # fmt: skip
    counted = [name for name in METRICS if name not in SPIKES]
    spikeless: Schema = {
        "properties": {
            "objectives": {"items": {"properties": {"metric": {"enum": counted}}}},
            "constraints": {"items": {"not": {"pattern": rf"^\s*(?:{'|'.join(SPIKES)})\s"}}},
        }
    }
    return [
        {"if": grows, "then": {"allOf": [layers, neurons]}},
        {"if": repeats, "then": chance},
        {"if": {"not": spiking}, "then": spikeless},
        {"properties": {"controls": {"uniqueItems": True}}},
    ]
