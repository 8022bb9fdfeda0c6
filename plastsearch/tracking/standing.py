"""Where a sweep stands, by as few lines of its journal as suffice: of a session that ended, the first and the last."""

import json
import os
import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from plastsearch.errors import PlastsearchError
from plastsearch.tracking.events import (
    ENDED,
    LARGEST,
    Finished,
    Opened,
    Proposed,
    Role,
    SessionBegun,
    Tally,
    TrialEvent,
    parse,
)
from plastsearch.tracking.journal import FILE, driver_lives
from plastsearch.tracking.ranking import Ranking, objectives_of, ranking_of
from plastsearch.tracking.reading import VERSION, shortened
from plastsearch.tracking.records import TrialRecord, known

StateWord = Literal["running", "finished", "interrupted", "failed", "damaged"]
_LONGEST = 1 << 22  # bytes of one line: a space of a megabyte and its defaults
_TAIL = 1 << 16
# The first words of a line, as our journal writes them; any other is taken apart as a whole.
_KIND = re.compile(rb'\{"event": ?"(\w+)"')
_WHO = re.compile(
    rb'"trial": ?(\d+), ?"id": ?"[^"\\]*", ?"role": ?"(search|control)", ?"control": ?(?:null|"(\w+)")[,}]'
)
_WORDS: dict[str, StateWord] = {"done": "finished", "budget": "finished", "failures": "failed"}


@dataclass(frozen=True)
class Standing:
    """One sweep; what is not known of it is None."""

    folder: Path
    state: StateWord
    name: str = ""
    metric: str | None = None  # the first objective
    goal: str | None = None
    tally: Tally | None = None
    started_at: float | None = None
    heard_at: float | None = None  # when the last line was written
    why: str | None = None  # of a damaged sweep

    def plain(self, now: float) -> dict[str, object]:
        """For programs."""
        tally = Tally() if self.tally is None else self.tally
        return {
            "folder": str(self.folder), "name": self.name, "state": self.state, "ended": tally.ended,
            "failed": tally.failed, "planned": tally.planned, "objective": self.metric, "goal": self.goal,
            "best": tally.best, "started_at": self.started_at, "heard_at": self.heard_at,
            "age_s": None if self.heard_at is None else round(max(0.0, now - self.heard_at), 3), "why": self.why,
        }  # fmt: skip


def tally_of(records: Collection[TrialRecord], ranking: Ranking, planned: int | None) -> Tally:
    """How many trials of the search have ended, and the best first objective of those that count."""
    searching = [record for record in records if record.role == "search"]
    values = [ranking.values(record)[0] for record in searching if ranking.counts(record)]
    best = max if ranking.objectives[0].goal == "max" else min
    return Tally(
        ended=sum(record.state in ENDED for record in searching),
        failed=sum(record.state == "failed" for record in searching),
        planned=planned,
        best=best(values) if values else None,
    )


def standing(folder: Path, *, whole: bool = True) -> Standing:
    """Where the sweep in that folder stands; one that cannot be read is said to be damaged.

    Not `whole`: a journal whose last line does not say how many trials ended is not read from end to end.
    """
    path = folder / FILE
    try:
        lives = driver_lives(folder)
        with path.open("rb") as file:
            head = _head(file.readline(_LONGEST))
            last = _last_line(path)
            found = _told(folder, head, parse(last)) if last else None
            if found is None:
                file.seek(0)
                found = _read(folder, head, file if whole else (), parse(last).at if last else head.at)
    except (PlastsearchError, ValueError) as error:
        return Standing(folder, "damaged", why=shortened(str(error)), heard_at=_touched(path))
    except OSError as error:
        return Standing(folder, "damaged", why=f"cannot be read ({error.strerror or error})", heard_at=_touched(path))
    return Standing(**(vars(found) | {"state": "running"})) if lives else found


def _head(line: bytes) -> Opened:
    if not line.endswith(b"\n"):
        raise ValueError("line 1: nothing was written yet" if not line else "line 1: it is not whole")
    try:
        event = parse(line)
    except ValueError as error:
        raise ValueError(f"line 1: {error}") from None
    if not isinstance(event, Opened):
        raise ValueError("line 1: the head of the journal is missing")
    if event.version > VERSION:
        raise ValueError(f"line 1: of version {event.version}; this plastsearch reads versions up to {VERSION}")
    return event


