"""New neurons while a trial trains them: what the configuration has them get, and how they stand at each evaluation."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from plastsearch.data.clips import ClipSet
from plastsearch.growth.freeze import new_parameters
from plastsearch.growth.halving import Halving
from plastsearch.training.newborns import (
    Probe,
    Standing,
    incumbents_moments,
    newborn_entries,
    outgoing_scales,
    standing,
)
from plastsearch.training.upbringing import Care, Upbringing
from plastsearch.trial import scoring
from plastsearch.trial.context import TrialContext
from plastsearch.trial.keys import derive_seed
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import TrialNetwork

WATCHED_CLIPS = 16  # training clips on which newborns are looked at: enough for means over units


def shown(network: TrialNetwork, stage: Stage) -> bool:
    """Whether a stage trains new neurons that can be told from old ones of their layer."""
    return stage.beside and bool(network.added)


def upbringing(context: TrialContext, network: TrialNetwork, stage: Stage) -> Upbringing | None:
    """What new neurons get in a stage; None where that is what every neuron gets."""
    config = context.config
    if not shown(network, stage):
        return None
    module = network.module
    inherits = "newborn_state" in stage.newborn and config.newborn_state == "inherited"
    gated = "newborn_gate" in stage.newborn and config.newborn_gate == "learned"
    apart = config.newborn_lr_ratio != 1 and not new_parameters(module)  # else a parameter's own rate does it
    if not (inherits or gated or apart):
        return None
    halving = Halving()
    batches = _calibration(context) if inherits else []
    seed = derive_seed(config.seed, "newborn_gate")
    care = Care(
        newborn_entries(module, network.added), frozenset(new_parameters(module)), config.newborn_lr_ratio,
        incumbents_moments(module, network.added, batches, halving) if inherits else {}, len(batches),
        torch.Generator().manual_seed(seed) if gated else None,
        outgoing_scales(module, network.added) if gated else {},
    )  # fmt: skip
    return Upbringing(module, care)


def watcher(
    context: TrialContext, network: TrialNetwork, stage: Stage, place: str | None
) -> Callable[[], Mapping[str, Standing]] | None:
    """What tells how new neurons stand; `place`: below it nothing moves in this stage, so it is run once."""
    if not shown(network, stage):
        return None
    module = network.module
    clips = context.corpus.calibration(WATCHED_CLIPS, derive_seed(context.config.seed, "newborns"))
    (probe,) = _probes(context, clips, len(clips))
    if place is not None:
        module.eval()
        with torch.no_grad(), torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
            probe = Probe(module.prefix(probe.inputs, place), probe.labels, _from(context, place), context.loss)
    halving = Halving()
    return lambda: standing(module, network.added, probe, halving)


def _calibration(context: TrialContext) -> list[Probe]:
    """Calibration clips in batches as large as those of training, since gradients of others have other sizes."""
    clips = context.corpus.calibration(
        context.config.calibration_clips, derive_seed(context.config.seed, "calibration")
    )
    return _probes(context, clips, context.config.train.batch_size)


def _probes(context: TrialContext, clips: ClipSet, size: int) -> list[Probe]:
    labels = torch.from_numpy(clips.labels.astype(np.int64)).to(context.device)
    waves = scoring.waves(clips, context.length_samples, context.device, size)
    pairs = zip(waves, torch.split(labels, size), strict=True)
    return [Probe(wave, label, _from(context, None), context.loss) for wave, label in pairs]


def _from(context: TrialContext, place: str | None) -> Callable[[nn.Module, Tensor], Tensor]:
    """How a view of the network goes on from there."""

    def logits(view: nn.Module, inputs: Tensor) -> Tensor:
        with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
            found: Tensor = view(inputs) if place is None else view.suffix(inputs, place)  # type: ignore[operator]
        return found.float()

    return logits
