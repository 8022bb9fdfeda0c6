"""Ask and tell for the driver: openings, the sampler, duplicates, constraints. The journal's records are the memory.

A trial that is repeated counts by the means over its runs from then on, also against limits on its objectives. In
optuna.log, where what is written cannot be changed, it keeps the values of its first run.

Optuna knows no halting with several objectives. A halted trial is FAIL in the study on disk, and the sampler is told
what it had reached together with a violated constraint, so that it ranks below every finished trial.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from plastsearch.search.anchors import anchors
from plastsearch.search.optuna_log import Entry, OptunaLog
from plastsearch.search.parameters import flat
from plastsearch.search.proposer import Proposal
from plastsearch.search.samplers import Draw, OptunaSampler
from plastsearch.search.space import Space, open_space
from plastsearch.search.warm_start import knowledge
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.domains import Params, Point
from plastsearch.spec.methods import YARDSTICK
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.earlier import Earlier
from plastsearch.tracking.records import TrialRecord

WITH_ANCHORS = ("auto", "tpe", "nsga2", "nsga3", "gp")
MOST_SCANNED = 20_000  # points of a finite space looked through for one that is new
_HALTED = "halted"

Revised = Mapping[int, tuple[Sequence[float], int]]  # a repeated trial's number → means of its objectives, runs


def open_study(
    spec: SweepSpec,
    folder: Path,
    records: Iterable[TrialRecord],
    space: Space | None = None,
    revised: Revised | None = None,
) -> "Study":
    """The proposer of a sweep folder, knowing all that its journal knows, also which trials were repeated."""
    space = space or open_space(spec)
    records = list(records)
    return Study(spec, space, folder, records, revised, knowledge(spec, space, folder, records))


class Study:
    """Proposes trials and learns from them; every proposal is a function of the seed and of what was told before."""

    def __init__(
        self,
        spec: SweepSpec,
        space: Space,
        folder: Path | None,
        records: Iterable[TrialRecord],
        revised: Revised | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        self.spec = spec
        self.space = space
        search = spec.search
        self._metrics = [one.metric for one in spec.objectives]
        goals = [one.goal for one in spec.objectives]
        # At random first: a model of very few results follows their noise. A population only selects, and needs none.
        startup = 1 if search.sampler in ("nsga2", "nsga3") else min(10, max(4, search.trials // 4))
        self.earlier = earlier
        self._sampler = OptunaSampler(space, goals, search.sampler, search.seed, startup, earlier)
        self._openings = self._opening_points()
        self._grid = iter(space.points()) if search.sampler == "grid" else None
        self._orders: dict[int, int] = {}  # journal's number → place among the proposals
        self._seen: dict[str, int] = {}  # content, replicates' seeds aside → the first trial with it
        self._copies: dict[str, int] = {}  # content → how many trials have it
        self._without_result: set[int] = set()
        self._baseline: Mapping[str, float] = {}  # metrics of the control that relative limits refer to
        # Parameters of the untouched network stand in every result; anything else needs the baseline to be measured.
        relative = any(one.relative and not one.metric.startswith("params") for one in spec.parsed_constraints)
        self._awaits_baseline = relative and YARDSTICK in spec.controls
        self._before_baseline: list[TrialRecord] = []  # ended, and told only once the limits are known
        self._revised: dict[int, tuple[Sequence[float], int]] = {}
        records = sorted(records, key=lambda record: record.number)
        # The baseline first: it may have ended after trials of smaller numbers, whose limits it decides.
        for record in records:
            self._take_baseline(record)
        entries = [entry for record in records if (entry := self._recall(record)) is not None]
        for record in records:
            if revised is not None and record.number in revised:
                self.revise(record, *revised[record.number])
        self._log = OptunaLog(folder, spec.name or "sweep", space, self._metrics, goals) if folder is not None else None
        self.rebuilt = self._log.reconcile(entries) if self._log is not None else False

    def ask(self, number: int) -> Proposal | None:
        """Propose the trial that the journal will call `number`; None when there is nothing new in the space."""
        order = len(self._sampler)
        proposal = self._propose(order)
        if proposal is None:
            return None
        self._orders[number] = order
        self._note(proposal.config, number)
        if self._log is not None:
            notes = {"id": proposal.config.trial_id(), "origin": proposal.origin}
            self._log.add(Entry(number, proposal.params, notes=notes))
        return proposal

    def tell(self, record: TrialRecord) -> None:
        """Learn from a trial that ended. Of the controls only the baseline matters: constraints refer to it."""
        if self._take_baseline(record):
            waiting = self._before_baseline
            self._before_baseline = []
            for one in waiting:
                self.tell(one)
        if record.role != "search" or record.number not in self._orders:
            return
        if self._awaits_baseline:  # told now, it would count as allowed, and as something else after a resume
            self._before_baseline.append(record)
            return
        entry = self._learn(record)
        if self._log is not None:
            self._log.end(entry)

    def revise(self, record: TrialRecord, values: Sequence[float], runs: int) -> None:
        """Learn that a search trial was repeated: the means of its objectives, in order, over that many runs."""
        self._revised[record.number] = (list(values), runs)
        # One that awaits the baseline is told with its means then; what a copy took over was never told.
        if record.state == "done" and not self._awaits_baseline:
            self._update(record)

    def _propose(self, order: int) -> Proposal | None:
        """Ask the sampler, under the policy on duplicates."""
        found: list[Proposal] = []

        # Decided while Optuna asks, before it records any value. To record a duplicate and tell it as failed is a trap:
        # 130 failed records for 18 real trials on a space of 48 points, and a sampler learns nothing from any of them.
        def choose(draw: Draw) -> Params:
            settled = self._settle(order, draw)
            if settled is None:
                raise _NothingNewError
            found.append(settled)
            return settled.params

        try:
            self._sampler.ask(choose)
        except _NothingNewError:
            self._sampler.drop()
            return None
        return found[0]

    def _settle(self, order: int, draw: Draw) -> Proposal | None:
        """What to propose at this place: the grid's next point, an opening, or what was drawn, unless it is known."""
        if self._grid is not None and order >= len(self._openings):
            return self._next_point(self._grid)
        origin = "sampler"
        params = draw()  # also for an opening: the sampler keeps its count
        if order < len(self._openings):
            origin, params = self._openings[order]
        config = self.space.config(params)
        first = self._seen.get(config.trial_id())
        if first is None:
            return Proposal(params, config, origin)
        policy = self.spec.search.duplicates
        if policy == "replicate":
            copies = self._copies[config.trial_id()]
            return Proposal(params, config.model_copy(update={"seed": config.seed + copies}), origin)
        if policy == "reuse" and first not in self._without_result:
            return Proposal(params, config, origin, reuse_of=first)
        return self._new(order, params, draw)

    def _new(self, order: int, params: Params, draw: Draw) -> Proposal | None:
        """A point that has not been tried: draw again, then look next door, then anywhere."""
        rng = np.random.default_rng([self.spec.search.seed, order, 2])
        tries: list[Callable[[Params], Params]] = [lambda _: draw()] * 3
        tries += [lambda at: self.space.neighbour(at, rng)] * 24 + [lambda _: self.space.draw(rng)] * 48
        for attempt in tries:
            params = attempt(params)
            config = self.space.config(params)
            if config.trial_id() not in self._seen:
                return Proposal(params, config)
        # A small space that is nearly used up hides its last points from chance: look through all of it.
        size = self.space.size
        if size is None or size > MOST_SCANNED:
            return None
        return self._next_point(self.space.points())

    def _next_point(self, points: Iterator[Point]) -> Proposal | None:
        rng = np.random.default_rng(0)  # a whole point leaves nothing open
        for point in points:
            params = self.space.flat(point, rng)
            config = self.space.config(params)
            if config.trial_id() not in self._seen:
                return Proposal(params, config)
        return None

    def _opening_points(self) -> list[tuple[str, Params]]:
        """Points a person wrote, then what earlier sweeps found, then known designs, each once."""
        rng = np.random.default_rng([self.spec.search.seed, 3])
        search = self.spec.search
        wanted = [("try_first", self.space.flat(point, rng)) for point in self.spec.try_first]
        if self.earlier is not None:
            wanted += [("warm_start", flat(one.params)) for one in self.earlier.openings]
        if search.anchors and search.sampler in WITH_ANCHORS:
            wanted += [("anchor", params) for params in anchors(self.space, max(2, search.trials // 3), rng)]
        found: dict[str, tuple[str, Params]] = {}
        for origin, params in wanted:
            found.setdefault(self.space.config(params).trial_id(), (origin, params))
        return list(found.values())

    def _recall(self, record: TrialRecord) -> Entry | None:
        """Take in a trial of an earlier session."""
        if record.role != "search":
            return None
        self._orders[record.number] = len(self._sampler)
        self._sampler.restore(flat(record.params))
        self._note(record.trial_config, record.number)
        if record.ended and not self._awaits_baseline:
            return self._learn(record)
        if record.ended:
            self._before_baseline.append(record)
        return Entry(record.number, flat(record.params), notes={"id": record.id, "origin": record.origin})

    def _take_baseline(self, record: TrialRecord) -> bool:
        """Take in the baseline that limits refer to, if this is it and it has ended: then they are known."""
        if not record.yardstick or not record.ended:
            return False
        if record.state == "done":
            self._baseline = dict(record.metrics)
        self._awaits_baseline = False  # also if it failed: nothing would be gained by waiting on
        return True

    def _note(self, config: TrialConfig, number: int) -> None:
        content = config.model_copy(update={"seed": self._seed_of(config)}).trial_id()
        self._seen.setdefault(content, number)
        self._copies[content] = self._copies.get(content, 0) + 1

    def _seed_of(self, config: TrialConfig) -> int:
        """Replicates differ in the seed alone; they are one content."""
        return config.seed if "seed" in self.space.domains else self.space.base.seed

    def _learn(self, record: TrialRecord) -> Entry:
        values = self._values(record)
        violations = self._violations(record.metrics)
        finished = record.state == "done" and values is not None
        notes: dict[str, JsonValue] = {"id": record.id, "origin": record.origin, "state": record.state}
        if record.state == "halted":
            # What it had reached, below everything that was finished.
            self._sampler.tell(self._orders[record.number], values, {**violations, _HALTED: 1.0 - record.fidelity / 2})
            notes["fidelity"] = record.fidelity
        else:
            # A reused result stands once already: told twice, one lucky measurement would weigh double.
            self._sampler.tell(self._orders[record.number], values if finished else None, violations)
            if finished and record.number in self._revised:
                self._update(record)
        copied = record.state == "reused" and values is not None
        if not finished and not copied:
            self._without_result.add(record.number)
        if record.reason:
            notes["reason"] = record.reason[:200]
        return Entry(
            record.number, flat(record.params), True, values if finished or copied else None, violations, notes
        )

    def _update(self, record: TrialRecord) -> None:
        values, runs = self._revised[record.number]
        means = {**record.metrics, **dict(zip(self._metrics, values, strict=True))}
        self._sampler.update(self._orders[record.number], values, runs, self._violations(means))

    def _values(self, record: TrialRecord) -> list[float] | None:
        # All or none: Optuna refuses a NaN, and would keep such a trial as running for ever.
        values = [record.metrics.get(name, math.nan) for name in self._metrics]
        return [float(value) for value in values] if all(math.isfinite(value) for value in values) else None

    def _violations(self, metrics: Mapping[str, float]) -> dict[str, float]:
        texts = zip(self.spec.constraints, self.spec.parsed_constraints, strict=True)
        measured = {text: limit.violation(metrics, self._baseline) for text, limit in texts}
        return {text: value for text, value in measured.items() if value is not None and math.isfinite(value)}


class _NothingNewError(Exception):
    """Every point of the space was tried."""
