"""Which run of MLflow belongs to which trial, kept beside the journal for pages with links. Does not import mlflow."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from plastsearch.files import text_of, whole_file

FILE = "mlflow_runs.json"
MOST_BYTES = 64 << 20


class Links(BaseModel):
    """Where a sweep and its trials stand in the store that last mirrored it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    server: str  # its address; empty for a file, which `plastsearch ui` serves
    experiment: str
    parent: str
    runs: Mapping[int, str]  # trial → run


def keep_links(folder: Path, links: Links) -> None:
    """Remember them in the sweep's folder."""
    with whole_file(folder / FILE) as draft:
        draft.write_text(links.model_dump_json(), encoding="utf-8")


def read_links(folder: Path) -> Links | None:
    """What was remembered last; None where nothing was, or by another version."""
    try:
        return Links.model_validate(json.loads(text_of(folder / FILE, MOST_BYTES)))
    except (FileNotFoundError, ValidationError, json.JSONDecodeError):
        return None
