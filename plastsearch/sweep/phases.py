"""What a sweep runs, in order: baseline, search, other controls, finalists. Each phase skips what the journal has."""

from collections.abc import Callable, Iterable
from typing import Protocol

from plastsearch.search.proposer import Proposer
from plastsearch.search.replication import EverySeed, Repeat, Repeating, Replication
from plastsearch.search.space import Space
from plastsearch.spec.methods import CONTROLS, YARDSTICK
from plastsearch.spec.sweep import SweepSpec
from plastsearch.sweep.options import Options
from plastsearch.sweep.planned import FRESH, PlannedTrial, Records, against_best, baseline, finalists
from plastsearch.tracking.events import Role
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord


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
