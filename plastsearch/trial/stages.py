"""The five stages: which changes the network, and those that train it."""

from collections.abc import Generator, Mapping
from contextlib import closing

from plastsearch.models.detector import FEATURES
from plastsearch.store.records import StageRecord
from plastsearch.training.checkpoint import Checkpoints
from plastsearch.training.feeds import CachedFeed, WaveFeed
from plastsearch.training.fit import fit
from plastsearch.training.newborns import Standing
from plastsearch.training.state import FitInputs, FitSettings, Progress, Quality, checkpoint_bytes
from plastsearch.trial import scoring
from plastsearch.trial.adapters import RankSchedule, ranks_left, singular_values
from plastsearch.trial.cached_prefix import cached_prefix
from plastsearch.trial.changing import drop_in_, prune_
from plastsearch.trial.context import TrialContext
from plastsearch.trial.device import TrainingMemory, compiled_, compiles, uncompiled
from plastsearch.trial.front_ends import features_id
from plastsearch.trial.keys import derive_seed
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import TrialNetwork, learn_, logits_from_wave, lr_factors, train_mode_
from plastsearch.trial.newborns import upbringing, watcher
from plastsearch.trial.outcomes import StageResult, TrainingDetails, newborn_metrics, packed_scores
from plastsearch.trial.spiking import spikes


def run_stage(
    context: TrialContext,
    network: TrialNetwork,
    stage: Stage,
    key: str,
    parent: str | None,
    before: StageRecord | None = None,
) -> Generator[Progress, None, StageResult]:
    """Take the network through one stage, after the one that `before` tells of; yields at every dev evaluation."""
    if stage.change == "remove":
        return prune_(context, network)
    if stage.change != "none":
        return drop_in_(context, network, stage)
    return (yield from _train_(context, network, stage, key, parent, before))


def _train_(
    context: TrialContext, network: TrialNetwork, stage: Stage, key: str, parent: str | None, before: StageRecord | None
) -> Generator[Progress, None, StageResult]:
    """A stage that trains: on waveforms, or on what is kept of them where nothing below moves; features never do."""
    module = network.module
    device = context.device
    cut = learn_(network, context.config, stage)
    reading = context.reading(stage.first)
    place = cut or (FEATURES if module.has_front_end else None)
    of = parent if cut else features_id(module)
    kept = cached_prefix(context, network, stage, reading, place, of) if place else None
    steps = stage.steps
    feed = CachedFeed(reading, kept.train, device, steps) if kept else WaveFeed(reading, device, steps)
    logits = (lambda hidden: module.suffix(hidden, place)) if kept and place else logits_from_wave(module, cut)
    compiling = compiles(context.config.train.compile, device)

    def quality() -> Quality:
        with memory.outside(), uncompiled(compiling):
            return scoring.evaluate(context, module, place, kept.dev if kept else None)

    found = watcher(context, network, stage, place)

    def newborns() -> Mapping[str, Standing]:
        assert found is not None
        with memory.outside(), uncompiled(compiling):
            return found()

    on = FitInputs(module, logits, context.loss, feed, quality, lambda: train_mode_(module, cut), device,
                   RankSchedule(module, steps) if singular_values(module) else upbringing(context, network, stage),
                   lr_factors(module, context.config, stage), newborns if found else None)  # fmt: skip
    memory = TrainingMemory(device)
    checkpoints = Checkpoints(
        context.store.work(key),
        context.settings.checkpoint_s,
        context.config.trial_id(),
        checkpoint_bytes(module, context.config.train.average_best),
    )
    with compiled_(module, compiling), closing(feed):
        state = yield from fit(on, _fit_settings(context, stage), checkpoints, context.stop, _known(context, before))
    assert state.best is not None  # every stage evaluates before its first step and after its last
    metrics = {"dev_eer": state.best.eer, "dev_loss": state.best.loss, "train_loss": state.train_loss}
    metrics |= (
        newborn_metrics(Standing(**one) for one in state.newborns[-1]["sites"].values()) if state.newborns else {}
    )
    metrics |= memory.metrics() | spikes(context, module)
    _, _, eer, loss = state.history[0]
    short = f"retried with {state.micro} micro-batches of the same effective batch" if state.halved else None
    details = TrainingDetails(
        history=state.history,
        best_step=state.best_step,
        steps_taken=state.step,
        fit_seconds=round(state.seconds, 3),
        prefix=kept is not None and cut is not None,
        incoming={"dev_eer": eer, "dev_loss": loss},
        incoming_won=state.best_step == 0,
        dev_scores=packed_scores(state.best),
        out_of_memory=short,
        unequal_budget=True if state.step < stage.steps else None,
        averaged=state.averaged,
        ranks_left=ranks_left(module),
        newborns=state.newborns or None,
        newborn_seconds=round(state.watched_s, 3) if state.newborns else None,
    )
    return StageResult(metrics, details)


def _known(context: TrialContext, before: StageRecord | None) -> Quality | None:
    """How good the network is as the stage before left it, where that one scored it."""
    text = before.details.get("dev_scores") if before else None
    return scoring.quality(scoring.unpacked(text), context.search_dev.labels) if text else None


def _fit_settings(context: TrialContext, stage: Stage) -> FitSettings:
    train = context.config.train
    part = stage.part
    # The evaluations that a stage is due are those of the last part; one each tells how the others went.
    evaluations = train.evaluations if part is None or part.last else 1
    number = (part.number,) if part and part.number else ()
    return FitSettings(
        stage.name, stage.steps, stage.lr, train.warmup, train.weight_decay, train.clip_norm, train.accumulate,
        evaluations, train.early_stop, context.bf16, derive_seed(context.config.seed, stage.name, *number, "fit"),
        before=part.before if part else 0, whole=part.whole if part else None,
        average_best=train.average_best,
    )  # fmt: skip
