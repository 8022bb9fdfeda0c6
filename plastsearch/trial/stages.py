"""The five stages: what each does to a network, and what it reports."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from plastsearch.growth.criteria import score as score_units
from plastsearch.growth.folding import fold_
from plastsearch.growth.halving import Halving
from plastsearch.growth.initialise import Shares
from plastsearch.growth.paths import at
from plastsearch.growth.prune import choose
from plastsearch.growth.site import Tap
from plastsearch.growth.survey import find_sites
from plastsearch.models.detector import Detector
from plastsearch.store.records import StageRecord
from plastsearch.trial import scoring
from plastsearch.trial.adapters import RankSchedule, ranks_left, singular_values
from plastsearch.trial.cached_prefix import CachedPrefix, cached_prefix
from plastsearch.trial.checkpoint import Checkpoints
from plastsearch.trial.context import TrialContext
from plastsearch.trial.device import TrainingMemory, compiled_, compiles, uncompiled
from plastsearch.trial.feeds import CachedFeed, WaveFeed
from plastsearch.trial.fit import FitInputs, FitSettings, Progress, Quality, checkpoint_bytes, fit
from plastsearch.trial.keys import derive_seed
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import (
    Changed,
    TrialNetwork,
    change_,
    learn_,
    logits_from_wave,
    remove_,
    to_remove,
    train_mode_,
)
from plastsearch.trial.spiking import spikes

CALIBRATION_BATCH = 32
PROBE_CLIPS = 2  # enough to see whether growth or folding changed the function


class Incoming(TypedDict):
    """How good a network was when it came into a stage."""

    dev_eer: float | None
    dev_loss: float | None


@dataclass(frozen=True)
class TrainingDetails:
    """What the record of a stage that trained says beside its metrics."""

    history: list[list[float | None]]  # step, training loss, EER, dev loss
    best_step: int
    steps_taken: int
    fit_seconds: float
    prefix: bool  # whether activations below the cut were kept
    incoming: Incoming
    incoming_won: bool
    dev_scores: str | None
    out_of_memory: str | None
    unequal_budget: bool | None
    ranks_left: Mapping[str, int] | None = None  # by layer, where AdaLoRA took ranks away


@dataclass(frozen=True)
class ChangeDetails:
    """What the record of a stage that changed the network's shape says."""

    changed: Changed | None
    insertion_error: float | None  # None where the function is to change


