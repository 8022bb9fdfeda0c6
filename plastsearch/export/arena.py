"""Files for the Speech Anti-Spoofing Arena: scores of one data set, and the sheet that submits them.

Scores go into the model's own repository on the hub (`.eval_results/<data set>/scores.txt`, a line `clip score` for
each clip, higher for bona fide speech), the sheet (`submissions/<slug>.yaml`, schema 4) into the data set's, as a pull
request. It points at the scores by a commit, which exists only once they are uploaded: its place is left to fill in, as
are those fields that only a person knows.
"""

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from plastsearch.errors import PlastsearchError
from plastsearch.files import told, whole_file
from plastsearch.scores.files import write_scores
from plastsearch.scores.metrics import Floats
from plastsearch.version import __version__

SCHEMA = 4
TO_FILL = "COMMIT"
_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class Submission:
    """What the sheet says beside the scores."""

    name: str  # of the system, as the board shows it
    data_set: str  # organisation/name on the hub
    repository: str  # organisation/name of the model's repository there
    description: str
    skipped: int = 0  # clips without a score
    eer: float | None = None  # percent, where a key told the classes


def write_arena(folder: Path, wanted: Submission, ids: Sequence[str], scores: Floats) -> list[Path]:
    """Both files below a folder, each where its repository wants it."""
    for what, name in (("data set", wanted.data_set), ("repository", wanted.repository)):
        if _ON_HUB.fullmatch(name) is None:
            raise PlastsearchError(f"'{name}' is no {what} on the hub: give organisation/name")
    inside = f".eval_results/{wanted.data_set}/scores.txt"
    path = folder / inside
    sheet = folder / "submissions" / f"{slug(wanted.name)}.yaml"
    with told(folder):
        for one in (path, sheet):
            one.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft:
            write_scores(draft, ids, scores)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with whole_file(sheet) as draft:
            draft.write_text(_sheet(wanted, inside, digest, len(ids)), encoding="utf-8")
    return [path, sheet]


def slug(name: str) -> str:
    """A name that a file may have: small letters, digits and hyphens."""
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
    if not found:
        raise PlastsearchError(f"'{name}': a system's name needs letters or digits")
    return found


def _sheet(wanted: Submission, inside: str, digest: str, clips: int) -> str:
    from huggingface_hub import hf_hub_url

    scores: dict[str, object] = {"n_trials": clips, "n_skipped": wanted.skipped}
    if wanted.eer is not None:
        scores = {"eer_percent": round(wanted.eer, 4), **scores}
    content = {
        "schema_version": SCHEMA,
        "system": {
            "name": wanted.name, "slug": slug(wanted.name), "paper": None, "code": None,
            "checkpoint": wanted.repository, "description": wanted.description,
        },
        "dataset": {"id": wanted.data_set, "revision": None, "split": "test"},
        "scores": scores,
        "artifact": {
            "scores_url": hf_hub_url(wanted.repository, inside, revision=TO_FILL), "scores_sha256": digest,
            "bench_version": f"plastsearch=={__version__}",
        },
        "reproduction": {},
        "submitter": {"hf_username": wanted.repository.split("/")[0], "contact": None},
        "submitted_at": time.strftime("%F"),
        "notes": None,
    }  # fmt: skip
    head = (
        f"# 1. Upload {inside} to {wanted.repository}, and put the hash of that commit in the place of {TO_FILL}:\n"
        "#    an address that is not pinned to a commit is refused.\n"
        "# 2. Fill in what is null, compare with the data set's own template, and leave `reproduction` empty.\n"
        f"# 3. Send this file as a pull request to {wanted.data_set}, as submissions/{slug(wanted.name)}.yaml.\n"
    )
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
