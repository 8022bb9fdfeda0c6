"""export: a found model as a folder that others can use without us."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from plastsearch.errors import PlastsearchError
from plastsearch.export.card import PICTURE, Told, card
from plastsearch.export.card_picture import grown_picture
from plastsearch.export.grown import pictured
from plastsearch.export.join import joined
from plastsearch.export.place import files_in, whole_export
from plastsearch.export.shape import Shape, shape_of
from plastsearch.export.transformers_folder import TRANSFORMERS, why_irregular, write_transformers
from plastsearch.files import told
from plastsearch.models.wav2vec2 import ConformerEncoder, SpeechEncoder
from plastsearch.use.facts import Facts
from plastsearch.use.folder import write_folder
from plastsearch.use.model import Model
from plastsearch.use.references import CONFIG

CODE = "detector.py"
CARD = "README.md"
_PATHS = ("root", "manifest", "from")  # settings that may name a place on somebody's disk


# What else goes into the folder before it takes its name, and sentences on it.
Part = Callable[[Model, Path], list[str]]


@dataclass(frozen=True)
class Asked:
    """What the folder is to hold beside weights, code and card; None: where it fits."""

    force: bool = False
    transformers: bool | None = None
    title: str | None = None
    license: str | None = None
    data_license: str | None = None


@dataclass
class Exported:
    """What was written."""

    folder: Path
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def export(model: Model, folder: Path, asked: Asked, more: Sequence[Part] = ()) -> Exported:
    """Write the folder, whole or not at all."""
    encoder = isinstance(model.detector, SpeechEncoder) and not isinstance(model.detector, ConformerEncoder)
    if asked.transformers and not encoder:
        raise PlastsearchError(
            f"--transformers: {model.facts.network['model_type']} is no encoder of transformers; leave the option out"
            if not isinstance(model.detector, ConformerEncoder)
            else "--transformers: no such folder is written for W2V-BERT; leave the option out"
        )
    shape = shape_of(model.detector)
    exported = Exported(folder)
    with whole_export(folder, asked.force) as draft:
        facts = without_places(model.facts)
        write_plain(model, facts, shape, draft)
        if encoder and isinstance(model.detector, SpeechEncoder) and asked.transformers is not False:
            exported.notes.append(_transformers(model.detector, facts, shape, draft))
        for part in more:
            exported.notes += [note.replace(str(draft), str(folder)) for note in part(model, draft)]
        write_card(model, facts, Told(asked.title, asked.license or "other", asked.data_license), draft)
        exported.files = files_in(draft)
    return exported


def write_card(model: Model, facts: Facts, told_of_it: Told, folder: Path) -> None:
    """The card and its drawing; it names every file that was there before it."""
    with told(folder):
        grown_picture(pictured(facts), facts.name, folder / PICTURE)
        parameters = sum(parameter.numel() for parameter in model.detector.parameters())
        (folder / CARD).write_text(card(facts, parameters, folder, told_of_it), encoding="utf-8")


def write_plain(model: Model, facts: Facts, shape: Shape, folder: Path) -> None:
    """Weights, configuration and the one file of code."""
    write_folder(folder, model.detector, facts)
    with told(folder):
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config["detector"] = {
            "shape": shape,
            "rate_hz": facts.rate_hz,
            "length_samples": facts.length_samples,
            "storage": facts.storage,
            "threshold": facts.threshold,
            "calibration": None if facts.calibration is None else facts.calibration.model_dump(mode="json"),
        }
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (folder / CODE).write_text(joined(shape), encoding="utf-8")


def _transformers(detector: SpeechEncoder, facts: Facts, shape: Shape, folder: Path) -> str:
    if write_transformers(detector, facts, shape, folder / TRANSFORMERS):
        return f"{TRANSFORMERS}/ opens in transformers by itself"
    return f"{TRANSFORMERS}/ opens with trust_remote_code=True: {why_irregular(shape)}"


def without_places(facts: Facts) -> Facts:
    """The facts without the paths of whoever found the model: of each its last name stays."""
    found = cast("dict[str, JsonValue]", _told_by_name(facts.found))
    return facts.model_copy(update={"found": found})


def _told_by_name(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {
            key: Path(item).name if key in _PATHS and isinstance(item, str) and "/" in item else _told_by_name(item)
            for key, item in value.items()
        }
    return [_told_by_name(item) for item in value] if isinstance(value, list) else value
