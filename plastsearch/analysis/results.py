"""trials.jsonl → one table: objectives, who is in the front and who may not be, controls marked, finalists joined."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from pydantic import JsonValue

from plastsearch.analysis.certainty import Certainty, certainty_of
from plastsearch.analysis.comparing import Against, Comparison, compare
from plastsearch.analysis.rows import Finalist, TrialRow
from plastsearch.errors import PlastsearchError
from plastsearch.pareto.attainment import Corners
from plastsearch.pareto.front import knee
from plastsearch.pareto.noise import Noise
from plastsearch.spec.methods import METHODS, Control
from plastsearch.spec.sweep import Objective
from plastsearch.tracking.events import Event, Finished, Opened, SessionBegun
from plastsearch.tracking.journal import read
from plastsearch.tracking.ranking import Ranking, ranking_of
from plastsearch.tracking.records import TrialRecord, trials
from plastsearch.tracking.replicates import noise_of


@dataclass(frozen=True)
class Results:
    """A sweep as its journal tells it."""

    folder: Path
    name: str
    spec: Mapping[str, JsonValue]
    spec_hash: str
    overrides: list[str]
    ranking: Ranking = field(repr=False)
    objectives: tuple[Objective, ...]  # each with its reference
    rows: tuple[TrialRow, ...]
    finalists: tuple[Finalist, ...]
    status: str  # running | done | interrupted | budget | failures
    seconds: float
    started_at: float
    events: tuple[Event, ...] = field(repr=False)
    apart: tuple[TrialRow, ...] = ()  # of a merged sweep: runs on other data than its head asks about

    @property
    def question(self) -> str:
        """The question the space asks, if it says."""
        return str(self.spec.get("question") or "")

    @cached_property
    def front(self) -> list[TrialRow]:
        """Members of the front, best in the first objective first."""
        place = {record.number: at for at, record in enumerate(self.ranking.front(row.record for row in self.rows))}
        return sorted((row for row in self.rows if row.number in place), key=lambda row: place[row.number])

    @property
    def controls(self) -> list[TrialRow]:
        """What the search is compared with, in the order they were asked for."""
        return [row for row in self.rows if row.record.role == "control"]

    @cached_property
    def winner(self) -> TrialRow | None:
        """The trial that controls answer to: it grew something, keeps within the limits, and is the best of those."""
        best = self.ranking.winner(row.record for row in self.rows)
        return None if best is None else next(row for row in self.rows if row.number == best.number)

    def control(self, name: str, of: int | None = None) -> TrialRow | None:
        """The finished control of that name, of the trial `of` where it answers to one."""
        # The baseline answers to no trial, so it carries no `of`; it is found whichever trial is asked about.
        found = (row for row in self.controls if row.record.control == name and row.allowed is not None)
        return next((row for row in found if row.record.of in (None, of)), None)

    @cached_property
    def finalist(self) -> Finalist | None:
        """The finalist that the search would have named: to choose by evaluation scores would be a search on them."""
        sign = -1 if self.objectives[0].goal == "max" else 1
        rows = {row.number: row for row in self.rows if row.allowed and METHODS[row.config.method].grows}
        grown = [one for one in self.finalists if one.of in rows and rows[one.of].record.role == "search"]

        def rank(one: Finalist) -> tuple[bool, float, int]:
            beside_winner = self.winner is None or one.of != self.winner.number
            return beside_winner, sign * rows[one.of].values[0], one.of

        return min(grown, key=rank, default=None)

    @cached_property
    def every(self) -> list[TrialRow]:
        """Every run: rows, their runs with further seeds, finalists, those set apart."""
        again = [run for row in self.rows for run in (*row.again, *row.lost)]
        return [*self.rows, *again, *(row for one in self.finalists for row in one.rows), *self.apart]

    @cached_property
    def repeated(self) -> bool:
        """Whether trials count by means over seeds."""
        return any(row.again for row in self.rows)

    @cached_property
    def plotted(self) -> list[TrialRow]:
        """Rows with a place in the figure: finished, complete, not a finalist."""
        return [row for row in self.rows if row.allowed is not None]

    def in_state(self, *states: str) -> list[TrialRow]:
        """Rows of the search and its controls that are in one of these states."""
        return [row for row in self.rows if row.record.state in states]

    @cached_property
    def knee(self) -> TrialRow | None:
        """The member of the front where trade-offs bend."""
        members = self.front
        at = knee([row.values for row in members], [one.goal for one in self.objectives]) if members else None
        return None if at is None else members[at]

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Whether the winner differs from its controls, on the search-dev set and, with the finalists, beyond."""
        if self.winner is None:
            return ()
        asked = cast("list[Control]", self.spec.get("controls") or [])
        against = [Against(name, self.control(name, of=self.winner.number), self._again(name)) for name in asked]
        return compare(self.folder, self.winner, self.finalist, against)

    def _again(self, name: str) -> Finalist | None:
        """The finalist that a control was run again as; only one that answers to no trial is."""
        control = self.control(name)
        return next((one for one in self.finalists if control is not None and one.of == control.number), None)

    def noise(self, metric: str) -> Noise | None:
        """How far this metric says configurations apart; None while too few ran twice."""
        if metric not in self._noise:
            self._noise[metric] = noise_of((row.record for row in self.every), metric)
        return self._noise[metric]

    @cached_property
    def _noise(self) -> dict[str, Noise | None]:
        return {}

    @cached_property
    def certainty(self) -> Certainty | None:
        """Where the front may lie; None where neither seeds nor clips tell."""
        return certainty_of(self.folder, self.plotted, self.objectives, self.noise)

    @cached_property
    def bands(self) -> dict[object, list[tuple[float, Corners]]]:
        """The areas of fronts in pairs of objectives, as far as figure.py has worked them out."""
        return {}

    def interval(self, row: TrialRow, objective: int) -> tuple[float, float] | None:
        """95 % of a number in the table: of a mean by seeds and clips, where nothing ran twice of the run by clips."""
        if self.repeated and self.certainty is not None and row.allowed is not None:
            return self.certainty.interval(row, objective)
        return row.interval(self.objectives[objective].metric)

    @cached_property
    def gain(self) -> float | None:
        """What the search dominates beyond the baseline, as a share of what that leaves; as measured."""
        return self.ranking.gain([row.record for row in self.rows])

    @cached_property
    def likely_gain(self) -> tuple[float, float, float] | None:
        """The same by what is likely, where trials that look good may have been lucky: median and 95 % interval."""
        gains = None if self.certainty is None else self.certainty.gains()
        if gains is None:
            return None
        low, middle, high = (float(value) for value in np.quantile(gains, [0.025, 0.5, 0.975]))
        return middle, low, high

    @cached_property
    def hypervolume(self) -> float | None:
        """Volume between the front of the search and the reference; None where no reference is known."""
        return self.ranking.hypervolume([row.record for row in self.rows])


