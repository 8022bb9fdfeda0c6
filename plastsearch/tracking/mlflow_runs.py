"""A trial or sweep in MLflow's terms: names, tags, parameters and metrics as plain data. Does not import mlflow."""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import JsonValue

from plastsearch.spec.config import content_id
from plastsearch.tracking.events import Finished, Opened, SessionBegun
from plastsearch.tracking.ranking import objectives_of
from plastsearch.tracking.records import TrialRecord

T = TypeVar("T")
TAG_LIMIT, PARAM_LIMIT = 4900, 500  # what every backend takes
STATUSES = {"done": "FINISHED", "reused": "FINISHED", "failed": "FAILED", "halted": "KILLED"}
SWEEP_STATUSES = {"done": "FINISHED", "budget": "FINISHED", "interrupted": "KILLED", "failures": "FAILED"}
# What our runs hold; runs of an older form are brought up to date. 2: datasets, artifacts, sources, system metrics.
ENDED_TAG = "plastsearch.ended_at"  # the last thing written of a trial
FORM_TAG, FORM = "plastsearch.form", "2"
_FORBIDDEN = re.compile(r"[^\w\-. :/]")
# Of a configuration, what people filter and sort by; the whole of it is one tag.
_SHOWN = (
    "method", "layers", "neurons", "operator", "kernel", "init", "regime", "start", "criterion", "pool", "keep", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One metric at one moment."""

    key: str
    value: float
    timestamp_ms: int
    step: int


def sweep_id(opening: Opened) -> str:
    """The same for every replay of one journal, different for two runs of one space."""
    return content_id([opening.name, opening.spec_hash, opening.at])


def experiment_name(opening: Opened) -> str:
    """One experiment for each space."""
    return str(opening.space or opening.spec.get("name") or opening.name or "plastsearch")


def milliseconds(seconds: float) -> int:
    """A time as MLflow writes it."""
    return round(seconds * 1000)


def sweep_tags(opening: Opened) -> dict[str, str]:
    """Tags by which the parent run is found again."""
    return {
        "plastsearch.sweep": sweep_id(opening),
        "plastsearch.role": "sweep",
        "plastsearch.spec_hash": opening.spec_hash,
    }


def session_tags(sessions: Sequence[SessionBegun], closing: Finished | None) -> dict[str, str]:
    """Tags that say how often a sweep was resumed, when and where last, and how it ended."""
    found = {"plastsearch.sessions": str(len(sessions))}
    if sessions:
        found["plastsearch.host"] = sessions[-1].host
        found |= source_tags(sessions)
    if sessions and sessions[-1].resumed:
        found["plastsearch.resumed_at"] = time.strftime("%FT%TZ", time.gmtime(sessions[-1].at))
    ended = "" if closing is None else f"{closing.status}: {closing.reason}" if closing.reason else closing.status
    return {key: value[:TAG_LIMIT] for key, value in (found | {"plastsearch.ended": ended}).items()}


def source_tags(sessions: Sequence[SessionBegun]) -> dict[str, str]:
    """MLflow's own tags for what ran: its Source, Version and Git fields; those of the latest session that says so."""
    found = {"mlflow.source.name": "plastsearch sweep", "mlflow.source.type": "LOCAL"}
    for one in sessions:
        told = {
            "mlflow.source.git.commit": one.commit.removesuffix("+"), "mlflow.source.git.branch": one.branch,
            "plastsearch.commit": one.commit, "plastsearch.command": one.command,
            "plastsearch.version": one.versions.get("plastsearch", ""),
        }  # fmt: skip
        found |= {key: value for key, value in told.items() if value}
    # MLflow shows what stands after the last slash: the command as such is a tag of its own.
    words = found.get("plastsearch.command", "").split()
    return found | ({"mlflow.source.name": f"plastsearch sweep {words[2]}"} if len(words) > 2 else {})


def sweep_params(opening: Opened) -> dict[str, str]:
    """Parameters of the parent run: what the sweep was asked for."""
    goals = ", ".join(f"{one.goal} {one.metric}" for one in objectives_of(opening.spec))
    search = {f"search.{key}": value for key, value in section(opening.spec, "search").items()}
    space = {f"space.{key}": domain for key, domain in section(opening.spec, "space").items()}
    shown = {"objectives": goals, "controls": opening.spec.get("controls") or [], **search, **space}
    return _params({**shown, "overrides": [*opening.overrides]})


def section(data: Mapping[str, JsonValue], key: str) -> dict[str, JsonValue]:
    """The part of plain data under a key; empty where there is none."""
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def trial_name(record: TrialRecord) -> str:
    """A name for people; runs are found by tags."""
    if record.role == "replicate":
        return f"seed {record.seed} of {record.control or 'trial'} {record.of}"
    kind = "finalist" if record.role == "finalist" else record.control or "trial"
    return f"{kind} {record.number}"


def trial_identity(record: TrialRecord, opening: Opened, parent: str) -> dict[str, str]:
    """Tags that never change, and find the run again."""
    return {
        "mlflow.parentRunId": parent,
        "plastsearch.sweep": sweep_id(opening),
        "plastsearch.trial": str(record.number),
        "plastsearch.role": record.role,
        "plastsearch.config_id": record.id,
        **({"plastsearch.control": record.control} if record.control else {}),
        **({} if record.of is None else {"plastsearch.of": str(record.of)}),
    }


def trial_tags(record: TrialRecord, sessions: Sequence[SessionBegun] = ()) -> dict[str, str]:
    """Tags that the end of a trial settles; among them, which program ran it."""
    device = record.details.get("device")
    ran = [one for one in sessions if one.at <= (record.ended_at or 0.0)][-1:]
    commit = next((one.commit for one in ran), "")
    found = {
        "mlflow.source.name": "plastsearch trial",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit.removesuffix("+"),
        "plastsearch.commit": commit,
        "plastsearch.device": str(device.get("name", "")) if isinstance(device, dict) else "",
        "plastsearch.state": record.state,
        ENDED_TAG: repr(record.ended_at),
        "plastsearch.config": json.dumps(record.config, sort_keys=True),
        "plastsearch.origin": record.origin,
        "plastsearch.attempts": str(record.attempts),
        "plastsearch.fidelity": f"{record.fidelity:g}",
        "plastsearch.reason": record.reason or "",
        "plastsearch.node": record.node or "",
        "plastsearch.reuse_of": "" if record.reuse_of is None else str(record.reuse_of),
        FORM_TAG: FORM,
    }
    details = {f"plastsearch.detail.{_key(name)}": _text(value) for name, value in record.details.items()}
    return {key: value[:TAG_LIMIT] for key, value in (found | details).items() if value}


def trial_params(record: TrialRecord) -> dict[str, str]:
    """The searched parameters and what people filter by."""
    config = record.config
    shown = {name: config[name] for name in _SHOWN if name in config}
    model, data = section(config, "model"), section(config, "data")
    shown |= {"model": model.get("name"), "preset": model.get("preset"), "corpus": data.get("corpus")}
    return _params({**record.params, **shown})


def trial_points(record: TrialRecord) -> list[Point]:
    """Results once at step 0, so that they chart as numbers; what was reported on the way as curves in sections."""
    # MLflow draws a metric with steps as a line and one at step 0 as a number; a slash in a name makes a section.
    curves = [
        Point(_curve(name), value, milliseconds(report.at), report.step)
        for report in record.history
        for name, value in report.metrics.items()
        if value is not None and (name.startswith("dev_") or name == "train_loss")
    ]
    curves += [
        Point(f"system/{_key(name)}", value, milliseconds(report.at), report.step)
        for report in record.history
        for name, value in report.system.items()
        if value is not None
    ]
    ended = milliseconds(record.ended_at or 0.0)
    # What a halted or failed trial had reached must not sort among results.
    before = "" if record.state in {"done", "reused"} else "partial/"
    return curves + [Point(_key(before + name), float(value), ended, 0) for name, value in record.metrics.items()]


def _curve(name: str) -> str:
    section, _, rest = name.partition("_")
    return _key(f"{section}/{rest}")


def _params(values: Mapping[str, JsonValue]) -> dict[str, str]:
    # Cut beforehand: a parameter that was written cannot be changed any more, so a replay must say the very same.
    texts = {_key(name): _text(value)[:PARAM_LIMIT] for name, value in values.items() if value is not None}
    return {name: text for name, text in texts.items() if text}


def _key(name: str) -> str:
    # MLflow refuses a whole batch for one sign that it does not allow in a key.
    return _FORBIDDEN.sub("_", str(name))[:250]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return json.dumps(value, sort_keys=True)


def in_lots(items: Iterable[T], size: int) -> list[list[T]]:
    """Lists of at most `size`."""
    whole = list(items)
    return [whole[start : start + size] for start in range(0, len(whole), size)]