def _last_line(path: Path) -> bytes:
    """The last whole line, looked for from the end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = _TAIL
        while True:
            file.seek(max(0, size - length))
            lines = file.read(length).split(b"\n")[:-1]  # what follows the last line end is still being written
            if len(lines) > 1 or length >= size:
                return next((line for line in reversed(lines) if line.strip(b"\0 \r")), b"")
            length *= 4


def _told(folder: Path, head: Opened, last: object) -> Standing | None:
    """What the last line says, if it ends a session and says it."""
    if not isinstance(last, Finished) or last.tally is None:
        return None
    objective = objectives_of(head.spec)[0]
    return Standing(
        folder, _WORDS.get(last.status, "interrupted"), head.name or folder.name, objective.metric, objective.goal,
        last.tally, head.at, last.at,
    )  # fmt: skip


def _read(folder: Path, head: Opened, lines: Iterable[bytes], heard_at: float) -> Standing:
    """Line by line, each only as far as is needed; ValueError names the first that is damaged."""
    records: dict[int, TrialRecord] = {}
    ranking = ranking_of(head.spec)
    closing: Finished | None = None
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n") or not line.strip(b"\0 \r\n"):
            continue
        try:
            kind = _KIND.match(line)
            word = kind[1] if kind else b""
            if word == b"propose" and (who := _WHO.search(line, 0, 500)):
                trial = int(who[1])
                role: Role = "control" if who[2] == b"control" else "search"
                records[trial] = TrialRecord(trial, "", role, who[3].decode() if who[3] else None, {}, {})
            elif word == b"end":
                _end(records, ranking, json.loads(line))
            elif word == b"retry":
                if b'"reopened"' in line:
                    records[json.loads(line)["trial"]].state = "proposed"
            elif word not in (b"start", b"report"):
                event = parse(line)
                if isinstance(event, Proposed):
                    record = TrialRecord(event.trial, event.id, event.role, event.control, {}, {})
                    record.of, record.seed = event.of, event.seed
                    records[event.trial] = record
                elif isinstance(event, TrialEvent) and event.kind == "end":
                    _end(records, ranking, json.loads(line))
                elif isinstance(event, SessionBegun):
                    closing = None
                elif isinstance(event, Finished):
                    closing = event
        except RecursionError:
            raise ValueError(f"line {number}: nested too deeply") from None
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"line {number}: a field is missing or of the wrong kind") from None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    search = head.spec.get("search")
    planned = search.get("trials") if isinstance(search, dict) else None
    tally = tally_of(records.values(), ranking, planned if isinstance(planned, int) else None) if records else None
    objective = ranking.objectives[0]
    return Standing(
        folder, "interrupted" if closing is None else _WORDS.get(closing.status, "interrupted"),
        head.name or folder.name, objective.metric, objective.goal, tally, head.at, heard_at,
    )  # fmt: skip


def _end(records: dict[int, TrialRecord], ranking: Ranking, found: dict[str, Any]) -> None:
    record = records[found["trial"]]
    if found["state"] not in ENDED:
        raise ValueError(f"state: {found['state']!r} is none of {', '.join(sorted(ENDED))}")
    metrics = known(found["metrics"])
    if not all(isinstance(value, int | float) and abs(value) <= LARGEST for value in metrics.values()):
        raise ValueError("metrics: a number was expected")
    record.state, record.metrics = found["state"], metrics
    ranking.note(record)


def _touched(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


@dataclass(frozen=True)
class Found:
    """The sweeps below a folder, newest first, and what could not be looked into."""

    sweeps: tuple[Standing, ...]
    unread: tuple[str, ...]
    left: int  # journals that were not read from end to end, for want of time


def sweeps_below(root: Path, skipped: Collection[str] = (), patience_s: float = float("inf")) -> Found:
    """Every sweep below a folder, itself included; folders of these names, and hidden ones, are not looked into.

    Past `patience_s` no further journal is read from end to end.
    """
    folders: list[Path] = []
    unread: list[str] = []
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
            if any(entry.name == FILE and entry.is_file() for entry in inside):
                folders.append(folder)  # what lies in a sweep's own folder is no sweep
                continue
            for entry in inside:
                if entry.name.startswith(".") or entry.name in skipped or not entry.is_dir():
                    continue
                path = Path(entry.path)
                # A link to a sweep is one more name of it; any other link may lead round in a circle.
                if not entry.is_symlink():
                    waiting.append(path)
                elif (path / FILE).is_file():
                    folders.append(path)
        except OSError as error:
            unread.append(f"{error.filename or folder}: cannot be looked into ({error.strerror or error})")
    began = time.monotonic()
    sweeps = []
    left = 0
    for folder in sorted(folders, key=lambda one: -(_touched(one / FILE) or 0.0)):
        one = standing(folder, whole=time.monotonic() - began < patience_s)
        left += one.tally is None and one.state != "damaged" and time.monotonic() - began >= patience_s
        sweeps.append(one)
    sweeps.sort(key=lambda one: -(one.heard_at or 0.0))
    return Found(tuple(sweeps), tuple(unread), left)
