"""What a sweep runs, in order: baseline, search, other controls, finalists. Each phase skips what the journal has."""

import random
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from plastsearch.execute.executor import Executor
from plastsearch.execute.messages import Task
from plastsearch.pareto.front import knee
from plastsearch.search.proposer import Proposer
from plastsearch.search.replication import EverySeed, Repeat, Repeating, Replication
from plastsearch.search.space import Space
from plastsearch.spec.config import RunSettings, TrialConfig, content_id
from plastsearch.spec.methods import CONTROLS, YARDSTICK, Control, facts
from plastsearch.spec.sweep import Objective, SweepSpec
from plastsearch.sweep.budget import Limits
from plastsearch.sweep.driver_log import output_of
from plastsearch.sweep.halting import Halting
from plastsearch.sweep.options import Options
from plastsearch.tracking.events import Role
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord

Records = Mapping[int, TrialRecord]


@dataclass(frozen=True)
class PlannedTrial:
    """A trial about to be proposed."""

    config: TrialConfig
    role: Role = "search"
    control: str | None = None
    params: Mapping[str, JsonValue] = field(default_factory=dict)
    origin: str = "sampler"
    reuse_of: int | None = None
    of: int | None = None  # the trial that a finalist or a replicate repeats, or a control answers to
    seed: int | None = None  # of a finalist or a replicate


class Phase(Protocol):
    """A source of trials; with `barrier`, it starts when all before it have ended; with `alone`, one runs at a time."""

    barrier: bool
    alone: bool

    def next(self, number: int, records: Records) -> PlannedTrial | None:
        """The next trial, to be called `number`; None once there is none left."""


class SearchPhase:
    """What the proposer proposes, and repeats where results are uncertain, until the budget or the space is spent."""

    barrier = False
    alone = False

    def __init__(
        self,
        proposer: Proposer,
        exhausted: Callable[[Records], str | None],
        replication: Repeating | None = None,
    ) -> None:
        self._proposer = proposer
        self._exhausted = exhausted
        self._replication = replication
        self.ended_by: str | None = None

    @property
    def after(self) -> list[Phase]:
        """What follows it directly."""
        return [] if self._replication is None else [RepeatPhase(self._replication, self._exhausted)]

    def next(self, number: int, records: Records) -> PlannedTrial | None:
        """Ask the proposer."""
        # Asked before every proposal, so that what is already running when a budget is spent may finish.
        self.ended_by = self._exhausted(records)
        if self.ended_by is not None:
            return None
        again = self._replication.next(records) if self._replication is not None else None
        if again is not None:
            return _replicate(again)
        proposal = self._proposer.ask(number)
        if proposal is None:
            self.ended_by = "space"
            return None
        return PlannedTrial(
            config=proposal.config, params=proposal.params, origin=proposal.origin, reuse_of=proposal.reuse_of
        )


class RepeatPhase:
    """Where the space is exhausted before the budget: what is left makes what was found more certain."""

    barrier = True
    alone = False

    def __init__(self, replication: Repeating, exhausted: Callable[[Records], str | None]) -> None:
        self._replication = replication
        self._exhausted = exhausted

    def next(self, number: int, records: Records) -> PlannedTrial | None:  # noqa: ARG002
        """Who is the least certain."""
        if self._exhausted(records) is not None:
            return None
        again = self._replication.uncertain(records)
        return _replicate(again) if again is not None else None


def _replicate(again: Repeat) -> PlannedTrial:
    """A trial with a further seed; its stages are told apart by that, and its start is shared with others of it."""
    trial = again.trial
    config = trial.trial_config
    fresh = config.model_copy(update={"seed": config.seed + again.offset})
    return PlannedTrial(
        fresh, role="replicate", control=trial.control, params=trial.params, origin="replicate",
        of=trial.number, seed=fresh.seed,
    )  # fmt: skip


class ListedPhase:
    """Trials that follow from the records, worked out once, when the phase begins."""

    def __init__(
        self, listed: Callable[[Records], Iterable[PlannedTrial]], *, barrier: bool = True, alone: bool = False
    ) -> None:
        self._listed = listed
        self._queue: list[PlannedTrial] | None = None
        self.barrier = barrier
        self.alone = alone

    def next(self, number: int, records: Records) -> PlannedTrial | None:  # noqa: ARG002
        """The next that the journal does not have yet."""
        # Not when the session opens: controls answer to the best trial, which only the end of the search can tell.
        if self._queue is None:
            known = {_key(record) for record in records.values()}
            self._queue = [trial for trial in self._listed(records) if _key(trial) not in known]
        return self._queue.pop(0) if self._queue else None


