"""What a trial costs: parameters counted, the retrain step timed and its operations counted, memory measured."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from plastsearch.growth.halving import Halving
from plastsearch.spec.methods import METHODS
from plastsearch.trial.bench import Bench
from plastsearch.trial.fit import make_optimizer
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import Specimen, blank, learn_, logits_from_wave, train_mode_
from plastsearch.trial.operations import backward_gflop
from plastsearch.trial.timing import StepUnderTest, Timing, interleave, saved_bytes, turn

if TYPE_CHECKING:
    from plastsearch.trial.run import Journey

UNSTEADY = 0.15  # coefficient of variation of the backward times above which a trial warns
CROWDED = "timed beside another trial, which did not give this machine's turn to time back; is it stopped or hung?"


@dataclass
class Costs:
    """Metrics under their final names, and how they were taken."""

    metrics: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    device: dict[str, str | int] = field(default_factory=dict)
    waited_s: float = 0.0


def costs(journey: "Journey") -> Costs:
    """Of the network as it is in `retrain`, against full fine-tuning of the ungrown one, everything trainable."""
    bench, config = journey.bench, journey.bench.config
    names = [stage.name for stage in journey.stages]
    at = names.index("retrain")
    retrain = journey.stages[at]
    measured = blank(config, journey.stages[:at], bench.device)
    cut = learn_(measured, config, retrain)
    plain = blank(config, (), bench.device)
    learn_(plain, config, Stage("train", "none", "all", 1, config.train.lr))
    found = Costs(metrics=_parameters(journey, measured.module, plain.module), device=describe(bench))
    if "peak_memory_mb" in journey.records[at].metrics:
        found.metrics["peak_memory_mb"] = journey.records[at].metrics["peak_memory_mb"]
    Halving()(lambda parts: _time_(found, bench, measured, cut, plain, parts), config.timing_batch)
    return found


def _time_(found: Costs, bench: Bench, measured: Specimen, cut: str | None, plain: Specimen, parts: int) -> None:
    """Operations, memory and times of a step on this share of the timing batch; operations scaled to all of it."""
    config = bench.config
    clips = math.ceil(config.timing_batch / parts)
    step, reference = _step(bench, measured, cut, clips), _step(bench, plain, None, clips)
    counted = backward_gflop(step.forward) * config.timing_batch / clips
    memory = {"peak_memory_mb": _memory(measured.module, step) / 1e6} if bench.device.type == "cpu" else {}
    with turn(bench.device, bench.settings.exclusive_timing, bench.end_if_asked) as mine:
        found.waited_s += mine.waited_s
        timing = interleave(step, reference, config.timing_steps, bench.device)
    found.metrics |= {"backward_gflop": counted, **memory, **timing.metrics()}
    found.device |= {"rounds": timing.rounds, "batch": clips}
    found.warnings += _steadiness(timing) + ([] if mine.alone else [CROWDED])
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


def _parameters(journey: "Journey", measured: nn.Module, plain: nn.Module) -> dict[str, float]:
    largest, before = count(measured), count(plain)
    merge = METHODS[journey.bench.config.method].adds == "adapters"  # into the weights they sit beside
    final = before if merge else count(journey.load().module)
    return {
        "params_total": max(largest, final, before if journey.stages[0].name == "train" else 0),
        "params_final": final, "params_trainable": count(measured, learning=True),
        "params_added": max(0, largest - before), "params_baseline": before,
    }  # fmt: skip


def _step(bench: Bench, specimen: Specimen, cut: str | None, clips: int) -> StepUnderTest:
    """A training step on a fixed batch of training clips; nothing is cached, so that machines compare."""
    config = bench.config
    rows = np.arange(clips) % len(bench.train)
    wave_BT = torch.from_numpy(bench.train.batch(rows, bench.length_samples)).to(bench.device)
    label_B = torch.arange(clips, device=bench.device) % 2
    train_mode_(specimen.module, cut)
    logits = logits_from_wave(specimen.module, cut)

    def forward() -> Tensor:
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=bench.bf16):
            found = logits(wave_BT)
        return bench.loss(found.float(), label_B)

    return StepUnderTest(forward, make_optimizer(specimen.module, 1e-6, config.train.weight_decay))


def _memory(module: nn.Module, step: StepUnderTest) -> int:
    """Weights, gradients, optimiser state and what autograd keeps, in bytes: CPUs have no counter of their own."""
    learning = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    return weights + 3 * learning + saved_bytes(step, module)


def describe(bench: Bench) -> dict[str, str | int]:
    """Device, batch and type: figures without them mean nothing."""
    name = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "cpu"
    return {
        "name": name, "batch": bench.config.timing_batch, "length_samples": bench.length_samples,
        "dtype": "bf16 autocast" if bench.bf16 else "float32",
        "clock": "events" if bench.device.type == "cuda" else "cpu time of one thread",
    }  # fmt: skip
