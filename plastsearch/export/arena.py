"""Files for the Speech Anti-Spoofing Arena: scores of one data set, and the sheet that submits them.

Scores go into the model's own repository on the hub (`.eval_results/<data set>/scores.txt`, a line `clip score` for
each clip, higher for bona fide speech), the sheet (`submissions/<slug>.yaml`, schema 4) into the data set's, as a pull
request. It points at the scores by a commit, which exists only once they are uploaded. What is not known yet is null,
which the arena's check refuses: nothing half filled in can be taken for whole.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from plastsearch.errors import PlastsearchError
from plastsearch.export.place import checksum
from plastsearch.files import text_of, told, whole_file
from plastsearch.scores.files import write_scores
from plastsearch.scores.metrics import Floats, curve
from plastsearch.version import __version__

SCHEMA = 4
COMMIT = "COMMIT"  # stands for a hash that is not known yet
_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{7,40}")
MOST_BYTES = 1 << 20  # of a sheet of answers
# What a person may answer, by section; the first is the arena's own meta.yaml, so that one file serves both.
ANSWERS: Mapping[str, tuple[str, ...]] = {
    "system": ("name", "slug", "description", "code", "checkpoint", "paper", "params_millions"),
    "submitter": ("hf_username", "contact"),
    "dataset": ("revision", "split"),
    "artifact": ("commit", "bench_version"),
    "notes": (),
}


@dataclass(frozen=True)
class Submission:
    """What the sheet says beside the scores."""

    name: str  # of the system, as the board shows it
    data_set: str  # organisation/name on the hub
    repository: str  # organisation/name of the model's repository there
    description: str
    parameters: int | None = None
    skipped: int = 0  # clips without a score
    eer: float | None = None  # percent, by the arena's own rule
    answers: Mapping[str, Any] = field(default_factory=dict)  # of a person, by the sections of ANSWERS


def arena_eer(scores: Floats, is_bona: NDArray[np.bool_]) -> float:
    """Equal error rate in percent as the arena computes it, which compares what is claimed to a millionth.

    At every score that occurs, spoofs at or above it and bona fide clips below it are errors; between the two scores
    where the rates cross both are interpolated.
    """
    of = curve(scores[is_bona], scores[~is_bona])
    begins = np.flatnonzero(np.concatenate(([True], np.diff(of.scores) != 0)))
    false_alarm, miss = of.false_alarm[begins], of.miss[begins]
    gap = false_alarm - miss
    crossings = np.flatnonzero(np.diff(np.sign(gap)) != 0)
    if not crossings.size:
        at = int(np.argmin(np.abs(gap)))
        return float(false_alarm[at] + miss[at]) / 2 * 100
    at = int(crossings[0])
    share = gap[at] / (gap[at] - gap[at + 1])
    ends = [rate[at] + share * (rate[at + 1] - rate[at]) for rate in (false_alarm, miss)]
    return float(sum(ends)) / 2 * 100


def answers_in(path: Path) -> dict[str, Any]:
    """A person's answers: a YAML file in the form of the arena's meta.yaml, with more sections if wanted."""
    try:
        read = yaml.safe_load(text_of(path, MOST_BYTES))
    except (yaml.YAMLError, RecursionError) as error:
        raise PlastsearchError(f"{path}: no YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(read, dict):
        raise PlastsearchError(f"{path}: sections are wanted: {', '.join(ANSWERS)}")
    for section, given in read.items():
        known = ANSWERS.get(section)
        if known is None:
            raise PlastsearchError(f"{path}: {section}: unknown section; known: {', '.join(ANSWERS)}")
        if known and not isinstance(given, dict):
            raise PlastsearchError(f"{path}: {section}: fields are wanted: {', '.join(known)}")
        for name in given if known else ():
            if name not in known:
                raise PlastsearchError(f"{path}: {section}.{name}: unknown field; known: {', '.join(known)}")
    commit = str((read.get("artifact") or {}).get("commit") or "")
    if commit and _HASH.fullmatch(commit) is None:
        raise PlastsearchError(
            f"{path}: artifact.commit: '{commit}' is no hash of a commit (7 to 40 hexadecimal digits)"
        )
    return read


def write_arena(folder: Path, wanted: Submission, ids: Sequence[str], scores: Floats) -> list[Path]:
    """Both files below a folder, each where its repository wants it."""
    for what, name in (("data set", wanted.data_set), ("repository", wanted.repository)):
        if _ON_HUB.fullmatch(name) is None:
            raise PlastsearchError(f"'{name}' is no {what} on the hub: give organisation/name")
    spaced = next((name for name in ids if len(name.split()) != 1), None)
    if spaced is not None:
        raise PlastsearchError(f"clip {spaced!r}: the arena's score files part name and score by a space; rename it")
    inside = f".eval_results/{wanted.data_set}/scores.txt"
    path = folder / inside
    sheet = folder / "submissions" / f"{_slug_of(wanted)}.yaml"
    with told(folder):
        for one in (path, sheet):
            one.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft:
            write_scores(draft, ids, scores)
        with whole_file(sheet) as draft:
            draft.write_text(_sheet(wanted, inside, checksum(path), len(ids)), encoding="utf-8")
    return [path, sheet]


def slug(name: str) -> str:
    """A name that a file may have: small letters, digits and hyphens."""
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
    if not found:
        raise PlastsearchError(f"'{name}': a system's name needs letters or digits")
    return found


def lacking(sheet: Mapping[str, Any]) -> list[str]:
    """Fields of a sheet that are still to be filled in."""
    found = [
        f"{section}.{name}"
        for section, fields in sheet.items()
        if isinstance(fields, dict)
        for name, value in fields.items()
        if value is None
    ]
    return found + (["artifact.scores_url"] if f"/{COMMIT}/" in sheet["artifact"]["scores_url"] else [])


def _slug_of(wanted: Submission) -> str:
    given = wanted.answers.get("system") or {}
    return slug(str(given.get("slug") or given.get("name") or wanted.name))


def _sheet(wanted: Submission, inside: str, digest: str, clips: int) -> str:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.constants import ENDPOINT

    answers = {section: dict(wanted.answers.get(section) or {}) for section, fields in ANSWERS.items() if fields}
    commit = answers["artifact"].pop("commit", None) or COMMIT
    system: dict[str, Any] = {
        "name": wanted.name, "slug": _slug_of(wanted), "description": wanted.description, "code": None,
        "checkpoint": f"{ENDPOINT}/{wanted.repository}",
    }  # fmt: skip
    if wanted.parameters is not None:
        system["params_millions"] = round(wanted.parameters / 1e6, 6)
    scores: dict[str, object] = {
        "eer_percent": wanted.eer,
        "n_trials": clips + wanted.skipped,
        "n_skipped": wanted.skipped,
    }
    content: dict[str, Any] = {
        "schema_version": SCHEMA,
        "system": {**system, **answers["system"], "slug": _slug_of(wanted)},
        "dataset": {"id": wanted.data_set, "revision": None, "split": "test", **answers["dataset"]},
        "scores": scores,
        "artifact": {
            "scores_url": hf_hub_url(wanted.repository, inside, revision=commit), "scores_sha256": digest,
            "bench_version": f"plastsearch=={__version__}", **answers["artifact"],
        },
        "reproduction": {},
        "submitter": {"hf_username": wanted.repository.split("/")[0], "contact": None, **answers["submitter"]},
        "submitted_at": time.strftime("%F"),
    }  # fmt: skip
    if wanted.answers.get("notes"):
        content["notes"] = str(wanted.answers["notes"])
    steps = [
        f"Upload {inside} to {wanted.repository}: with the commit's hash in its address, never a branch's name.",
        *([f"Fill in: {', '.join(lacking(content))}."] if lacking(content) else []),
        f"Send this file to {wanted.data_set} as submissions/{_slug_of(wanted)}.yaml, in a pull request; "
        "`reproduction` stays empty.",
    ]
    head = "".join(f"# {n}. {step}\n" for n, step in enumerate(steps, 1))
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
