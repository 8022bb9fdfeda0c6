"""trials.jsonl → one table: objectives, who is in the front and who may not be, controls marked, finalists joined."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from plastsearch.analysis.comparing import Comparison, compare
from plastsearch.errors import PlastsearchError
from plastsearch.pareto.front import knee
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import CONTROLS
from plastsearch.tracking.events import Event, Finished, Opened, SessionBegun
from plastsearch.tracking.journal import TrialRecord, read, trials
from plastsearch.tracking.ranking import Aim, Ranking, ranking_of


@dataclass(frozen=True)
class Row:
    """One trial of the table; `allowed` says whether it meets the constraints, None if it has no result.

    `superseded`: a control of a trial that was the best once, before the sweep went on.
    """

    record: TrialRecord
    values: tuple[float, ...]  # objectives, NaN where missing
    allowed: bool | None = None
    in_front: bool = False
    superseded: bool = False

    @property
    def number(self) -> int:
        """The sweep's own count of its trials."""
        return self.record.number

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return self.record.metrics

    @cached_property
    def config(self) -> TrialConfig:
        """What was run."""
        return TrialConfig.model_validate(self.record.config)

    @property
    def label(self) -> str:
        """What to call it in a table or figure."""
        record = self.record
        if record.role == "finalist":
            return f"finalist {self.number} (again {record.of})"
        if record.control:
            known = CONTROLS.get(record.control)  # type: ignore[call-overload]
            name = known.label if known is not None else record.control
            return f"{name} (of trial {record.of})" if self.superseded else name
        return f"trial {self.number}"

    @property
    def complete(self) -> bool:
        """Whether every objective was measured."""
        return all(math.isfinite(value) for value in self.values)

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Its confidence interval, for metrics that have one."""
        low, high = self.metrics.get(f"{metric}_low"), self.metrics.get(f"{metric}_high")
        return None if low is None or high is None else (low, high)


@dataclass(frozen=True)
class Finalist:
    """A member of the front run again with other seeds; the only place where evaluation scores stand."""

    of: int
    rows: tuple[Row, ...]

    def values(self, metric: str) -> list[float]:
        """One value for each seed that reported it."""
        return [row.metrics[metric] for row in self.rows if row.record.state == "done" and metric in row.metrics]


@dataclass(frozen=True)
class Results:
    """A sweep as its journal tells it."""

    folder: Path
    name: str
    spec: dict[str, Any]
    spec_hash: str
    overrides: list[str]
    ranking: Ranking = field(repr=False)
    objectives: tuple[Aim, ...]  # each with its reference
    rows: tuple[Row, ...]
    finalists: tuple[Finalist, ...]
    status: str  # running | done | interrupted | budget | failures
    seconds: float
    started_at: float
    events: tuple[Event, ...] = field(repr=False)

    @property
    def question(self) -> str:
        """The question the space asks, if it says."""
        return str(self.spec.get("question") or "")

    @cached_property
    def front(self) -> list[Row]:
        """Members of the front, best in the first objective first."""
        place = {record.number: at for at, record in enumerate(self.ranking.front(row.record for row in self.rows))}
        return sorted((row for row in self.rows if row.number in place), key=lambda row: place[row.number])

    @property
    def controls(self) -> list[Row]:
        """What the search is compared with, in the order they were asked for."""
        return [row for row in self.rows if row.record.role == "control"]

    @cached_property
    def winner(self) -> Row | None:
        """The trial that controls answer to: it grew something, keeps within the limits, and is the best of those."""
        best = self.ranking.winner(row.record for row in self.rows)
        return None if best is None else next(row for row in self.rows if row.number == best.number)

    def control(self, name: str, of: int | None = None) -> Row | None:
        """The finished control of that name, of the trial `of` where it answers to one."""
        found = (row for row in self.controls if row.record.control == name and row.allowed is not None)
        return next((row for row in found if row.record.of in (None, of)), None)

    @property
    def plotted(self) -> list[Row]:
        """Rows with a place in the figure: finished, complete, not a finalist."""
        return [row for row in self.rows if row.allowed is not None]

    def in_state(self, *states: str) -> list[Row]:
        """Rows of the search and its controls that are in one of these states."""
        return [row for row in self.rows if row.record.state in states]

    @cached_property
    def knee(self) -> Row | None:
        """The member of the front where trade-offs bend."""
        members = self.front
        at = knee([row.values for row in members], [one.goal for one in self.objectives]) if members else None
        return None if at is None else members[at]

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Whether that trial differs from its controls, on the search-dev set and, with the finalists, beyond."""
        return compare(self)

    @cached_property
    def hypervolume(self) -> float | None:
        """Volume between the front of the search and the reference; None where no reference is known."""
        return self.ranking.hypervolume([row.record for row in self.rows])


def load_results(folder: Path) -> Results:
    """Read a sweep folder; a sweep that still runs gives what it has so far."""
    folder = Path(folder)
    events = read(folder)
    opening = next((event for event in events if isinstance(event, Opened)), None)
    if opening is None:
        raise PlastsearchError(f"{folder}/trials.jsonl: no sweep was recorded; the file is empty or its head cut off")
    records = trials(events)
    ranking = ranking_of(opening.spec, records.values())
    rows = _rows([record for record in records.values() if record.role != "finalist"], ranking)
    closing = [event for event in events if isinstance(event, Finished)]
    last_session = max((n for n, event in enumerate(events) if isinstance(event, SessionBegun)), default=0)
    finished = bool(closing) and events.index(closing[-1]) > last_session
    return Results(
        folder=folder,
        name=opening.name or folder.name,
        spec=opening.spec,
        spec_hash=opening.spec_hash,
        overrides=opening.overrides,
        ranking=ranking,
        objectives=ranking.resolved(records.values()),
        rows=tuple(rows),
        finalists=_finalists(records.values(), ranking),
        status=closing[-1].status if finished else "running",
        seconds=closing[-1].seconds if finished else events[-1].at - opening.at,
        started_at=opening.at,
        events=tuple(events),
    )


def _rows(records: list[TrialRecord], ranking: Ranking) -> list[Row]:
    """Halted, failed and incomplete trials have no result; a reused one repeats another's and would count twice."""
    members = {record.number for record in ranking.front(records)}
    winner = ranking.winner(records)
    return [
        Row(
            record,
            tuple(ranking.values(record)),
            ranking.allowed(record.metrics) if ranking.result(record) else None,
            in_front=record.number in members,
            superseded=record.role == "control" and record.of not in (None, winner and winner.number),
        )
        for record in records
    ]


def _finalists(records: Iterable[TrialRecord], ranking: Ranking) -> tuple[Finalist, ...]:
    groups: dict[int, list[Row]] = {}
    for record in records:
        if record.role == "finalist":
            groups.setdefault(-1 if record.of is None else record.of, []).append(
                Row(record, tuple(ranking.values(record)))
            )
    return tuple(Finalist(of, tuple(rows)) for of, rows in groups.items())


def when(at: float) -> str:
    """A moment in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
