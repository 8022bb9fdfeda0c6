"""trials.jsonl → one table: objectives, who is in the front and who may not be, controls marked, finalists joined."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from plastsearch.errors import PlastsearchError
from plastsearch.pareto.front import Goal, front, hypervolume, knee
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.constraints import Constraint, parse_constraint
from plastsearch.tracking.journal import Event, TrialRecord, read, trials

CONTROL_NAMES = {
    "baseline": "baseline (no growth)",
    "lora": "LoRA, same sites",
    "random": "random sites",
}


@dataclass(frozen=True)
class Objective:
    """One axis of the trade-off; the reference is the worst value that still counts."""

    metric: str
    goal: Goal = "min"
    reference: float | None = None


@dataclass(frozen=True)
class Row:
    """One trial of the table; `allowed` says whether it meets the constraints, None if it has no result."""

    record: TrialRecord
    values: tuple[float, ...]  # objectives, NaN where missing
    allowed: bool | None = None
    in_front: bool = False

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
        if self.record.control:
            return CONTROL_NAMES.get(self.record.control, self.record.control)
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
    objectives: tuple[Objective, ...]
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

    @property
    def front(self) -> list[Row]:
        """Members of the front, best in the first objective first."""
        sign = -1 if self.objectives[0].goal == "max" else 1
        return sorted((row for row in self.rows if row.in_front), key=lambda row: (sign * row.values[0], row.number))

    @property
    def controls(self) -> list[Row]:
        """What the search is compared with, in the order they were asked for."""
        return [row for row in self.rows if row.record.role == "control"]

    def control(self, name: str) -> Row | None:
        """The finished control of that name."""
        found = (row for row in self.controls if row.record.control == name and row.record.state == "done")
        return next((row for row in found if row.complete), None)

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
    def hypervolume(self) -> float | None:
        """Volume between the front of the search and the reference; None where no reference is known."""
        corner = [one.reference for one in self.objectives]
        known = [value for value in corner if value is not None]
        if len(known) < len(corner):
            return None
        values = [row.values for row in self.plotted if row.allowed and row.record.role == "search"]
        return hypervolume(values, [one.goal for one in self.objectives], known) if values else 0.0


def load_results(folder: Path) -> Results:
    """Read a sweep folder; a sweep that still runs gives what it has so far."""
    folder = Path(folder)
    events = read(folder)
    opening = next((event for event in events if event["event"] == "sweep"), None)
    if opening is None:
        raise PlastsearchError(f"{folder}/trials.jsonl: no sweep was recorded; the file is empty or its head cut off")
    records = trials(events)
    objectives = _objectives(opening["spec"], records.values())
    rows = _rows([record for record in records.values() if record.role != "finalist"], objectives, opening["spec"])
    closing = [event for event in events if event["event"] == "finish"]
    last_session = max((n for n, event in enumerate(events) if event["event"] == "session"), default=0)
    finished = bool(closing) and events.index(closing[-1]) > last_session
    return Results(
        folder=folder,
        name=str(opening.get("name") or folder.name),
        spec=opening["spec"],
        spec_hash=str(opening.get("spec_hash", "")),
        overrides=list(opening.get("overrides") or []),
        objectives=objectives,
        rows=tuple(rows),
        finalists=_finalists(records.values(), objectives),
        status=str(closing[-1]["status"]) if finished else "running",
        seconds=float(closing[-1]["seconds"]) if finished else events[-1]["at"] - opening["at"],
        started_at=float(opening["at"]),
        events=tuple(events),
    )


def _objectives(spec: dict[str, Any], records: Any) -> tuple[Objective, ...]:
    sizes = [r.metrics["params_baseline"] for r in records if "params_baseline" in r.metrics]
    wanted = spec.get("objectives") or [{"metric": "dev_eer", "goal": "min"}]
    return tuple(
        Objective(one["metric"], one.get("goal", "min"), one.get("reference") or _reference(one["metric"], sizes))
        for one in wanted
    )


def _reference(metric: str, baseline_sizes: Sequence[float]) -> float | None:
    """EER 50 is chance, a ratio of 1.1 is dearer than full fine-tuning, a network may grow by half."""
    if metric.endswith("eer"):
        return 50.0
    if metric.endswith("ratio"):
        return 1.1
    if metric.startswith("params") and baseline_sizes:
        return 1.5 * baseline_sizes[0]
    return None


def _rows(records: list[TrialRecord], objectives: tuple[Objective, ...], spec: dict[str, Any]) -> list[Row]:
    """Halted, failed and incomplete trials have no result; a reused one repeats another's and would count twice."""
    drafts = [Row(record, _values(record, objectives)) for record in records]
    done = [row.record.state == "done" and row.complete for row in drafts]
    baseline = next((r.metrics for r in records if r.control == "baseline" and r.state == "done"), {})
    limits = [parse_constraint(text) for text in spec.get("constraints") or []]
    allowed = [
        all(_meets(limit, row.metrics, baseline) for limit in limits) if whole else None
        for row, whole in zip(drafts, done, strict=True)
    ]
    values = np.array([row.values for row in drafts], dtype=float).reshape(len(drafts), len(objectives))
    values[[not fits for fits in allowed]] = np.nan
    mask = front(values, [one.goal for one in objectives])
    return [
        Row(row.record, row.values, fits, bool(inside)) for row, fits, inside in zip(drafts, allowed, mask, strict=True)
    ]


def _meets(limit: Constraint, metrics: dict[str, float], baseline: dict[str, float]) -> bool:
    """What was not measured does not meet a limit; a baseline that has not finished limits nothing yet."""
    beyond = limit.violation(metrics, baseline)
    return limit.metric in metrics if beyond is None else beyond <= 0


def _values(record: TrialRecord, objectives: tuple[Objective, ...]) -> tuple[float, ...]:
    return tuple(float(record.metrics.get(one.metric, math.nan)) for one in objectives)


def _finalists(records: Any, objectives: tuple[Objective, ...]) -> tuple[Finalist, ...]:
    groups: dict[int, list[Row]] = {}
    for record in records:
        if record.role == "finalist":
            groups.setdefault(int(record.extra.get("of", -1)), []).append(Row(record, _values(record, objectives)))
    return tuple(Finalist(of, tuple(rows)) for of, rows in groups.items())


def age(seconds: float) -> str:
    """A duration as people say it."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def when(at: float) -> str:
    """A moment in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
