"""What an ablation runs, round by round: each round follows from the results of those before, in both directions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from plastsearch.ablation.fields import Contrast
from plastsearch.ablation.greedy import NoPathError, Walk, Walker, most_runs
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.constraints import Goal
from plastsearch.sweep.planned import PlannedTrial, Records
from plastsearch.tracking.records import TrialRecord
from plastsearch.trial.methods import check

ORIGIN = "ablation"


@dataclass
class Plan:
    """The question of an ablation: from where to where, by which metric, with which seeds, with how many runs."""

    contrast: Contrast
    metric: str
    goal: Goal
    seeds: int = 1
    most: int | None = None  # runs of all sessions together
    walker: Walker = field(init=False)

    def __post_init__(self) -> None:
        self.walker = Walker(self.contrast, check)

    @property
    def bound(self) -> int:
        """How many runs it takes at most."""
        whole = self.seeds * most_runs(self.walker)
        return whole if self.most is None else min(whole, self.most)

    @property
    def rounds(self) -> int:
        """More than any path has."""
        return len(self.contrast.fields) + 2

    def seeded(self, config: TrialConfig) -> list[TrialConfig]:
        """The same with each seed; the first is the trial's own, and all configurations take the same ones."""
        return [config.model_copy(update={"seed": config.seed + more}) for more in range(self.seeds)]

    def walks(self, records: Mapping[int, TrialRecord]) -> tuple[Walk, Walk]:
        """Both directions, as far as these records reach."""
        values = self.values(records)
        return self.walker.walk("forward", values), self.walker.walk("backward", values)

    def values(self, records: Mapping[int, TrialRecord]) -> dict[str, float | None]:
        """Configurations of which every seed has ended: their mean, less is better; None if a seed failed."""
        sign = -1.0 if self.goal == "max" else 1.0
        ended = {record.id: record for record in records.values() if record.ended}
        found: dict[str, float | None] = {}
        for record in ended.values():
            config = record.trial_config.model_copy(update={"seed": self.contrast.config(frozenset()).seed})
            name = config.trial_id()
            if name in found:
                continue
            runs = [ended.get(one.trial_id()) for one in self.seeded(config)]
            if any(run is None for run in runs):
                continue
            measured = [run.metrics.get(self.metric) for run in runs if run is not None and run.state == "done"]
            numbers = [value for value in measured if value is not None]
            found[name] = sign * fmean(numbers) if len(numbers) == self.seeds else None
        return found

    def next_round(self, records: Mapping[int, TrialRecord]) -> list[PlannedTrial]:
        """The runs of the next round; none once both paths are whole, or if it would go beyond the limit."""
        known = {record.id for record in records.values()}
        try:
            walks = self.walks(records)
        except NoPathError:  # said when the answer is asked for; the driver ends as it does when nothing is left
            return []
        wanted = {config.trial_id(): config for walk in walks for config in walk.wanted}
        # Seed by seed: what a seed's runs share is trained by the first of them.
        by_seed = zip(*(self.seeded(config) for config in wanted.values()), strict=True)
        lacking = [one for of_seed in by_seed for one in of_seed if one.trial_id() not in known]
        if self.most is not None and len(records) + len(lacking) > self.most:
            return []  # half a round decides nothing
        return [self._planned(one) for one in lacking]

    def stopped(self, records: Mapping[int, TrialRecord]) -> bool:
        """Whether the limit on runs ended a path early."""
        return self.most is not None and not all(walk.complete for walk in self.walks(records))

    def phases(self) -> list["Round"]:
        """One after the other, each when all before it have ended."""
        return [Round(self) for _ in range(self.rounds)]

    def _planned(self, config: TrialConfig) -> PlannedTrial:
        return PlannedTrial(config, origin=ORIGIN)


class Round:
    """A phase of the driver: runs that can be taken up all at once."""

    barrier = True
    alone = False

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._queue: list[PlannedTrial] | None = None

    def next(self, number: int, records: Records) -> PlannedTrial | None:  # noqa: ARG002
        """The next run of this round."""
        if self._queue is None:
            self._queue = self._plan.next_round(records)
        return self._queue.pop(0) if self._queue else None
