"""SweepSpec: the question a sweep asks, as a search space's YAML spells it. Read from a file by load.py."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo, model_validator

from plastsearch.spec.coherence import Mistake, Mistakes, incoherent, spike_metrics
from plastsearch.spec.config import Closed, TrialConfig, content_id
from plastsearch.spec.constraints import Constraint, Goal, known_metric, parse_constraint
from plastsearch.spec.domains import Domain
from plastsearch.spec.limits import (
    MOST_AMOUNT,
    MOST_AT_ONCE,
    MOST_CHOICES,
    MOST_COUNT,
    MOST_KEYS,
    MOST_REPEATS,
    MOST_SECONDS,
    MOST_SEED,
)
from plastsearch.spec.methods import Control, Runs, runs

MetricName = Annotated[str, AfterValidator(known_metric)]


def _constraint(text: str) -> str:
    parse_constraint(text)
    return text


class Objective(Closed):
    """What should become small or large; the reference is the worst value that still counts for the hypervolume."""

    metric: MetricName
    goal: Goal = "min"
    reference: float | None = None  # None: 50 for an EER, 1.1 for a ratio, 1.5 × the baseline's parameters


class Search(Closed):
    """Who proposes, and when it has had enough; limits count across resumes."""

    sampler: Literal["auto", "tpe", "nsga2", "nsga3", "gp", "qmc", "random", "grid"] = "auto"
    trials: int = Field(24, ge=1, le=MOST_COUNT)
    seed: int = Field(0, ge=0, le=MOST_SEED)
    parallel: int | None = Field(None, ge=1, le=MOST_AT_ONCE)  # None: as many as the resources allow
    encoding: Literal["onoff", "blocks", "window"] = "onoff"  # of a subset
    blocks: int = Field(8, ge=1, le=MOST_REPEATS)  # encoding blocks: how many
    anchors: bool = True  # known designs first: single layers, windows, spreads, all
    # Earlier sweeps: folders, tables (.parquet, .csv), mlflow:URI#EXPERIMENT (docs/warm_start.md).
    warm_start: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), max_length=MOST_KEYS)
    duplicates: Literal["skip", "reuse", "replicate"] = "skip"
    # auto: trials whose place in the front is uncertain run with further seeds, the same for all (docs/noise.md);
    # a number: all trials run with so many seeds. Both kinds of run count as `trials`.
    replicate: Literal["none", "auto"] | Annotated[int, Field(ge=2, le=MOST_REPEATS)] = "none"
    replicate_seeds: int = Field(8, ge=2, le=MOST_REPEATS)  # auto: with how many seeds a trial runs at most
    replicate_share: float = Field(0.5, gt=0, lt=1)  # auto: of `trials`, at most, so many runs may be such repeats
    wall_s: float | None = Field(None, gt=0, le=MOST_SECONDS)
    gpu_hours: float | None = Field(None, gt=0, le=MOST_AMOUNT)
    target_hypervolume: float | None = Field(None, gt=0)
    stagnation: int | None = Field(None, ge=1, le=MOST_COUNT)  # trials without gain


class Resources(Closed):
    """What one trial asks for; None: a GPU if there are any, and an equal share of the cores."""

    cpu: float | None = Field(None, ge=0, le=MOST_AMOUNT)
    gpu: float | None = Field(None, ge=0, le=MOST_AMOUNT)
    memory_gb: float | None = Field(None, gt=0, le=MOST_AMOUNT)
    custom: dict[str, Annotated[float, Field(ge=0, le=MOST_AMOUNT)]] = Field(default_factory=dict)


class Halt(Closed):
    """Which trials are not worth finishing."""

    kind: Literal["none", "asha", "median", "moasha"] = "none"
    metric: MetricName = "dev_eer"  # asha and median; moasha looks at all objectives
    rungs: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.25, 0.5), min_length=1)  # of steps after growth
    eta: float = Field(2.0, gt=1, le=MOST_AMOUNT)
    least: int = Field(4, ge=2, le=MOST_COUNT)  # trials at a rung before anything is halted there


class Finalists(Closed):
    """Members of the front that run again: new seeds, timed in turn, the only ones to see the evaluation split."""

    top: int = Field(3, ge=0, le=MOST_REPEATS)  # 0: none
    seeds: int = Field(3, ge=1, le=MOST_REPEATS)


def _repeats(search: Search, space: Mapping[str, Domain]) -> list[Mistake]:
    """What further seeds of a trial do not go with."""
    found: list[Mistake] = []
    if search.replicate == "none":
        return found
    where = ("search", "replicate")
    if search.duplicates == "replicate":
        found.append((where, "repeats trials already; leave out 'duplicates: replicate', which repeats them by chance"))
    if "seed" in space:
        found.append((("space", "seed"), "search.replicate chooses the seeds; leave this out, or replicate"))
    if isinstance(search.replicate, int) and search.trials < search.replicate:
        runs = f"{search.replicate} seeds are {search.replicate} runs of a trial"
        found.append((where, f"{runs}, and search.trials allows {search.trials} in all; raise that"))
    return found


class SweepSpec(Closed):
    """The whole of a search space's file."""

    version: Literal[1] = 1
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str | None = None
    base: TrialConfig = TrialConfig(method="plasticity")
    space: dict[str, Domain] = Field(default_factory=dict, max_length=MOST_KEYS)  # dotted path of TrialConfig → domain
    objectives: tuple[Objective, ...] = Field(
        (Objective(metric="dev_eer"), Objective(metric="backward_ratio"), Objective(metric="params_total")),
        min_length=1,
        max_length=MOST_KEYS,
    )
    constraints: tuple[Annotated[str, AfterValidator(_constraint)], ...] = Field((), max_length=MOST_KEYS)
    controls: tuple[Control, ...] = Field(("baseline", "lora", "random"), max_length=MOST_KEYS)
    search: Search = Search()
    resources: Resources = Resources()
    halt: Halt = Halt()
    finalists: Finalists = Finalists()
    try_first: tuple[dict[str, JsonValue], ...] = Field(
        (), max_length=MOST_CHOICES
    )  # points of the space, before any anchor
    max_failures: int = Field(2, ge=0, le=MOST_REPEATS)  # attempts of one trial beyond the first
    max_failed_fraction: float = Field(0.5, gt=0, le=1)
    trial_timeout_s: float | None = Field(
        None, gt=0, le=MOST_SECONDS
    )  # of one attempt's own time; waits for others do not count

    @model_validator(mode="after")
    def _coherent(self, info: ValidationInfo) -> Self:
        dropped = (info.context or {}).get("dropped", frozenset())
        mistakes = incoherent(
            self.base, self.space, [one.metric for one in self.objectives], self.controls, self.try_first, dropped
        )
        limited = [one.metric for one in self.parsed_constraints]
        mistakes += spike_metrics("constraints", limited, self.base, self.space)
        mistakes += _repeats(self.search, self.space)
        if mistakes:
            raise Mistakes(mistakes)
        return self

    @property
    def parsed_constraints(self) -> tuple[Constraint, ...]:
        """The constraints as numbers and names."""
        return tuple(parse_constraint(text) for text in self.constraints)

    @property
    def runs(self) -> Runs:
        """How many trials it comes to, at most."""
        return runs(self.search.trials, self.controls, self.finalists.top, self.finalists.seeds)

    def plain(self) -> dict[str, JsonValue]:
        """Plain data that reads back as the same spec."""
        return self.model_dump(mode="json", by_alias=True)

    def spec_hash(self) -> str:
        """A short hash of all of it, blind to key order and to spelt-out defaults."""
        return content_id(self.plain())
