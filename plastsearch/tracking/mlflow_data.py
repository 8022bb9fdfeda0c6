"""Which clips a run read, as MLflow's dataset inputs, in plain data. Does not import mlflow."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from plastsearch.spec.config import content_id
from plastsearch.tracking.mlflow_runs import section
from plastsearch.tracking.records import TrialRecord

CONTEXT = "mlflow.data.context"  # the tag of an input that says what it was for
CONTEXTS = {"train": "training", "search_dev": "validation"}
SCHEMA = json.dumps(
    {"mlflow_colspec": [{"name": name, "type": kind, "required": True} for name, kind in (
        ("id", "string"), ("label", "string"), ("attack", "string"), ("samples", "float"))]}
)  # fmt: skip
# Of a configuration's data, what changes how clips are used and not which they are.
_HOW = ("length_samples", "crops", "balance", "augment")
# What clips are generated from.
_MADE_OF = ("corpus", "variant", "seed", "clips", "difficulty", "speech_s", "bona_fide_share")


@dataclass(frozen=True)
class DataInput:
    """One set of clips; equal name and digest are the same dataset."""

    name: str
    digest: str
    context: str
    source_type: str
    source: str
    profile: str

    @property
    def key(self) -> tuple[str, str]:
        """What MLflow tells datasets apart by."""
        return self.name, self.digest


def inputs_of(record: TrialRecord) -> list[DataInput]:
    """What a trial was trained and chosen on. The evaluation split, which chooses nothing, is not among them."""
    data = section(record.config, "data")
    told = record.details.get("data") or {}
    return [_input(data, split, told.get(split)) for split in CONTEXTS] if data else []


def distinct(inputs: Iterable[DataInput]) -> list[DataInput]:
    """The first of each name and digest."""
    found: dict[tuple[str, str], DataInput] = {}
    for one in inputs:
        found.setdefault(one.key, one)
    return list(found.values())


def _input(data: Mapping[str, JsonValue], split: str, told: Mapping[str, object] | None) -> DataInput:
    other = section(data, "search_dev")
    place = {**data, **{name: other[name] for name in ("corpus", "root", "variant", "manifest") if other.get(name)}}
    of = place if split == "search_dev" and other.get("corpus") else data
    words = [str(of.get("corpus")), *([str(of["variant"])] if of.get("variant") else []), split]
    where = of.get("manifest") or of.get("root")
    # Without a root clips are generated: what they are made of stands in for a place.
    made = {name: of[name] for name in _MADE_OF if of.get(name) is not None}
    source_type, source = ("local", {"uri": where}) if where else ("code", {"tags": made})
    # A trial that ended before it could tell what it read, and those of older sweeps: by what was asked for.
    asked = content_id([split, {name: value for name, value in data.items() if name not in _HOW}])
    told = told or {}
    profile = {name: told[key] for name, key in (("num_rows", "clips"), ("hours", "hours")) if key in told}
    return DataInput(
        name=" ".join(words),
        digest=str(told.get("digest", f"asked-{asked}"))[:36],
        context=CONTEXTS[split],
        source_type=source_type,
        source=json.dumps(source, sort_keys=True),
        profile=json.dumps(profile, sort_keys=True),
    )