def _key(one: PlannedTrial | TrialRecord) -> tuple[Role, str | None, int | None, int | None]:
    """What makes two of them the same run: a control of another trial, or of another seed, is another one."""
    # A resume with more trials may find another best one; its controls are then run, not those of the old one kept.
    return one.role, one.control, one.of, one.seed


def baseline(base: TrialConfig) -> PlannedTrial:
    """Train the original network with the whole budget."""
    config = base.model_copy(update={"method": CONTROLS[YARDSTICK].method, "layers": (), "neurons": 0})
    return PlannedTrial(config, role="control", control=YARDSTICK, origin="control")


def against_best(
    names: Sequence[Control], ranking: Ranking, candidates: Sequence[str], seed: int
) -> Callable[[Records], list[PlannedTrial]]:
    """Controls that answer to the best member of the front, which is known only after the search."""

    def plans(records: Records) -> list[PlannedTrial]:
        best = ranking.winner(records.values())
        if best is None:
            return []
        config = best.trial_config
        made = [
            _random_sites(config, candidates, seed) if CONTROLS[name].method is None else adapted(config, name)
            for name in names
        ]
        return [replace(trial, of=best.number) for trial in made if trial is not None]

    return plans


def adapted(config: TrialConfig, name: Control) -> PlannedTrial:
    """As many parameters on the same sites as the growth of this very configuration adds."""
    operator = "stack" if facts(config.method).adds == "layers" else config.operator
    changes = {"method": CONTROLS[name].method, "rank": None, "lora_on": "sites", "operator": operator}
    changed = config.model_copy(update=changes)
    return PlannedTrial(changed, role="control", control=name, origin="control")


def _random_sites(config: TrialConfig, candidates: Sequence[str], seed: int) -> PlannedTrial | None:
    """The same widths at other sites; None if there is only one choice of sites."""
    growth = config.growth()
    sites = sorted(set(candidates) | set(growth))
    if len(sites) == len(growth):
        return None
    rng = random.Random(f"random sites {seed}")  # by text: the same in every Python, and no other draw's stream
    chosen = sorted(growth)
    while chosen == sorted(growth):
        chosen = sorted(rng.sample(sites, len(growth)))
    chosen.sort(key=sites.index)
    neurons = dict(zip(chosen, growth.values(), strict=True)) if isinstance(config.neurons, dict) else config.neurons
    changed = config.model_copy(update={"layers": tuple(chosen), "neurons": neurons})
    return PlannedTrial(changed, role="control", control="random", origin="control")


FRESH = 1000  # where seeds of finalists begin if replicates have taken the first ones: those took part in the choice


def finalists(ranking: Ranking, top: int, seeds: int, first: int = 1) -> Callable[[Records], list[PlannedTrial]]:
    """Runs of `top` members of the front and the baseline, `seeds` of each.

    The best member opens every seed, so that what the others of that seed begin with is trained without anybody
    waiting; then one seed of all before the next.
    """

    def plans(records: Records) -> list[PlannedTrial]:
        members = choose(ranking, [r for r in records.values() if r.role == "search"], top)
        entrants = members + [r for r in records.values() if _is_repeated(r)]
        if not members:
            return []
        groups = (entrants[:1], entrants[1:])
        return [_again(one, seed) for group in groups for seed in range(first, first + seeds) for one in group]

    return plans


def _is_repeated(record: TrialRecord) -> bool:
    """Whether a control is run again with the finalists."""
    # By role, for finalists of a control bear its name: a resume once took those of the baseline for baselines and ran
    # finalists of finalists on the evaluation split.
    facts = CONTROLS.get(record.control) if record.role == "control" else None  # type: ignore[call-overload]
    return facts is not None and facts.finalist and record.state == "done"


def choose(ranking: Ranking, records: Sequence[TrialRecord], top: int) -> list[TrialRecord]:
    """The best by the first objective, the knee of the front, then the next best by the first objective."""
    members = ranking.front(records)
    if len(members) <= top:
        return members
    bend = knee([ranking.values(record) for record in members], [one.goal for one in ranking.objectives])
    order = [members[0], members[bend or 0], *members]
    return list({record.number: record for record in order}.values())[:top]


