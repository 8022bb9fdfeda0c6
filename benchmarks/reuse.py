"""What shared stages and kept activations save: the same trials with both switched off and on.

(a) a frozen layer search: dropin at single sites of all depths; (b) a plasticity space: five criteria over the same
sites, three stages of equal length. Metrics must agree trial by trial. The saving is compared with the one that the
counted operations allow. Clocks are CPU time of this process (one thread), or wall time on a GPU; the trials' own
timing measurements, which nothing can share, are left out on both sides.

    python benchmarks/reuse.py            # both; base-like depth (12 layers), about ten minutes of one core
    python benchmarks/reuse.py --quick    # tiny networks, a minute
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from results import Cell, Table, write
from torch.utils.flop_counter import FlopCounterMode

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.trial.context import TrialRun
from plastsearch.trial.cost import Costs
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import blank, learn_, logits_from_wave, train_mode_
from plastsearch.trial.result import result
from plastsearch.trial.run import run_stages, start

CRITERIA = ("taylor", "magnitude", "entropy", "gradient_entropy", "random")
STEADY = (
    "dev_eer",
    "dev_eer_low",
    "dev_eer_high",
    "dev_min_dcf",
    "dev_cllr",
    "train_loss",
    "turnover",
    "dev_eer_pruned",
)
COLUMNS = [
    ("space", ""), ("trials", ".0f"), ("off → on", ""), ("possible", ""), ("measured", ""),
    ("largest relative difference", ".1e"), ("reused s", ".1f"),
]  # fmt: skip
TOLERANCE = 1e-3  # relative; float32 activations are computed in other batches when they are kept


@dataclass
class Run:
    """All trials of one space, one after the other in one process."""

    seconds: float
    reports: list[Report]
    run: TrialRun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny networks")
    parser.add_argument("--clips", type=int, default=24, help="training clips; each stage of (a) has 8 epochs of them")
    parser.add_argument("--only", choices=["a", "b"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, configs in spaces(options.quick, options.clips).items():
            if options.only in (None, name):
                rows.append(compare(name, configs, Path(folder) / name, Path(folder) / "clips"))
    table = Table(COLUMNS, rows)
    print(table.markdown())
    write("reuse", {"spaces": table}, device="cuda" if torch.cuda.is_available() else "cpu")


def spaces(quick: bool, clips: int) -> dict[str, list[TrialConfig]]:
    """The trials of both questions."""
    preset, layers, clips, seconds = ("tiny", 6, 16, 0.5) if quick else ("small", 12, clips, 0.5)
    epochs = 4 if quick else 8
    sites = [f"encoder.{i}.ffn" for i in range(layers)] + [f"encoder.{i}.attention" for i in range(layers)][
        : layers * 2 // 3
    ]
    step = {"tiny": 12, "small": 64}[preset]
    steps = epochs * clips // 8
    base = {
        "model": {"name": "wav2vec2", "preset": preset},
        "data": {"clips": clips, "length_samples": int(16_000 * seconds)},
        "neurons": step,
        "calibration_clips": 8,
    }
    two, three = {"train": 0.5, "retrain": 0.5, "consolidate": 0.0}, {"train": 1, "retrain": 1, "consolidate": 1}
    a = {"method": "dropin", "train": {"steps": 2 * steps, "batch_size": 8, "evaluations": 1, "shares": two}}
    b = {"method": "plasticity", "regime": "unfrozen",
         "train": {"steps": 3 * steps // 2, "batch_size": 8, "evaluations": 1, "shares": three}}  # fmt: skip
    depth_first = sorted(sites, key=lambda name: int(name.split(".")[1]))
    return {
        "a": [TrialConfig.model_validate(base | a | {"layers": (site,)}) for site in depth_first],
        "b": [TrialConfig.model_validate(base | b | {"layers": (site,), "criterion": criterion})
              for site in (sites[1], sites[layers - 2]) for criterion in CRITERIA],
    }  # fmt: skip


def compare(name: str, configs: list[TrialConfig], folder: Path, clips: Path) -> list[Cell]:
    """Run a space both ways: a row of what came out."""
    list(trial(configs[0], RunSettings(store=folder / "warm", cache=clips)))  # decode clips, import, warm up
    off = run(configs, RunSettings(store=folder / "off", cache=clips, share_stages=False, cache_prefix=False))
    on = run(configs, RunSettings(store=folder / "on", cache=clips))
    worst = max(difference(x, y) for x, y in zip(off.reports, on.reports, strict=True))
    possible = counted(off.run, configs, shared=False) / counted(on.run, configs, shared=True)
    saving = off.seconds / on.seconds
    print(f"({name}) {len(configs)} trials: {off.seconds:.1f} s → {on.seconds:.1f} s; saving {saving:.2f} ×, "
          f"possible {possible:.2f} × ({saving / possible:.0%}); metrics differ by {worst:.1e} at most")  # fmt: skip
    if worst > TOLERANCE:
        raise SystemExit(f"({name}) metrics differ by {worst:.1e}, more than {TOLERANCE:.0e}")
    reused_s = sum(report.metrics["reused_seconds"] for report in on.reports)
    took = f"{off.seconds:.1f} s → {on.seconds:.1f} s"
    measured = f"{saving:.2f} × ({saving / possible:.0%})"
    return [f"({name})", len(configs), took, f"{possible:.2f} ×", measured, worst, reused_s]


def run(configs: Iterable[TrialConfig], settings: RunSettings) -> Run:
    """Every trial, with the clock of the device it runs on."""
    reports: list[Report] = []
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    began = clock()
    for config in configs:
        run, report = trial(config, settings)
        reports.append(report)
    return Run(clock() - began, reports, run)


def trial(config: TrialConfig, settings: RunSettings) -> tuple[TrialRun, Report]:
    """A trial without its timing measurements."""
    run = start(config, settings, lambda: False)
    for _ in run_stages(run):
        pass
    return run, result(run, Costs())


def difference(a: Report, b: Report) -> float:
    """The largest relative difference among the metrics of two reports."""
    names = [name for name in STEADY if name in a.metrics]
    return max(abs(a.metrics[name] - b.metrics[name]) / max(abs(a.metrics[name]), 1e-6) for name in names)


def counted(run: TrialRun, configs: list[TrialConfig], shared: bool) -> float:
    """Operations of all trials, from the operations of one forward and backward pass at each cut."""
    context = run.context
    train, dev = len(context.train), len(context.search_dev)
    total, seen, kept = 0.0, set(), {}
    for config in configs:
        stages = start(config, context.settings, lambda: False).stages
        for at, stage in enumerate(stages):
            key = (stage.name, config.layers, config.criterion if stage.name in ("prune", "consolidate") else "")
            key = (stage.name,) if stage.name == "train" else key
            if shared and key in seen:
                continue
            seen.add(key)
            total += _stage_work(run, config, stages, at, shared, kept, train, dev)
    return total


def _stage_work(
    run: TrialRun, config: TrialConfig, stages: tuple[Stage, ...], at: int, shared: bool, kept: dict[str, float],
    train: int, dev: int,
) -> float:  # fmt: skip
    stage = stages[at]
    if stage.change == "remove":
        forward, backward, _ = _passes(run, config, stages, at, None)
        return config.calibration_clips * (forward + backward) + dev * forward
    if not stage.steps:
        return 16 * _passes(run, config, stages, at, None)[0]
    forward, backward, below = _passes(run, config, stages, at, stage)
    size = min(config.train.batch_size, train)
    looks = (
        1 if at and stages[at - 1].name in ("train", "prune") else 2
    )  # what comes in is scored unless it was already
    if not shared or not below:
        return stage.steps * size * (forward + backward) + looks * dev * forward
    nearest = max((value for value in kept.values() if value <= below), default=0.0)
    per_epoch = train // size
    epochs = range(stage.first // per_epoch, (stage.first + stage.steps - 1) // per_epoch + 1)
    turns = len({epoch % int(config.data.crops) for epoch in epochs})  # every clip is longer than a crop here
    fill = 0.0 if below in kept.values() else (turns * train + dev) * (below - nearest)
    kept[str(below)] = below
    return fill + stage.steps * size * (forward - below + backward) + looks * dev * (forward - below)


CACHE: dict[Any, tuple[float, float, float]] = {}


def _passes(
    run: TrialRun, config: TrialConfig, stages: tuple[Stage, ...], at: int, stage: Stage | None
) -> tuple[float, float, float]:
    """Operations per clip of forward, of backward, and of the forward pass below the cut."""
    key = (config.layers, at, stage)
    if key not in CACHE:
        context = run.context
        network = blank(config, stages[:at], context.device)
        cut = learn_(network, config, stage) if stage else None
        train_mode_(network.module, cut)
        wave_BT = torch.from_numpy(context.train.batch([0, 1], context.length_samples)).to(context.device)
        with FlopCounterMode(display=False) as counter:
            loss = logits_from_wave(network.module, cut)(wave_BT).sum()
            forward = counter.get_total_flops()
            loss.backward()
            backward = counter.get_total_flops() - forward
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            if cut:
                network.module.prefix(wave_BT, cut)
        CACHE[key] = (forward / 2, backward / 2, counter.get_total_flops() / 2)
    return CACHE[key]


if __name__ == "__main__":
    main()
