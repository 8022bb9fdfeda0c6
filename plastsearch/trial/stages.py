"""The five stages: what each does to a specimen, and what it reports."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plastsearch.growth.criteria import score as score_units
from plastsearch.growth.fold import fold_
from plastsearch.growth.gradmax import Shares
from plastsearch.growth.halving import Halving
from plastsearch.growth.paths import at
from plastsearch.growth.prune import choose
from plastsearch.growth.site import Tap, find_sites
from plastsearch.models.detector import Detector
from plastsearch.trial import scoring
from plastsearch.trial.bench import Bench
from plastsearch.trial.checkpoint import Checkpoints
from plastsearch.trial.compiling import compiled_, compiles, uncompiled
from plastsearch.trial.device import TrainingMemory
from plastsearch.trial.feeds import KeptFeed, WaveFeed
from plastsearch.trial.fit import FitPlan, Ingredients, Progress, Quality, checkpoint_bytes, fit
from plastsearch.trial.keeping import Kept, keep_prefix
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import (
    Specimen,
    change_,
    learn_,
    logits_from_wave,
    remove_,
    to_remove,
    train_mode_,
)
from plastsearch.trial.seeds import derive_seed
from plastsearch.trial.store import StageRecord

CALIBRATION_BATCH = 32
PROBE_CLIPS = 2  # enough to see whether growth or folding changed the function


@dataclass
class Outcome:
    """What a stage leaves beside the changed network."""

    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def run_stage(
    bench: Bench, specimen: Specimen, stage: Stage, key: str, parent: str | None, before: StageRecord | None = None
) -> Generator[Progress, None, Outcome]:
    """Take the specimen through one stage, after the one that `before` tells of; yields at every dev evaluation."""
    if stage.change == "remove":
        return prune_(bench, specimen)
    if stage.change != "none":
        return drop_in_(bench, specimen, stage)
    outcome = yield from _train_(bench, specimen, stage, key, parent, before)
    return outcome


def drop_in_(bench: Bench, specimen: Specimen, stage: Stage) -> Outcome:
    """Change the network; for growth, check on a few clips that its function did not change."""
    module, first = specimen.module, specimen.module.cuts()[0]  # no method touches what is below the first block
    module.eval()
    with torch.inference_mode():
        hidden = module.prefix(
            next(scoring.waves(bench.search_dev, bench.length_samples, bench.device, PROBE_CLIPS)), first
        )
    before = _logits(module, hidden, first)
    steered = stage.change in ("neurons", "layers") and bench.config.init == "gradmax"
    details = change_(specimen, bench.config, stage, loss=_calibration_loss(bench, module) if steered else None)
    if stage.change != "truncate":
        details["insertion_error"] = float((_logits(module, hidden, first) - before).abs().max())
    return Outcome(details=details)


def _logits(module: Detector, hidden: Tensor, cut: str) -> Tensor:
    module.eval()
    with torch.inference_mode():
        return module.suffix(hidden, cut).double()


def _calibration_loss(bench: Bench, module: Detector) -> Shares:
    def shares(parts: int) -> Iterator[Tensor]:
        wave_BT, label_B = next(calibration(bench))
        for wave, label in zip(wave_BT.chunk(parts), label_B.chunk(parts), strict=True):
            yield bench.loss(module(wave), label) * (len(label) / len(label_B))

    return Shares(shares, min(CALIBRATION_BATCH, bench.config.calibration_clips))


def calibration(bench: Bench) -> Iterator[tuple[Tensor, Tensor]]:
    """The same few training clips for all criteria, with their labels."""
    clips = bench.corpus.calibration(bench.config.calibration_clips, derive_seed(bench.config.seed, "calibration"))
    labels = torch.from_numpy(clips.labels.astype(np.int64)).to(bench.device)
    waves = scoring.waves(clips, bench.length_samples, bench.device, CALIBRATION_BATCH)
    yield from zip(waves, torch.split(labels, CALIBRATION_BATCH), strict=True)


def _example(bench: Bench) -> Tensor:
    """The first second of a training clip or two: enough to see whether folding changes the function."""
    wave_BT, _ = next(calibration(bench))
    return wave_BT[:PROBE_CLIPS, : bench.config.data.rate_hz]


def prune_(bench: Bench, specimen: Specimen) -> Outcome:
    """Fold, score every unit of the grown sites, remove the lowest; the dev set is scored right after."""
    config = bench.config
    fold_(specimen.module, _example(bench))
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "prune"))
    found = score_units(
        specimen.module,
        specimen.added,
        [config.criterion],
        calibration(bench),
        bench.loss_each,
        generator,
        specimen.added,
    )[config.criterion]
    added = dict(specimen.added)
    chosen = {
        name: choose(scores, to_remove(specimen, config, name), config.pool, added[name], pairs=config.init == "pairs")
        for name, scores in found.items()
    }
    units = {name: site.units for name, site in find_sites(specimen.module).items() if name in chosen}
    new_gone = {name: int((gone >= units[name] - added[name]).sum()) for name, gone in chosen.items()}
    removed = {name: len(gone) for name, gone in chosen.items()}
    means = tap_means(bench, specimen.module, list(chosen)) if config.compensate == "mean" else None
    widths = remove_(specimen, chosen, means)
    quality = evaluate(bench, specimen.module, None, None)
    total = sum(removed.values())
    return Outcome(
        {
            "dev_eer": quality.eer,
            "dev_loss": quality.loss,
            "turnover": sum(new_gone.values()) / total if total else 0.0,
        },
        {"widths": widths, "removed": removed, "removed_new": new_gone, **_scores_of(quality)},
    )


def tap_means(bench: Bench, module: Detector, names: list[str]) -> dict[str, Tensor]:
    """Mean of each feature where a site's activations are read, over the calibration clips."""
    seen: dict[str, Tensor] = {}
    halving = Halving()

    def watch(name: str, tap: Tap) -> Any:
        def note(_: Any, inputs: Any, output: Any = None) -> None:
            value = inputs[0] if tap.end == "input" else output
            value = value[0] if isinstance(value, tuple) else value
            seen[name] = value.movedim(tap.dim, 0).flatten(1).double().mean(1) * len(value)

        owner = at(module, tap.module)
        return owner.register_forward_pre_hook(note) if tap.end == "input" else owner.register_forward_hook(note)

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
            for wave_BT, _ in calibration(bench):
                found = halving(partial(add_up, wave_BT), len(wave_BT))
                totals = {name: totals.get(name, 0.0) + value for name, value in found.items()}
                count += len(wave_BT)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: (total / count).float().cpu() for name, total in totals.items()}


