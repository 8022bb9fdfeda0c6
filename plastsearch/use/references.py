"""How a model is called on a command line, and what such a name means; nothing is loaded here.

SWEEP:best       of a sweep's folder the winner: the best trial that grew something (also `winner`)
SWEEP:knee       the member of the front where trade-offs bend
SWEEP:17         trial 17 (also `trial 17`)
SWEEP:17/seed3   trial 17 as it was run again with seed 3, as a finalist or a replicate
FOLDER           what `plastsearch export` wrote
runs:/ID, models:/NAME/VERSION, models:/NAME@ALIAS    kept by MLflow
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plastsearch.errors import PlastsearchError
from plastsearch.files import typed_path
from plastsearch.tracking.journal import FILE

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_TRIAL = re.compile(r"(?:trial\s*)?([0-9]{1,9})(?:/seed\s*([0-9]{1,18}))?", re.ASCII)
FORMS = "SWEEP:best, SWEEP:knee, SWEEP:17, SWEEP:17/seed3, a folder of `plastsearch export`, runs:/ID or models:/NAME/1"


@dataclass(frozen=True)
class InSweep:
    """A trial of a sweep; `seed` of one of its repeats."""

    folder: Path
    which: int | Literal["best", "knee"]
    seed: int | None = None


@dataclass(frozen=True)
class InFolder:
    """A model that was exported."""

    folder: Path


@dataclass(frozen=True)
class InMlflow:
    """A model that MLflow keeps, by its address."""

    uri: str


Reference = InSweep | InFolder | InMlflow


def parse(text: str) -> Reference:
    """What a name means; the places it names exist."""
    if text.startswith(("runs:/", "models:/")):
        return InMlflow(text)
    whole = typed_path(text)
    if whole.is_dir():
        return _folder(text, whole)
    place, colon, which = text.rpartition(":")
    if colon and place:
        folder = typed_path(place)
        if (folder / FILE).is_file():
            return _of_sweep(text, folder, which.strip())
        if folder.is_dir():
            raise PlastsearchError(f"{text}: {place} is no sweep ({FILE} is missing); a model is {FORMS}")
    raise PlastsearchError(f"{text}: no such model here; a model is {FORMS}")


def _folder(text: str, folder: Path) -> Reference:
    if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
        return InFolder(folder)
    if (folder / FILE).is_file():
        raise PlastsearchError(f"{text}: a sweep holds many models; say which, e.g. {text}:best or {text}:17")
    raise PlastsearchError(f"{text}: no model in that folder ({CONFIG} or {WEIGHTS} is missing); a model is {FORMS}")


def _of_sweep(text: str, folder: Path, which: str) -> InSweep:
    if which in ("best", "winner"):
        return InSweep(folder, "best")
    if which == "knee":
        return InSweep(folder, "knee")
    found = _TRIAL.fullmatch(which)
    if found is None:
        raise PlastsearchError(f"{text}: '{which}' names no trial; a model is {FORMS}")
    number, seed = found.groups()
    return InSweep(folder, int(number), None if seed is None else int(seed))
