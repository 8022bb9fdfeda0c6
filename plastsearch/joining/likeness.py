"""Which sweeps may be joined: those that ask the same of the same network; seeds, machines and corpora may differ."""

import json
from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from plastsearch.spec.config import content_id
from plastsearch.spec.sweep import SweepSpec

# What a sweep may have for itself: how much it spent and where, and with what it was compared.
FREE = frozenset({
    "version", "name", "question", "search", "finalists", "resources", "max_failures", "max_failed_fraction",
    "trial_timeout_s", "try_first", "halt", "controls",
})  # fmt: skip
PLACES = ("root",)  # where clips lie on a machine: no part of what they are
# Which clips.
CLIPS = ("corpus", "variant", "manifest", "seed", "clips", "difficulty", "speech_s", "bona_fide_share", "search_dev")


def differences(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> list[str]:
    """In what two specifications ask for unlike things, as words; empty: they may be joined."""
    mine, its = _question(one), _question(other)
    found = []
    if mine["objectives"] != its["objectives"]:
        found.append(f"other metrics ({its['objectives']} instead of {mine['objectives']})")
    for part, called in (("space", "another space"), ("constraints", "other constraints"), ("base", "another setup")):
        paths = _unlike(mine[part], its[part], part)
        if paths:
            found.append(f"{called} ({', '.join(paths[:4])}{' …' if len(paths) > 4 else ''})")
    return found


def _question(spec: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    plain = _completed(spec)
    objectives = plain.get("objectives")
    base = plain.get("base")
    base = dict(base) if isinstance(base, dict) else {}
    data = base.get("data")
    base["data"] = {k: v for k, v in data.items() if k not in (*CLIPS, *PLACES)} if isinstance(data, dict) else {}
    base.pop("seed", None)
    asked = [(one.get("metric"), one.get("goal", "min")) for one in objectives if isinstance(one, dict)] \
        if isinstance(objectives, list) else []  # fmt: skip
    return {
        "objectives": ", ".join(f"{metric} {goal}" for metric, goal in asked),
        "space": plain.get("space") or {}, "constraints": plain.get("constraints") or [], "base": base,
    }  # fmt: skip


def _completed(plain: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """With the defaults of what an older program did not know yet."""
    try:
        return SweepSpec.model_validate_json(json.dumps(plain), strict=True).plain()
    except ValidationError:
        return plain


def _unlike(one: JsonValue, other: JsonValue, path: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*one, *other])
        return [found for key in keys for found in _unlike(one.get(key), other.get(key), f"{path}.{key}")]
    return [] if one == other else [path]


def clips_key(config: Mapping[str, JsonValue]) -> str:
    """A name for the clips that a configuration learns from and is scored on, wherever they lie."""
    data = config.get("data")
    data = data if isinstance(data, dict) else {}
    return content_id({key: _placeless(data.get(key)) for key in CLIPS})


def run_key(config: Mapping[str, JsonValue]) -> str:
    """A name for one run: two with the same name are one run made twice, whatever machine they ran on."""
    return content_id(_placeless(dict(config)))


def group_key(config: Mapping[str, JsonValue]) -> str:
    """The same for all seeds."""
    return content_id(_placeless({key: value for key, value in config.items() if key != "seed"}))


def _placeless(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _placeless(inner) for key, inner in value.items() if key not in PLACES}
    return value
