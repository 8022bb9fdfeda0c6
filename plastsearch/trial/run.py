"""run_trial: one configuration taken through its stages, each reused, resumed or computed; knows no Ray or MLflow."""

import time
from collections.abc import Callable, Generator, Iterator

from plastsearch.errors import TrialError
from plastsearch.models.wav2vec2 import fetch
from plastsearch.private_folder import private_folder
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.store.records import StageRecord
from plastsearch.store.room import excess
from plastsearch.store.stages import DamagedStageError
from plastsearch.training.checkpoint import stop_on_sigterm
from plastsearch.trial.context import TrialRun, open_context
from plastsearch.trial.cost import costs
from plastsearch.trial.device import LEFT_OUT, compiles
from plastsearch.trial.keys import StageKey, stage_keys
from plastsearch.trial.methods import Stage, check, stages_of
from plastsearch.trial.outcomes import StageResult, newborn_metrics
from plastsearch.trial.result import result
from plastsearch.trial.stages import run_stage

MOST_DAMAGED = 8  # stored stages dropped in one trial before the disk is to blame


def run_trial(config: TrialConfig, settings: RunSettings) -> Iterator[Report]:
    """Take a configuration through its stages; called again after a kill it goes on where it stood."""
    with stop_on_sigterm() as stop:
        trial = start(config, settings, stop)
        with trial.resting():
            yield from run_stages(trial)
            yield result(trial, costs(trial))


def start(config: TrialConfig, settings: RunSettings, stop: Callable[[], bool]) -> TrialRun:
    """Refuse what cannot work before anything is trained, open the clips, name the stages."""
    began = time.monotonic()
    check(config)
    if settings.exclusive_timing:
        private_folder()  # where trials take turns to time
    if config.model.from_ and config.model.name == "wav2vec2":
        fetch(config.model.from_)  # before the stages are named: their keys hold the content of the weights
    context = open_context(config, settings, stop)
    stages = stages_of(config, len(context.train))
    idle = config.train.compile and not compiles(True, context.device)
    keys = stage_keys(config, stages, context.environment)
    return TrialRun(context, stages, keys, began, warnings=[LEFT_OUT] if idle else [])


def run_stages(trial: TrialRun) -> Iterator[Report]:
    """Every stage in order; a damaged stored stage is dropped and computed again."""
    for _ in range(MOST_DAMAGED):
        try:
            while len(trial.records) < len(trial.stages):
                yield from _advance(trial)
            trial.load()
            trial.warnings += [*dict.fromkeys(trial.context.prefixes.refused), *excess(trial.context.store)]
            return
        except DamagedStageError as damage:
            trial.warnings.append(str(damage))
            trial.context.store.discard(damage.key)
            trial.records.clear()
            trial.network = None
    raise TrialError(
        f"{MOST_DAMAGED} stored stages were damaged in one trial; check the disk of {trial.context.store.root}"
    )


def _advance(trial: TrialRun) -> Iterator[Report]:
    """The next stage: found, or computed while its lease is held."""
    stage = trial.stages[len(trial.records)]
    key = trial.keys[len(trial.records)]
    store = trial.context.store
    record = store.find(key.key)
    if record is None:
        defer = trial.context.settings.defer_busy
        with store.claim(key.key, defer, while_waiting=trial.context.end_if_asked) as waited:
            trial.waited_s += waited
            record = store.find(key.key)
            if record is None:
                record = yield from _compute(trial, stage, key)
    if record.key not in trial.computed:
        trial.network = None
    trial.records.append(record)
    yield trial.report(stage.name, trial.steps_done, record.metrics, boundary=True)


def _compute(trial: TrialRun, stage: Stage, key: StageKey) -> Generator[Report, None, StageRecord]:
    """Run a stage and publish it."""
    network = trial.load()
    # Of the first stage alone: what every later network grew from, told without the weights that `model.from` names.
    start = {"network": network.module.plain_config()} if key.parent is None else {}
    done = trial.steps_done
    began = time.monotonic()
    before = trial.records[-1] if trial.records else None
    stage_run = run_stage(trial.context, network, stage, key.key, trial.unmoved(stage), before)
    while True:
        try:
            progress = next(stage_run)
        except StopIteration as end:
            finished: StageResult = end.value
            break
        found = {"train_loss": progress.train_loss, "dev_eer": progress.quality.eer, "dev_loss": progress.quality.loss}
        found |= newborn_metrics(progress.newborns.values())
        yield trial.report(stage.name, done + progress.step, found)
    seconds = max(time.monotonic() - began, finished.fit_seconds)
    gpus = trial.context.settings.gpu_share if trial.context.device.type == "cuda" else 0.0
    placed = {"placed": network.placed} if network.placed else {}
    record = StageRecord(
        key.key, stage.name, key.parent, dict(key.reads), finished.metrics,
        finished.plain_details() | placed | start | {"trial": trial.context.config.trial_id()}, seconds, seconds * gpus,
    )  # fmt: skip
    trial.own_s += seconds
    trial.computed.add(key.key)
    return trial.context.store.save(record, network.module.state_dict())