@dataclass(frozen=True)
class PruneDetails:
    """What the record of a stage that removed units says."""

    widths: Mapping[str, int]
    removed: Mapping[str, int]
    removed_new: Mapping[str, int]  # of these the ones that the dropin had added
    dev_scores: str | None


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves beside the changed network."""

    metrics: dict[str, float]
    details: TrainingDetails | ChangeDetails | PruneDetails

    @property
    def fit_seconds(self) -> float:
        """Time that training took over all its attempts; 0 where nothing was trained."""
        return self.details.fit_seconds if isinstance(self.details, TrainingDetails) else 0.0

    def plain_details(self) -> dict[str, object]:
        """The details as a record keeps them: flat, without what does not apply."""
        facts = {name: value for name, value in vars(self.details).items() if value is not None}
        changed = facts.pop("changed", None)
        return (vars(changed) if changed else {}) | facts


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


def drop_in_(context: TrialContext, network: TrialNetwork, stage: Stage) -> StageResult:
    """Change the network; for growth, check on a few clips that its function did not change."""
    module = network.module
    first = network.module.cuts()[0]  # no method touches what is below the first block
    module.eval()
    with torch.inference_mode():
        hidden = module.prefix(
            next(scoring.waves(context.search_dev, context.length_samples, context.device, PROBE_CLIPS)), first
        )
    before = _logits(module, hidden, first)
    steered = stage.change in ("neurons", "layers", "lora_growth") and context.config.init == "gradmax"
    changed = change_(network, context.config, stage, loss=_calibration_loss(context, module) if steered else None)
    error = None
    if stage.change != "truncate":
        error = float((_logits(module, hidden, first) - before).abs().max())
    return StageResult({}, ChangeDetails(changed, error))


def _logits(module: Detector, hidden: Tensor, cut: str) -> Tensor:
    module.eval()
    with torch.inference_mode():
        return module.suffix(hidden, cut).double()


def _calibration_loss(context: TrialContext, module: Detector) -> Shares:
    def shares(parts: int) -> Iterator[Tensor]:
        wave_BT, label_B = next(calibration(context))
        for wave, label in zip(wave_BT.chunk(parts), label_B.chunk(parts), strict=True):
            yield context.loss(module(wave), label) * (len(label) / len(label_B))

    return Shares(shares, min(CALIBRATION_BATCH, context.config.calibration_clips))


def calibration(context: TrialContext) -> Iterator[tuple[Tensor, Tensor]]:
    """The same few training clips for all criteria, with their labels."""
    clips = context.corpus.calibration(
        context.config.calibration_clips, derive_seed(context.config.seed, "calibration")
    )
    labels = torch.from_numpy(clips.labels.astype(np.int64)).to(context.device)
    waves = scoring.waves(clips, context.length_samples, context.device, CALIBRATION_BATCH)
    yield from zip(waves, torch.split(labels, CALIBRATION_BATCH), strict=True)


def _example(context: TrialContext) -> Tensor:
    """The first second of a training clip or two: enough to see whether folding changes the function."""
    wave_BT, _ = next(calibration(context))
    return wave_BT[:PROBE_CLIPS, : context.config.data.rate_hz]


def prune_(context: TrialContext, network: TrialNetwork) -> StageResult:
    """Fold, score every unit of the grown sites, remove the lowest; the dev set is scored right after."""
    config = context.config
    fold_(network.module, _example(context))
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "prune"))
    found = score_units(
        network.module,
        network.added,
        [config.criterion],
        calibration(context),
        context.loss_each,
        generator,
        network.added,
    )[config.criterion]
    added = dict(network.added)
    chosen = {
        name: choose(scores, to_remove(network, config, name), config.pool, added[name], pairs=config.init == "pairs")
        for name, scores in found.items()
    }
    units = {name: site.units for name, site in find_sites(network.module).items() if name in chosen}
    new_gone = {name: int((gone >= units[name] - added[name]).sum()) for name, gone in chosen.items()}
    removed = {name: len(gone) for name, gone in chosen.items()}
    means = tap_means(context, network.module, list(chosen)) if config.compensate == "mean" else None
    widths = remove_(network, chosen, means)
    quality = evaluate(context, network.module, None, None)
    total = sum(removed.values())
    turnover = sum(new_gone.values()) / total if total else 0.0
    return StageResult(
        {"dev_eer": quality.eer, "dev_loss": quality.loss, "turnover": turnover, **spikes(context, network.module)},
        PruneDetails(widths, removed, new_gone, _packed_scores(quality)),
    )


def tap_means(context: TrialContext, module: Detector, names: list[str]) -> dict[str, Tensor]:
    """Mean of each feature where a site's activations are read, over the calibration clips."""
    seen: dict[str, Tensor] = {}
    halving = Halving()

    def watch(name: str, tap: Tap) -> RemovableHandle:
        def note(value: Tensor) -> None:
            seen[name] = value.movedim(tap.dim, 0).flatten(1).double().mean(1) * (len(value) // tap.steps)

        def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            note(inputs[0])

        def after(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
            note(output[0] if isinstance(output, tuple) else output)

        owner: nn.Module = at(module, tap.module)
        return owner.register_forward_pre_hook(before) if tap.end == "input" else owner.register_forward_hook(after)

    sites = find_sites(module)
    hooks = [watch(name, sites[name].tap) for name in names]
    module.eval()

    def add_up(wave_BT: Tensor, parts: int) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        for part in wave_BT.chunk(parts):
            module(part)
            sums = {name: sums.get(name, 0.0) + value for name, value in seen.items()}
        return sums

    totals: dict[str, Tensor] = {}
    count = 0
    try:
        with torch.inference_mode():
            for wave_BT, _ in calibration(context):
                found = halving(partial(add_up, wave_BT), len(wave_BT))
                totals = {name: totals.get(name, 0.0) + value for name, value in found.items()}
                count += len(wave_BT)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: (total / count).float().cpu() for name, total in totals.items()}


def _train_(
    context: TrialContext, network: TrialNetwork, stage: Stage, key: str, parent: str | None, before: StageRecord | None
) -> Generator[Progress, None, StageResult]:
    """A stage that trains: on waveforms, or on kept activations where nothing below the cut moves."""
    module = network.module
    device = context.device
    cut = learn_(network, context.config, stage)
    reading = context.reading(stage.first)
    kept = cached_prefix(context, network, stage, reading, cut, parent) if cut else None
    steps = stage.steps
    feed = CachedFeed(reading, kept.train, device, steps) if kept else WaveFeed(reading, device, steps)
    logits = (lambda hidden: module.suffix(hidden, cut)) if kept and cut else logits_from_wave(module, cut)
    compiling = compiles(context.config.train.compile, device)

    def quality() -> Quality:
        with memory.outside(), uncompiled(compiling):
            return evaluate(context, module, cut, kept)

    on = FitInputs(module, logits, context.loss, feed, quality, lambda: train_mode_(module, cut), device,
                   RankSchedule(module, steps) if singular_values(module) else None)  # fmt: skip
    memory = TrainingMemory(device)
    checkpoints = Checkpoints(
        context.store.work(key), context.settings.checkpoint_s, context.config.trial_id(), checkpoint_bytes(module)
    )
    with compiled_(module, compiling), closing(feed):
        state = yield from fit(on, _fit_settings(context, stage), checkpoints, context.stop, _known(context, before))
    assert state.best is not None  # every stage evaluates before its first step and after its last
    metrics = {"dev_eer": state.best.eer, "dev_loss": state.best.loss, "train_loss": state.train_loss}
    metrics |= memory.metrics() | spikes(context, module)
    _, _, eer, loss = state.history[0]
    short = f"retried with {state.micro} micro-batches of the same effective batch" if state.halved else None
    details = TrainingDetails(
        history=state.history,
        best_step=state.best_step,
        steps_taken=state.step,
        fit_seconds=round(state.seconds, 3),
        prefix=kept is not None,
        incoming={"dev_eer": eer, "dev_loss": loss},
        incoming_won=state.best_step == 0,
        dev_scores=_packed_scores(state.best),
        out_of_memory=short,
        unequal_budget=True if state.step < stage.steps else None,
        ranks_left=ranks_left(module),
    )
    return StageResult(metrics, details)


def _known(context: TrialContext, before: StageRecord | None) -> Quality | None:
    """How good the network is as the stage before left it, where that one scored it."""
    text = before.details.get("dev_scores") if before else None
    return scoring.quality(scoring.unpacked(text), context.search_dev.labels) if text else None


def _packed_scores(quality: Quality) -> str | None:
    return None if quality.scores is None else scoring.packed(quality.scores.cpu())


def _fit_settings(context: TrialContext, stage: Stage) -> FitSettings:
    train = context.config.train
    return FitSettings(
        stage.name, stage.steps, stage.lr, train.warmup, train.weight_decay, train.clip_norm, train.accumulate,
        train.evaluations, train.early_stop, context.bf16, derive_seed(context.config.seed, stage.name, "fit"),
    )  # fmt: skip


def evaluate(context: TrialContext, module: Detector, cut: str | None, kept: CachedPrefix | None) -> Quality:
    """The dev set's answer, from kept activations where there are any."""
    scores = scoring.dev_scores(context, module, cut, kept.dev if kept else None)
    return scoring.quality(scores, context.search_dev.labels)