def load_results(folder: Path) -> Results:
    """Read a sweep folder; a sweep that still runs gives what it has so far."""
    folder = Path(folder)
    return results_of(folder, read(folder, configs=True))


def results_of(folder: Path, events: Sequence[Event]) -> Results:
    """What these events of a sweep add up to."""
    opening = next((event for event in events if isinstance(event, Opened)), None)
    if opening is None:
        raise PlastsearchError(f"{folder}/trials.jsonl: no sweep was recorded; the file is empty or its head cut off")
    every = trials(events)
    records = {number: record for number, record in every.items() if not record.apart}
    ranking = ranking_of(opening.spec, records.values())
    rows = _rows(records, ranking)
    apart = [TrialRow(one, tuple(ranking.values(one))) for one in every.values() if one.apart]
    # Each session of a resumed sweep has its own ending: only one after the last opening ends the sweep.
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
        seconds=closing[-1].seconds if finished else max(0.0, events[-1].at - opening.at),
        started_at=opening.at,
        events=tuple(events),
        apart=tuple(apart),
    )


def _rows(every: Mapping[int, TrialRecord], ranking: Ranking) -> list[TrialRow]:
    """Halted, failed and incomplete trials have no result; a reused one repeats another's and would count twice."""
    records = [record for record in every.values() if record.role in ("search", "control")]
    members = {record.number for record in ranking.front(records)}
    shares = ranking.membership(records)
    winner = ranking.winner(records)
    again: dict[int | None, list[TrialRow]] = {}
    for record in every.values():
        if record.role == "replicate":
            again.setdefault(record.of, []).append(TrialRow(record, tuple(ranking.values(record))))
    return [
        TrialRow(
            record,
            tuple(ranking.values(record)),
            ranking.allowed(ranking.means(record)) if ranking.result(record) else None,
            in_front=record.number in members,
            superseded=record.role == "control" and record.of not in (None, winner and winner.number),
            again=tuple(run for run in again.get(record.number, ()) if run.record.state == "done"),
            lost=tuple(run for run in again.get(record.number, ()) if run.record.state != "done"),
            membership=shares.get(record.number),
        )
        for record in records
    ]


def _finalists(records: Iterable[TrialRecord], ranking: Ranking) -> tuple[Finalist, ...]:
    groups: dict[int, list[TrialRow]] = {}
    for record in records:
        if record.role == "finalist":
            of = -1 if record.of is None else record.of
            groups.setdefault(of, []).append(TrialRow(record, tuple(ranking.values(record))))
    return tuple(Finalist(of, tuple(rows)) for of, rows in groups.items())
