"""What a trial costs: parameters counted, the retrain step timed and its operations counted, memory measured."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from plastsearch.growth.halving import Halving
from plastsearch.spec.methods import METHODS
from plastsearch.training.fit import make_optimizer
from plastsearch.trial.adapters import orthogonality
from plastsearch.trial.context import TrialContext, TrialRun
from plastsearch.trial.device import sharing
from plastsearch.trial.lora import lora_parameters
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import TrialNetwork, blank, learn_, logits_from_wave, lr_factors, train_mode_
from plastsearch.trial.operations import backward_gflop
from plastsearch.trial.timing import StepUnderTest, Timing, interleave, saved_bytes, turn

UNSTEADY = 0.15  # coefficient of variation of the backward times above which a trial warns
CROWDED = "timed beside another trial, which did not give this machine's turn to time back; is it stopped or hung?"

_WHOLE = Stage("train", "none", "all", 1, 1e-3)  # full fine-tuning, to compare with; a step is timed at another rate

SHARED = "timed on a GPU that is not the trial's alone ({}): its milliseconds depend on the neighbours"


@dataclass
class Costs:
    """Metrics under their final names, and how they were taken."""

    metrics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    device: dict[str, str | int] = field(default_factory=dict)
    waited_s: float = 0.0


def costs(trial: TrialRun) -> Costs:
    """Of the network as it is in `retrain`, against full fine-tuning of the ungrown one, everything trainable."""
    context = trial.context
    config = trial.context.config
    at = max(number for number, stage in enumerate(trial.stages) if stage.name == "retrain")  # the last of its parts
    retrain = trial.stages[at]
    measured = blank(config, trial.stages[:at], context.device, trial.placed)
    cut = learn_(measured, config, retrain)
    plain = blank(config, (), context.device)
    whole_cut = learn_(plain, config, _WHOLE)
    found = Costs(metrics=_parameters(trial, measured.module, plain.module), device=device_facts(context))
    if "peak_memory_mb" in trial.records[at].metrics:
        found.metrics["peak_memory_mb"] = trial.records[at].metrics["peak_memory_mb"]
    Halving()(
        lambda parts: _time_(found, context, measured, retrain, cut, plain, whole_cut, parts), config.timing_batch
    )
    return found


def _time_(
    found: Costs,
    context: TrialContext,
    measured: TrialNetwork,
    stage: Stage,
    cut: str | None,
    plain: TrialNetwork,
    whole_cut: str | None,
    parts: int,
) -> None:
    """Operations, memory and times of a step on this share of the timing batch; operations scaled to all of it."""
    config = context.config
    clips = math.ceil(config.timing_batch / parts)
    step, reference = _step(context, measured, stage, cut, clips), _step(context, plain, _WHOLE, whole_cut, clips)
    counted = backward_gflop(step.forward) * config.timing_batch / clips
    memory = {"peak_memory_mb": _memory(measured.module, step) / 1e6} if context.device.type == "cpu" else {}
    with turn(context.device, context.settings.exclusive_timing, context.end_if_asked) as mine:
        found.waited_s += mine.waited_s
        others = sharing(context.device, context.settings.gpu_share)
        timing = interleave(step, reference, config.timing_steps, context.device)
    found.metrics |= {"backward_gflop": counted, **memory, **timing.metrics()}
    found.device |= {"rounds": timing.rounds, "batch": clips}
    found.warnings += _steadiness(timing) + ([] if mine.alone else [CROWDED])
    if others is not None:
        found.device["shared"] = others
        found.warnings.append(SHARED.format(others))
    if clips < config.timing_batch:
        found.warnings.append(
            f"timed with {clips} clips instead of timing_batch={config.timing_batch}: more did not fit into memory; "
            "its times and ratios are not those of other trials"
        )


def _steadiness(timing: Timing) -> list[str]:
    if timing.backward_cv <= UNSTEADY:
        return []
    return [f"backward times vary by {timing.backward_cv:.0%} (above {UNSTEADY:.0%}): the machine was disturbed; "
            "backward_ratio compares the lower halves of interleaved rounds and is steadier"]  # fmt: skip


def count(module: nn.Module, learning: bool = False) -> int:
    """Parameters, or those that learn."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not learning)


def _parameters(trial: TrialRun, measured: nn.Module, plain: nn.Module) -> dict[str, float]:
    largest = count(measured)
    before = count(plain)
    merge = METHODS[trial.context.config.method].adds == "adapters"  # into the weights they sit beside
    final = before if merge else _without_adapters(trial.load().module)
    return {
        "params_total": max(largest, final, before if trial.stages[0].name == "train" else 0),
        "params_final": final, "params_trainable": count(measured, learning=True),
        "params_added": max(0, largest - before), "params_baseline": before,
    }  # fmt: skip


def _without_adapters(module: nn.Module) -> int:
    """Parameters once adapters are merged into the weights they sit beside."""
    return count(module) - sum(parameter.numel() for parameter in lora_parameters(module))


def _step(context: TrialContext, network: TrialNetwork, stage: Stage, cut: str | None, clips: int) -> StepUnderTest:
    """A training step on a fixed batch of training clips; nothing is cached, so that machines compare."""
    config = context.config
    rows = np.arange(clips) % len(context.train)
    wave_BT = torch.from_numpy(context.train.batch(rows, context.length_samples)).to(context.device)
    label_B = torch.arange(clips, device=context.device) % 2
    train_mode_(network.module, cut)
    logits = logits_from_wave(network.module, cut)

    def forward() -> Tensor:
        with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
            found = logits(wave_BT)
        loss = context.loss(found.float(), label_B)
        penalty = orthogonality(network.module)
        return loss if penalty is None else loss + penalty

    return StepUnderTest(forward, make_optimizer(
        network.module, 1e-6, config.train.weight_decay, lr_factors(network.module, config, stage)
    ))  # fmt: skip


def _memory(module: nn.Module, step: StepUnderTest) -> int:
    """Weights, gradients, optimiser state and what autograd keeps, in bytes: CPUs have no counter of their own."""
    learning = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    return weights + 3 * learning + saved_bytes(step, module)


def device_facts(context: TrialContext) -> dict[str, str | int]:
    """Device, batch and type: figures without them mean nothing."""
    name = torch.cuda.get_device_name(context.device) if context.device.type == "cuda" else "cpu"
    return {
        "name": name, "batch": context.config.timing_batch, "length_samples": context.length_samples,
        "dtype": "bf16 autocast" if context.bf16 else "float32",
        "clock": "events" if context.device.type == "cuda" else "cpu time of one thread",
    }  # fmt: skip
