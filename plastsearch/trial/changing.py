"""The stages that change a network's shape, growth and pruning, and the few training clips that they look at."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from plastsearch.growth.criteria import score as score_units
from plastsearch.growth.folding import fold_
from plastsearch.growth.halving import Halving
from plastsearch.growth.initialise import Shares
from plastsearch.growth.kernels.grow import Rings
from plastsearch.growth.paths import at
from plastsearch.growth.prune import choose
from plastsearch.growth.site import Tap
from plastsearch.growth.survey import find_sites
from plastsearch.models.detector import Detector
from plastsearch.spec.methods import CHANGES
from plastsearch.trial import scoring
from plastsearch.trial.adaptive import choose as choose_sites
from plastsearch.trial.context import TrialContext
from plastsearch.trial.keys import derive_seed
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import NeuronsPlaced, TrialNetwork, change_, place_, remove_, to_remove
from plastsearch.trial.outcomes import ChangeDetails, PruneDetails, StageResult, packed_scores
from plastsearch.trial.spiking import spikes

CALIBRATION_BATCH = 32
PROBE_CLIPS = 2  # enough to see whether growth or folding changed the function


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
    steered = CHANGES[stage.change].adds in ("neurons", "layers") and context.config.init == "gradmax"
    loss = _calibration_loss(context, module) if steered else None
    changed = _place_(context, network, stage, loss) if stage.part else change_(network, context.config, stage, loss)
    error = None
    if stage.change != "truncate":
        error = float((_logits(module, hidden, first) - before).abs().max())
    return StageResult({}, ChangeDetails(changed, error))


def _place_(context: TrialContext, network: TrialNetwork, stage: Stage, loss: Shares | None) -> NeuronsPlaced:
    """One insertion of several, at the sites that the gradients name."""
    assert stage.part is not None
    choice = choose_sites(
        network, context.config, stage.part, calibration(context), context.loss, partial(_calibration_loss, context)
    )
    units = place_(network, context.config, stage, choice.sites, loss)
    unspent = choice.budget - sum(choice.sites.values())
    return NeuronsPlaced(choice.sites, units, "widen", stage.first, choice.gradients, choice.budget, unspent)


def _logits(module: Detector, hidden: Tensor, cut: str) -> Tensor:
    module.eval()
    with torch.inference_mode():
        return module.suffix(hidden, cut).double()


def _calibration_loss(context: TrialContext, module: nn.Module) -> Shares:
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
    if network.rings:
        return _cut_(context, network, network.rings)
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
    quality = scoring.evaluate(context, network.module)
    total = sum(removed.values())
    turnover = sum(new_gone.values()) / total if total else 0.0
    return StageResult(
        {"dev_eer": quality.eer, "dev_loss": quality.loss, "turnover": turnover, **spikes(context, network.module)},
        PruneDetails(widths, removed, new_gone, packed_scores(quality)),
    )


def _cut_(context: TrialContext, network: TrialNetwork, rings: Rings) -> StageResult:
    """Take rings off kernels, the outer taps first; the dev set is scored right after."""
    keep = context.config.keep
    rings.cut_(network.module, keep)
    quality = scoring.evaluate(context, network.module)
    left = rings.left(keep)
    sites = find_sites(network.module)
    kernels = {
        name: max(size for path in sites[name].parts.values() if path in left for size in left[path])
        for name in network.grown
    }
    turnover = float(left != rings.after)  # all that goes is new
    return StageResult(
        {"dev_eer": quality.eer, "dev_loss": quality.loss, "turnover": turnover, **spikes(context, network.module)},
        PruneDetails({}, {}, {}, packed_scores(quality), kernels),
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
