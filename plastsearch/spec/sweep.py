"""SweepSpec: the question a sweep asks, as a search space's YAML spells it. Read from a file by load.py."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo, model_validator

from plastsearch.spec.aims import Aim
from plastsearch.spec.closed import Closed
from plastsearch.spec.coherence import Mistake, Mistakes, incoherent, spike_metrics
from plastsearch.spec.config import TrialConfig, content_id
from plastsearch.spec.constraints import CONSTRAINT_PATTERN, METRICS, Constraint, Goal, known_metric, parse_constraint
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

MetricName = Annotated[str, AfterValidator(known_metric), Field(json_schema_extra={"enum": list(METRICS)})]


def _constraint(text: str) -> str:
    parse_constraint(text)
    return text


ConstraintText = Annotated[
    str,
    AfterValidator(_constraint),
    Field(json_schema_extra={"pattern": CONSTRAINT_PATTERN, "examples": ["params_total <= 1.05 * baseline"]}),
]


class Objective(Closed):
    """What should become small or large; the reference is the worst value that still counts for the hypervolume."""

    metric: MetricName
    """Of the finished trial, on search-dev."""
    goal: Goal = "min"
    """Whether it should become small or large."""
    reference: float | None = None
    """Worst value that still counts; null: 50 for an EER, 1.1 for a ratio, 1.5 × the baseline's parameters."""


class Search(Closed):
    """Who proposes, and when it has had enough; limits count across resumes."""

    sampler: Literal["auto", "tpe", "nsga2", "nsga3", "gp", "qmc", "random", "grid"] = "auto"
    """Who proposes what to try next."""
    trials: int = Field(24, ge=1, le=MOST_COUNT)
    """How many; controls and finalists come on top."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Of what is proposed."""
    parallel: int | None = Field(None, ge=1, le=MOST_AT_ONCE)
    """Trials at a time; null: as many as the resources allow."""
    encoding: Literal["onoff", "blocks", "window"] = "onoff"
    """How a sampler sees a subset: each site by itself, in blocks, or as a window."""
    blocks: int = Field(8, ge=1, le=MOST_REPEATS)
    """encoding blocks: how many."""
    anchors: bool = True
    """Known designs first: single layers, windows, spreads, all."""
    warm_start: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), max_length=MOST_KEYS, examples=[["plastsearch-runs/w2v_layers"]]
    )
    """Earlier sweeps to learn from: folders, tables (.parquet, .csv), mlflow:URI#EXPERIMENT (docs/warm_start.md)."""
    duplicates: Literal["skip", "reuse", "replicate"] = "skip"
    """What becomes of a proposal that has run already."""
    replicate: Literal["none", "auto"] | Annotated[int, Field(ge=2, le=MOST_REPEATS)] = "none"
    """auto: trials whose place in the front is uncertain run with further seeds (docs/noise.md); a number: all do.

    Each such run counts as one of `trials`.
    """
    replicate_seeds: int = Field(8, ge=2, le=MOST_REPEATS)
    """replicate auto: with how many seeds a trial runs at most."""
    replicate_share: float = Field(0.5, gt=0, lt=1)
    """replicate auto: of `trials`, at most, so many runs may be such repeats."""
    wall_s: float | None = Field(None, gt=0, le=MOST_SECONDS)
    """The search ends after so many seconds, over all sessions."""
    gpu_hours: float | None = Field(None, gt=0, le=MOST_AMOUNT)
    """The search ends after so many hours of GPUs."""
    target_hypervolume: float | None = Field(None, gt=0)
    """The search ends once its front dominates so much."""
    stagnation: int | None = Field(None, ge=1, le=MOST_COUNT)
    """The search ends after so many trials without gain."""


class Resources(Closed):
    """What one trial asks for; None: a GPU if there are any, and an equal share of the cores."""

    cpu: float | None = Field(None, ge=0, le=MOST_AMOUNT)
    """Cores; null: an equal share."""
    gpu: float | None = Field(None, ge=0, le=MOST_AMOUNT)
    """GPUs, or a part of one that trials share; null: one, if there are any."""
    memory_gb: float | None = Field(None, gt=0, le=MOST_AMOUNT)
    """Memory that a trial is given room for."""
    custom: dict[str, Annotated[float, Field(ge=0, le=MOST_AMOUNT)]] = Field(default_factory=dict)
    """Ray's resources by other names."""


class Halt(Closed):
    """Which trials are not worth finishing."""

    kind: Literal["none", "asha", "median", "moasha"] = "none"
    """The rule; moasha looks at all objectives."""
    metric: MetricName = "dev_eer"
    """asha and median: what is compared."""
    rungs: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.25, 0.5), min_length=1)
    """When: shares of the steps after growth."""
    eta: float = Field(2.0, gt=1, le=MOST_AMOUNT)
    """asha and moasha: one in so many goes on."""
    least: int = Field(4, ge=2, le=MOST_COUNT)
    """Trials at a rung before anything is halted there."""


class Finalists(Closed):
    """Members of the front that run again: new seeds, timed in turn, the only ones to see the evaluation split."""

    top: int = Field(3, ge=0, le=MOST_REPEATS)
    """How many members; 0: none."""
    seeds: int = Field(3, ge=1, le=MOST_REPEATS)
    """How often each runs."""


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
    """Of this format."""
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The sweep's folder; null: the file's name."""
    question: str | None = None
    """What the sweep is to answer, in a sentence; reports repeat it."""
    base: TrialConfig = TrialConfig(method="plasticity")
    """What all trials share."""
    space: dict[str, Domain] = Field(default_factory=dict, max_length=MOST_KEYS)
    """What the search varies: dotted path of a trial's setting → the values it may have."""
    objectives: tuple[Objective, ...] = Field(
        (Objective(metric="dev_eer"), Objective(metric="backward_ratio"), Objective(metric="params_total")),
        min_length=1,
        max_length=MOST_KEYS,
    )
    """What should become small or large, all at once; the first one decides where one has to."""
    constraints: tuple[ConstraintText, ...] = Field((), max_length=MOST_KEYS)
    """Limits that members of the front keep within."""
    controls: tuple[Control, ...] = Field(("baseline", "lora", "random"), max_length=MOST_KEYS)
    """What the search has to beat: no growth, LoRA or AdaLoRA on the winner's sites, growth at random sites."""
    aims: tuple[Aim, ...] = Field((), max_length=MOST_KEYS)
    """Published figures that the space is to reach; the report says whether they were reproduced."""
    search: Search = Search()
    """Who proposes, and when it has had enough."""
    resources: Resources = Resources()
    """What one trial asks for."""
    halt: Halt = Halt()
    """Which trials are not worth finishing."""
    finalists: Finalists = Finalists()
    """Members of the front that run again, and alone see the evaluation split."""
    try_first: tuple[dict[str, JsonValue], ...] = Field((), max_length=MOST_CHOICES)
    """Points of the space that run before any other."""
    max_failures: int = Field(2, ge=0, le=MOST_REPEATS)
    """Attempts of one trial beyond the first."""
    max_failed_fraction: float = Field(0.5, gt=0, le=1)
    """The sweep ends where more than this share of trials has failed."""
    trial_timeout_s: float | None = Field(None, gt=0, le=MOST_SECONDS)
    """Seconds of one attempt's own time; waits for others do not count."""

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
