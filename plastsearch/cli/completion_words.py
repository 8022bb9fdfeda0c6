"""Writes completion_words.json anew: words that a shell completes, for which at a Tab there is no time to ask.

    python -m plastsearch.cli.completion_words

Settings and their values come from the models of `spec`, sites from the presets; a test compares.
"""

import json
from pathlib import Path
from typing import cast

from plastsearch.models.catalog import PRESETS
from plastsearch.models.sites import site_table
from plastsearch.spec.coherence import paths
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.schema import Schema, schema
from plastsearch.spec.sweep import SweepSpec

FILE = Path(__file__).with_suffix(".json")


def words() -> dict[str, object]:
    """Settings of a trial and of a space with the words they may be, and all sites."""
    made = schema("space")
    definitions = cast("dict[str, Schema]", made["$defs"])
    found: dict[str, list[str]] = {}

    def look(model: Schema, before: str) -> None:
        for name, at in cast("dict[str, Schema]", model["properties"]).items():
            target = str(at.get("$ref", "")).rsplit("/", 1)[-1]
            if target:
                look(definitions[target], f"{before}{name}.")
            elif name not in ("space", "try_first"):
                found[before + name] = _values(at)

    look(made, "")
    trial = set(paths())
    sites = {
        row.name: None for name, presets in PRESETS.items() for preset in presets
        for row in site_table(ModelConfig.model_validate({"name": name, "preset": preset}))
    }  # fmt: skip
    metric = cast("Schema", definitions["Objective"]["properties"])["metric"]
    return {
        "trial": {path.removeprefix("base."): words for path, words in found.items() if path.startswith("base.")},
        "space": {path: words for path, words in found.items() if not path.startswith("base.")},
        "searched": sorted(trial),
        "sections": list(SweepSpec.model_fields),
        "metrics": cast("Schema", metric)["enum"],
        "sites": list(sites),
    }


def _values(at: Schema) -> list[str]:
    options = cast("list[Schema]", at.get("anyOf") or [at])
    found: list[str] = []
    for one in options:
        found += [str(word) for word in cast("list[object]", one.get("enum") or [])]
        found += [str(one["const"])] if "const" in one else []
        found += ["true", "false"] if one.get("type") == "boolean" else []
    return found


def as_text() -> str:
    """The words as their file holds them."""
    return json.dumps(words(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(as_text(), encoding="utf-8")
