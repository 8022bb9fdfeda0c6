"""What `make gpu` measures on a GPU, part by part; with a CPU and `quick` the same code on next to nothing."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import backward
import determinism
import torch
from torch import Tensor, nn

from plastsearch.growth.dropin import add_neurons_
from plastsearch.models.build import build
from plastsearch.training import fit
from plastsearch.training.checkpoint import Checkpoints
from plastsearch.training.fit import make_optimizer
from plastsearch.training.state import FitInputs, FitSettings, Quality
from plastsearch.trial import device as devices
from plastsearch.trial.device import TrainingMemory
from plastsearch.trial.timing import StepUnderTest, interleave

SITES = {"grnn": "gru.1", "resnet18": "layer3.0", "wav2vec2": "encoder.1.ffn"}


@dataclass(frozen=True)
class Where:
    """The device, and whether figures matter or only that the code runs."""

    device: torch.device
    quick: bool
    folder: Path  # for decoded clips, stages and checkpoints

    @property
    def preset(self) -> str:
        return "tiny" if self.quick else "base"

    @property
    def clips(self) -> int:
        return 2 if self.quick else 16

    @property
    def samples(self) -> int:
        return 8000 if self.quick else 64_600

    @property
    def rounds(self) -> int:
        return 2 if self.quick else 20


@dataclass(frozen=True)
class Row:
    """One figure."""

    part: str
    what: str
    value: float
    unit: str
    note: str = ""


def training(where: Where) -> Iterator[Row]:
    """A step of each network in float32 and in bfloat16, in turns; and the most memory it took."""
    for name in SITES:
        module = build(name, where.preset, seed=0).to(where.device).train()
        wave_BT, label_B = _batch(where)
        halves, full = (_step(module, wave_BT, label_B, where, bf16) for bf16 in (True, False))
        peaks = {}
        for words, step in (("bf16", halves), ("float32", full)):
            memory = TrainingMemory(where.device)
            step.zero()
            step.forward().backward()
            peaks[words] = memory.metrics().get("peak_memory_mb")
        found = interleave(halves, full, where.rounds, where.device)
        whole = found.forward_ms + found.backward_ms + found.optimizer_ms
        shape = f"{where.preset}, {where.clips} × {where.samples}"
        yield Row("training", f"{name}: step in bf16", whole, "ms", shape)
        yield Row("training", f"{name}: bf16 against float32", found.step_ratio, "×", "whose convolutions are TF32")
        for words, peak in peaks.items():
            if peak is not None:
                yield Row("training", f"{name}: peak memory in {words}", peak, "MB")


def growth(where: Where) -> Iterator[Row]:
    """Backward time of dropin and LoRA against full fine-tuning: benchmarks/backward.py on this device."""
    for name in ["gru"] if where.quick else list(backward.NETWORKS):
        variants = list(islice(backward.NETWORKS[name][1](), 3 if where.quick else None))
        backward.measure(variants, str(where.device), 1 if where.quick else 7)
        full = variants[0]
        yield Row("growth", f"{name}: full fine-tuning, backward", 1e3 * statistics.median(full.backward_s), "ms")
        for variant in variants[1:]:
            ratio = backward.ratio(variant.backward_s, full.backward_s)
            step = backward.ratio(variant.step_s, full.step_s)
            yield Row("growth", f"{name}: {variant.name}", ratio, "× backward", f"whole step {step:.3f} ×")


def waiting(where: Where) -> Iterator[Row]:
    """Steps a second of small networks if the host waits for every loss, and if it reads them many at a time."""
    plain = fit.UNREAD
    steps = 8 if where.quick else 200
    for name in SITES:
        rates = {}
        for unread in (plain, 1, plain):  # the first only warms up
            fit.UNREAD = unread
            try:
                rates[unread] = _rate(name, where, steps)
            finally:
                fit.UNREAD = plain
        yield Row("waiting", f"{name} tiny: steps a second", rates[plain], "1/s", f"waiting at each: {rates[1]:.1f}")
        yield Row("waiting", f"{name} tiny: against waiting at each", rates[plain] / rates[1], "×")


@dataclass(frozen=True)
class Same:
    """One batch for all steps."""

    pair: tuple[Tensor, Tensor]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - which step makes no difference
        """It."""
        return self.pair


def _rate(name: str, where: Where, steps: int) -> float:
    module = build(name, "tiny", seed=0).to(where.device)
    add_neurons_(module, {SITES[name]: 16}, also=["head"], generator=torch.Generator().manual_seed(0))
    plan = FitSettings("retrain", steps, 1e-3, 0.1, 0.01, 1.0, 1, 1, 0, where.device.type == "cuda", 0)
    ends: list[float] = []

    def evaluate() -> Quality:
        ends.append(time.perf_counter())  # after the losses were read: the device is done
        return Quality(0.0, 0.0)

    feed = Same(_batch(where, 4, 8000))
    on = FitInputs(module, module, nn.functional.cross_entropy, feed, evaluate, module.train, where.device)
    begin = time.perf_counter()
    for _ in fit.fit(on, plan, Checkpoints(where.folder / "none", 1e6), lambda: False):
        pass
    return steps / (ends[-1] - begin)


def deterministic(where: Where) -> Iterator[Row]:
    """What deterministic kernels cost: benchmarks/determinism.py on this device."""
    usual: dict[str, float] = {}
    for mode in ["deterministic"] if where.quick else determinism.MODES:
        steps = 1 if where.quick else 20
        names = ["grnn"] if where.quick else list(determinism.NETWORKS)
        rows = determinism.measured(mode, str(where.device), where.preset, where.clips, where.samples, steps, names)
        for row in rows:
            against = row["ms"] / usual.setdefault(row["network"], row["ms"])
            said = f"{against:.2f} × usual; two runs {'agree' if row['repeats'] else 'differ'}"
            yield Row("determinism", f"{row['network']}: {mode}", row["ms"], "ms a step", said)


def compiled(where: Where) -> Iterator[Row]:
    """train.compile: seconds to compile, and the step after it against the plain one."""
    backend = devices.COMPILE_BACKEND
    devices.COMPILE_BACKEND = "eager" if where.quick else backend
    try:
        for name in ["grnn"] if where.quick else ["resnet18", "wav2vec2"]:
            module = build(name, where.preset, seed=0).to(where.device).train()
            step = _step(module, *_batch(where), where, where.device.type == "cuda")
            plain = interleave(step, step, where.rounds, where.device)
            with devices.compiled_(module, wanted=True):
                begin = time.perf_counter()
                step.forward().backward()
                if where.device.type == "cuda":
                    torch.cuda.synchronize()
                seconds = time.perf_counter() - begin
                quick = interleave(step, step, where.rounds, where.device)
            yield Row("compile", f"{name}: first step", seconds, "s", f"backend {devices.COMPILE_BACKEND}")
            gain = (quick.forward_ms + quick.backward_ms) / (plain.forward_ms + plain.backward_ms)
            yield Row("compile", f"{name}: later steps against plain ones", gain, "×")
    finally:
        devices.COMPILE_BACKEND = backend


def loading(where: Where) -> Iterator[Row]:
    """How long a step lasts whose clips are augmented, by how many threads prepare them."""
    from plastsearch.spec.config import TrialConfig
    from plastsearch.spec.running import RunSettings
    from plastsearch.training.feeds import WaveFeed
    from plastsearch.trial.context import open_context

    data = {**_data(where), "augment": ["rawboost4"]}
    config = TrialConfig.model_validate({"method": "baseline", "data": data, "train": {"batch_size": where.clips}})
    module = build("resnet18", "tiny", seed=0).to(where.device).train()
    for workers in (0, 1) if where.quick else (0, 1, 4, 8):
        context = open_context(config, RunSettings(**_settings(where), loader_workers=workers), lambda: False)
        steps = 4 if where.quick else 40
        feed = WaveFeed(context.reading(0), where.device, steps)
        optimizer = make_optimizer(module, 1e-4, 0.0)
        begin = time.perf_counter()
        for step in range(steps):
            wave_BT, label_B = feed.batch(step)
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(wave_BT), label_B).backward()
            optimizer.step()
        if where.device.type == "cuda":
            torch.cuda.synchronize()
        spent = 1e3 * (time.perf_counter() - begin) / steps
        feed.close()
        yield Row("loading", f"resnet18 tiny, rawboost4, {workers} threads", spent, "ms a step")


def trials(where: Where) -> Iterator[Row]:
    """Whole trials on the generated corpus: what they take, and their own ratio of backward times."""
    from plastsearch.spec.config import TrialConfig
    from plastsearch.spec.running import RunSettings
    from plastsearch.trial.run import run_trial

    for name in ["grnn"] if where.quick else list(SITES):
        config = TrialConfig.model_validate(
            {"model": {"name": name}, "layers": [SITES[name]], "neurons": 16, "method": "plasticity",
             "data": _data(where), "train": {"steps": 6, "batch_size": 4} if where.quick else {"steps": 120},
             "calibration_clips": 16, "timing_steps": 3 if where.quick else 20}
        )  # fmt: skip
        *_, final = run_trial(config, RunSettings(**_settings(where)))
        said = f"dev EER {final.metrics['dev_eer']:.1f} %, {final.details['device']['dtype']}"
        yield Row("trials", f"{name} tiny, plasticity", final.metrics["seconds"], "s", said)
        yield Row("trials", f"{name} tiny: backward ratio", final.metrics["backward_ratio"], "×")


def _data(where: Where) -> dict[str, Any]:
    return {"clips": 32 if where.quick else 256, "length_samples": where.samples}


def _settings(where: Where) -> dict[str, Any]:
    return {"store": where.folder / "store", "cache": where.folder / "cache", "device": str(where.device)}


def _batch(where: Where, clips: int = 0, samples: int = 0) -> tuple[Tensor, Tensor]:
    clips, samples = clips or where.clips, samples or where.samples
    wave_BT = torch.randn(clips, samples, generator=torch.Generator().manual_seed(1))
    return wave_BT.to(where.device), torch.arange(clips, device=where.device) % 2


def _step(module: nn.Module, wave_BT: Tensor, label_B: Tensor, where: Where, bf16: bool) -> StepUnderTest:
    def forward() -> Tensor:
        with torch.autocast(where.device.type, torch.bfloat16, enabled=bf16):
            logits_BC = module(wave_BT)
        return nn.functional.cross_entropy(logits_BC.float(), label_B)

    return StepUnderTest(forward, make_optimizer(module, 1e-5, 0.01))


Part = Callable[[Where], Iterator[Row]]
PARTS: dict[str, Part] = {
    "training": training, "growth": growth, "waiting": waiting, "determinism": deterministic, "loading": loading,
    "trials": trials, "compile": compiled,
}  # fmt: skip
OF_TRIALS = ("loading", "trials")  # these need the packages of whole trials