def _train_(
    bench: Bench, specimen: Specimen, stage: Stage, key: str, parent: str | None, before: StageRecord | None
) -> Generator[Progress, None, Outcome]:
    """A stage that trains: on waveforms, or on kept activations where nothing below the cut moves."""
    module, device = specimen.module, bench.device
    cut = learn_(specimen, bench.config, stage)
    reading = bench.reading(stage.first)
    kept = keep_prefix(bench, specimen, stage, reading, cut, parent) if cut else None
    steps = stage.steps
    feed = KeptFeed(reading, kept.train, device, steps) if kept else WaveFeed(reading, device, steps)
    logits = (lambda hidden: module.suffix(hidden, cut)) if kept and cut else logits_from_wave(module, cut)
    compiling = compiles(bench.config.train.compile, device)

    def quality() -> Quality:
        with memory.outside(), uncompiled(compiling):
            return evaluate(bench, module, cut, kept)

    on = Ingredients(module, logits, bench.loss, feed, quality, lambda: train_mode_(module, cut), device)
    memory = TrainingMemory(device)
    checkpoints = Checkpoints(
        bench.store.work(key), bench.settings.checkpoint_s, bench.config.trial_id(), checkpoint_bytes(module)
    )
    with compiled_(module, compiling), closing(feed):
        state = yield from fit(on, _fit_plan(bench, stage), checkpoints, bench.stop, _known(bench, before))
    assert state.best is not None  # every stage evaluates before its first step and after its last
    metrics = {"dev_eer": state.best.eer, "dev_loss": state.best.loss, "train_loss": state.train_loss}
    metrics |= memory.metrics()
    details: dict[str, Any] = {"history": state.history, "best_step": state.best_step, "steps_taken": state.step,
                               "fit_seconds": round(state.seconds, 3), "prefix": kept is not None}  # fmt: skip
    _, _, eer, loss = state.history[0]
    details |= {"incoming": {"dev_eer": eer, "dev_loss": loss}, "incoming_won": state.best_step == 0}
    details |= _scores_of(state.best)
    if state.halved:
        details["out_of_memory"] = f"retried with {state.micro} micro-batches of the same effective batch"
    if state.step < stage.steps:
        details["unequal_budget"] = True
    return Outcome(metrics, details)


def _known(bench: Bench, before: StageRecord | None) -> Quality | None:
    """How good the network is as the stage before left it, where that one scored it."""
    text = before.details.get("dev_scores") if before else None
    return scoring.quality(scoring.unpacked(text), bench.search_dev.labels) if text else None


def _scores_of(quality: Quality) -> dict[str, str]:
    return {} if quality.scores is None else {"dev_scores": scoring.packed(quality.scores.cpu())}


def _fit_plan(bench: Bench, stage: Stage) -> FitPlan:
    train = bench.config.train
    return FitPlan(
        stage.name, stage.steps, stage.lr, train.warmup, train.weight_decay, train.clip_norm, train.accumulate,
        train.evaluations, train.early_stop, bench.bf16, derive_seed(bench.config.seed, stage.name, "fit"),
    )  # fmt: skip


def evaluate(bench: Bench, module: Detector, cut: str | None, kept: Kept | None) -> Quality:
    """The dev set's answer, from kept activations where there are any."""
    return scoring.quality(dev_scores(bench, module, cut, kept), bench.search_dev.labels)


def dev_scores(bench: Bench, module: Detector, cut: str | None = None, kept: Kept | None = None) -> scoring.Scores:
    """Scores of the search-dev clips, in their order."""
    held = kept.dev if kept else None
    if held is not None and cut is not None:
        parts = (
            held.read(np.arange(first, min(first + scoring.BATCH, len(bench.search_dev)))).to(bench.device)
            for first in range(0, len(bench.search_dev), scoring.BATCH)
        )
        return scoring.score(module, lambda hidden: module.suffix(hidden, cut), parts, bench.bf16)
    waves = scoring.waves(bench.search_dev, bench.length_samples, bench.device)
    return scoring.score(module, module, waves, bench.bf16)
