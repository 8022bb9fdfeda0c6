"""run_trial: one configuration taken through its stages, each reused, resumed or computed; knows no Ray or MLflow."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from plastsearch.errors import TrialError
from plastsearch.models.wav2vec2 import fetch
from plastsearch.private_folder import private_folder
from plastsearch.spec.config import RunSettings, TrialConfig
from plastsearch.spec.report import Report
from plastsearch.trial.bench import Bench, open_bench
from plastsearch.trial.checkpoint import stop_on_sigterm
from plastsearch.trial.compiling import LEFT_OUT, compiles
from plastsearch.trial.cost import costs
from plastsearch.trial.fit import Progress
from plastsearch.trial.keys import StageKey, base_key, stage_keys
from plastsearch.trial.methods import Stage, check, plan
from plastsearch.trial.networks import Specimen, blank
from plastsearch.trial.result import result
from plastsearch.trial.room import excess
from plastsearch.trial.stages import run_stage
from plastsearch.trial.store import DamagedStageError, StageRecord

MOST_DAMAGED = 8  # stored stages dropped in one trial before the disk is to blame


@dataclass
class Journey:
    """A trial under way: its stages, what is finished, and what that cost or saved."""

    bench: Bench
    stages: tuple[Stage, ...]
    keys: list[StageKey]
    began: float
    records: list[StageRecord] = field(default_factory=list)
    specimen: Specimen | None = None  # as after the last of `records`; None: not loaded yet
    waited_s: float = 0.0
    own_s: float = 0.0
    computed: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    @property
    def steps_total(self) -> int:
        return sum(stage.steps for stage in self.stages)

    @property
    def steps_done(self) -> int:
        return sum(stage.steps for stage in self.stages[: len(self.records)])

    @property
    def base(self) -> str:
        return base_key(self.bench.config, self.stages, self.keys, self.bench.surroundings)

    def load(self) -> Specimen:
        """The network as the finished stages left it."""
        if self.specimen is None:
            done = len(self.records)
            specimen = blank(self.bench.config, self.stages[:done], self.bench.device)
            if done:
                load_weights(specimen, self.bench.store.load(self.records[-1].key))
            self.specimen = specimen
        return self.specimen

    def resting(self) -> AbstractContextManager[None]:
        """While it lasts, nobody drops a stage this trial is made of."""
        return self.bench.store.rest_on([key.key for key in self.keys], self.bench.end_if_asked)

    def report(self, stage: str, step: int, metrics: dict[str, float], **details: Any) -> Report:
        return Report(stage, step, self.steps_total, metrics, details=details)


def load_weights(specimen: Specimen, tensors: dict[str, Tensor]) -> None:
    """Every stored tensor has its place, and every place its tensor."""
    specimen.module.load_state_dict(tensors, strict=True)


def run_trial(config: TrialConfig, settings: RunSettings) -> Iterator[Report]:
    """Take a configuration through its stages; called again after a kill it goes on where it stood."""
    with stop_on_sigterm() as stop:
        journey = start(config, settings, stop)
        with journey.resting():
            yield from travel(journey)
            yield result(journey, costs(journey))


def start(config: TrialConfig, settings: RunSettings, stop: Callable[[], bool]) -> Journey:
    """Refuse what cannot work before anything is trained, open the clips, name the stages."""
    began = time.monotonic()
    check(config)
    if settings.exclusive_timing:
        private_folder()  # where trials take turns to time
    if config.model.from_ and config.model.name == "wav2vec2":
        fetch(config.model.from_)  # before the stages are named: their keys hold the content of the weights
    bench = open_bench(config, settings, stop)
    stages = plan(config, len(bench.train))
    idle = config.train.compile and not compiles(True, bench.device)
    keys = stage_keys(config, stages, bench.surroundings)
    return Journey(bench, stages, keys, began, warnings=[LEFT_OUT] if idle else [])


def travel(journey: Journey) -> Iterator[Report]:
    """Every stage in order; a damaged stored stage is dropped and computed again."""
    for _ in range(MOST_DAMAGED):
        try:
            while len(journey.records) < len(journey.stages):
                yield from _advance(journey)
            journey.load()
            journey.warnings += [*dict.fromkeys(journey.bench.prefixes.refused), *excess(journey.bench.store)]
            return
        except DamagedStageError as damage:
            journey.warnings.append(str(damage))
            journey.bench.store.discard(damage.key)
            journey.records.clear()
            journey.specimen = None
    raise TrialError(
        f"{MOST_DAMAGED} stored stages were damaged in one trial; check the disk of {journey.bench.store.root}"
    )


def _advance(journey: Journey) -> Iterator[Report]:
    """The next stage: found, or computed while its lease is held."""
    stage, key = journey.stages[len(journey.records)], journey.keys[len(journey.records)]
    store = journey.bench.store
    record = store.find(key.key)
    if record is None:
        defer = journey.bench.settings.defer_busy
        with store.claim(key.key, defer, while_waiting=journey.bench.end_if_asked) as waited:
            journey.waited_s += waited
            record = store.find(key.key)
            if record is None:
                record = yield from _compute(journey, stage, key)
    if record.key not in journey.computed:
        journey.specimen = None
    journey.records.append(record)
    yield journey.report(stage.name, journey.steps_done, record.metrics, boundary=True)


def _compute(journey: Journey, stage: Stage, key: StageKey) -> Generator[Report, None, StageRecord]:
    """Run a stage and publish it."""
    specimen = journey.load()
    done = journey.steps_done
    began = time.monotonic()
    before = journey.records[-1] if journey.records else None
    stage_run: Generator[Progress, None, Any] = run_stage(journey.bench, specimen, stage, key.key, journey.base, before)
    while True:
        try:
            progress = next(stage_run)
        except StopIteration as end:
            outcome = end.value
            break
        found = {"train_loss": progress.train_loss, "dev_eer": progress.quality.eer, "dev_loss": progress.quality.loss}
        yield journey.report(stage.name, done + progress.step, found)
    seconds = max(time.monotonic() - began, outcome.details.get("fit_seconds", 0.0))
    on_gpu = journey.bench.device.type == "cuda"
    record = StageRecord(
        key.key, stage.name, key.parent, key.reads, outcome.metrics,
        outcome.details | {"trial": journey.bench.config.trial_id()}, seconds, seconds if on_gpu else 0.0,
    )  # fmt: skip
    journey.own_s += seconds
    journey.computed.add(key.key)
    return journey.bench.store.save(record, specimen.module.state_dict())
