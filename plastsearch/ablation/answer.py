"""From an ablation's runs to what they say: steps with paired intervals, and what each field was worth where."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plastsearch.ablation.fields import Chosen
from plastsearch.ablation.greedy import Taken, Walk, conflicts
from plastsearch.ablation.plan import Plan
from plastsearch.analysis.ablations import Ablation, Change, Step, Way
from plastsearch.analysis.comparing import NoAnswerError, paired
from plastsearch.analysis.paired import holm, over_seeds
from plastsearch.analysis.rows import TrialRow
from plastsearch.errors import PlastsearchError
from plastsearch.spec.config import TrialConfig
from plastsearch.sweep.planned import Records

PAIRED = "dev_eer"  # of which every clip's score is kept


@dataclass(frozen=True)
class Between:
    """Two configurations beside each other."""

    before: Chosen
    after: Chosen


class _Run(TrialRow):
    """A run of an ablation: its number there means nothing to anybody."""

    @property
    def label(self) -> str:
        """What to call it."""
        return "a run"


class Answers:
    """Reads the runs of a plan from their records; `sweep` is the folder whose store has their scores."""

    def __init__(self, plan: Plan, records: Records, sweep: Path) -> None:
        self._plan = plan
        self._sweep = sweep
        self._by_id = {record.id: record for record in records.values()}
        self._records = records
        self._sign = -1.0 if plan.goal == "max" else 1.0
        self._values = plan.values(records)
        self._known: dict[Between, Step] = {}

    def ablation(self, name: str, trial: int, notes: Sequence[str] = ()) -> Ablation:
        """The whole answer."""
        plan = self._plan
        forward, backward = plan.walks(self._records)
        names = plan.contrast.names
        if self._value(frozenset()) is None or self._value(names) is None:
            raise PlastsearchError("neither path has begun: the trial and its baseline have not both been run again")
        for _, between in (*_steps(forward), *_steps(backward)):
            self._known.setdefault(between, self._step(between, plan.contrast.ordered(between.before ^ between.after)))
        self._correct()
        whole = self._step(Between(frozenset(), names), plan.contrast.ordered(names))
        done = [record for record in self._records.values() if record.state == "done"]
        said = dict.fromkeys([*notes, *forward.left_out, *backward.left_out])
        seeds = tuple(one.seed for one in plan.seeded(plan.contrast.config(names)))
        return Ablation(
            sweep=name, trial=trial, metric=plan.metric, goal=plan.goal,
            seeds=seeds,
            runs=sum(record.trial_config.seed in seeds for record in self._records.values()),
            reused_seconds=sum(record.metrics.get("reused_seconds", 0.0) for record in done),
            seconds=sum(record.seconds for record in done),
            whole=whole, forward=self._way(forward), backward=self._way(backward),
            changes=tuple(self._change(one.name, one.words, forward, backward) for one in plan.contrast.fields),
            conflicts=tuple(conflicts(forward, backward)) if forward.complete and backward.complete else (),
            family=sum(step.p is not None for step in self._known.values()),
            notes=tuple(said),
        )  # fmt: skip

    def _way(self, walk: Walk) -> Way:
        steps = [
            self._known[between].model_copy(update={
                "fields": taken.move.fields, "along": taken.along, "words": self._words(taken, walk.direction),
                "rivals": tuple((" + ".join(one.fields), self._sign * value) for one, value in taken.rivals),
            })
            for taken, between in _steps(walk)
        ]  # fmt: skip
        start = self._value(walk.start)
        assert start is not None  # asked before
        return Way(direction=walk.direction, start=start, steps=tuple(steps), complete=walk.complete)

    def _words(self, taken: Taken, direction: str) -> str:
        fields = [self._plan.contrast.field(name) for name in taken.move.fields]
        if direction == "forward":
            return "+ " + " and ".join(one.words for one in fields)
        return "− " + " and ".join(one.undone for one in fields)

    def _step(self, between: Between, fields: tuple[str, ...]) -> Step:
        before, after = self._value(between.before), self._value(between.after)
        assert before is not None
        assert after is not None
        found = {"fields": fields, "words": "", "value": after, "points": after - before}
        pairs = list(zip(self._rows(between.after), self._rows(between.before), strict=True))
        metric = self._plan.metric
        lacking = f"one seed tells no interval of {metric}: use --seeds 3 or more"
        if metric == PAIRED:
            try:
                answer = paired(self._sweep, pairs)
                return Step(**found, low=answer.low, high=answer.high, p=answer.p)
            except NoAnswerError as error:  # seeds still tell one, if there are several
                lacking = str(error)
        interval = over_seeds([one.metrics[metric] - other.metrics[metric] for one, other in pairs])
        if interval is None:
            return Step(**found, missing=lacking)
        return Step(**found, low=interval[0], high=interval[1], p=interval[2])

    def _correct(self) -> None:
        """Holm over the steps of both directions; a step that both take is one question."""
        asked = [between for between, step in self._known.items() if step.p is not None]
        corrected = holm([p for between in asked if (p := self._known[between].p) is not None])
        for between, p in zip(asked, corrected, strict=True):
            self._known[between] = self._known[between].model_copy(update={"p_corrected": p})

    def _change(self, name: str, words: str, forward: Walk, backward: Walk) -> Change:
        names = self._plan.contrast.names
        nothing: Chosen = frozenset()
        found: dict[str, float | None] = {}
        together: set[str] = set()
        for key, walk in (("forward", forward), ("backward", backward)):
            for taken, between in _steps(walk):
                fields = {*taken.move.fields, *taken.along}  # what falls with a step is measured with it
                if name in fields:
                    found[key] = self._worth(between, walk)
                    together |= fields - {name}
        singles = {"alone": (nothing, nothing | {name}, forward), "left_out": (names, names - {name}, backward)}
        for key, (before, after, walk) in singles.items():
            if self._id(before) != self._id(after):
                found[key] = self._worth(Between(before, after), walk)
        return Change(name=name, words=words, together=self._plan.contrast.ordered(together), **found)

    def _worth(self, between: Between, walk: Walk) -> float | None:
        """What the trial's side of a step has over the baseline's, in the metric's good direction."""
        before, after = self._value(between.before), self._value(between.after)
        if before is None or after is None:
            return None
        gained = self._sign * (before - after)
        return gained if walk.direction == "forward" else -gained

    def _config(self, at: Chosen) -> TrialConfig:
        return self._plan.contrast.config(at)

    def _id(self, at: Chosen) -> str:
        return self._config(at).trial_id()

    def _value(self, at: Chosen) -> float | None:
        value = self._values.get(self._id(at))
        return None if value is None else self._sign * value

    def _rows(self, at: Chosen) -> list[TrialRow]:
        records = [self._by_id[one.trial_id()] for one in self._plan.seeded(self._config(at))]
        return [_Run(record, (record.metrics[self._plan.metric],)) for record in records]


def _steps(walk: Walk) -> Iterator[tuple[Taken, Between]]:
    at = walk.start
    for taken in walk.steps:
        yield taken, Between(at, taken.move.to)
        at = taken.move.to