def _again(record: TrialRecord, seed: int) -> PlannedTrial:
    fresh = record.trial_config.model_copy(update={"seed": record.trial_config.seed + seed})
    return PlannedTrial(
        fresh, role="finalist", control=record.control, params=record.params, origin="finalist",
        of=record.number, seed=fresh.seed,
    )  # fmt: skip


def replication_of(spec: SweepSpec, ranking: Ranking) -> Repeating | None:
    """Who runs with further seeds, if that is asked for."""
    asked = spec.search
    if isinstance(asked.replicate, int):
        return EverySeed(ranking, asked.trials, asked.replicate)
    return (
        Replication(ranking, asked.trials, asked.replicate_share, asked.replicate_seeds)
        if asked.replicate == "auto"
        else None
    )


def limits_of(spec: SweepSpec) -> Limits:
    """What the spec allows to spend and to bear."""
    asked = spec.search
    return Limits(
        trials=asked.trials,
        wall_s=asked.wall_s,
        gpu_hours=asked.gpu_hours,
        hypervolume=asked.target_hypervolume,
        stagnation=asked.stagnation,
        max_failures=spec.max_failures,
        max_failed_fraction=spec.max_failed_fraction,
        trial_timeout_s=spec.trial_timeout_s,
    )


def halting_of(spec: SweepSpec, ranking: Ranking) -> Halting | None:
    """The halting rule; those on one metric take its goal from the objectives, if it is one."""
    halt = spec.halt
    if halt.kind == "none":
        return None
    own = next((one for one in ranking.objectives if one.metric == halt.metric), Objective(metric=halt.metric))
    objectives = ranking.objectives if halt.kind == "moasha" else [own]
    return Halting(halt.kind, objectives, halt.rungs, halt.eta, halt.least)


def task_of(
    options: Options, executor: Executor, folder: Path, *, check_evaluation: bool = False, limited: bool = False
) -> Callable[[TrialRecord, bool], Task]:
    """How a record becomes what a worker runs."""
    given = {} if options.checkpoint_s is None else {"checkpoint_s": options.checkpoint_s}
    settings = RunSettings(
        device=executor.device,  # who was given a GPU fails without one; nobody falls back to a core
        deterministic=options.deterministic,
        gpu_share=executor.gpus or 1.0,
        threads=max(1, int(executor.cpus)),
        store=options.store_of(folder.parent),
        cache=options.cache_of(folder.parent),
        clips=None if options.clips is None else options.clips_of(folder.parent),
        check_evaluation=check_evaluation,
        cache_max_gb=options.cache_max_gb,
        store_max_gb=options.store_max_gb,
        **given,
    )
    # Beside the store, the one folder that a driver and workers on other nodes both reach.
    notes = settings.store / "waits" / content_id(str(folder.resolve()))
    shutil.rmtree(notes, ignore_errors=True)  # of attempts that were killed

    def task(record: TrialRecord, defer: bool) -> Task:
        function = options.finalist if record.role == "finalist" else options.trial
        waits = notes / f"{record.number}-{record.attempts + 1}" if limited else None
        output = output_of(folder.resolve(), record.number, record.attempts + 1)
        own = settings.model_copy(update={"defer_busy": defer, "waits": waits, "output": output})
        return Task(function=function, config=record.trial_config, settings=own)

    return task


def phases_of(
    spec: SweepSpec, options: Options, space: Space, ranking: Ranking, search: SearchPhase, *, shared_gpu: bool
) -> list[Phase]:
    """Baseline, search, other controls, finalists."""
    phases: list[Phase] = []
    if YARDSTICK in spec.controls:
        phases.append(ListedPhase(lambda _: [baseline(space.base)], barrier=False))
    phases += [search, *search.after]
    others = [name for name in spec.controls if CONTROLS[name].of_winner]
    if others:
        phases.append(ListedPhase(against_best(others, ranking, space.candidates, spec.search.seed)))
    if options.finalists and spec.finalists.top:
        first = 1 if spec.search.replicate == "none" else FRESH + 1
        again = finalists(ranking, spec.finalists.top, spec.finalists.seeds, first)
        phases.append(ListedPhase(again, alone=shared_gpu))  # who trains on the same GPU would disturb its clock
    return phases
