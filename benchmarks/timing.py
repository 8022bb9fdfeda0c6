"""How well one timing repeats: the backward ratio of a configuration measured ten times on a busy machine.

python benchmarks/timing.py                 # three configurations beside two busy processes
python benchmarks/timing.py --runs 3        # three times over
python benchmarks/timing.py --busy 0        # beside whatever runs anyway
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from results import Cell, Table, write

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.context import TrialRun
from plastsearch.trial.cost import costs
from plastsearch.trial.run import run_stages, start

COLUMNS = [
    ("configuration", ""), ("rounds", ""), ("backward ratio", ".3f"), ("lowest – highest", ""),
    ("largest deviation", ""), ("spread", ".0%"), ("seconds", ".1f"), ("load", ".1f"),
]  # fmt: skip
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "wav2vec2 tiny, frozen dropin at encoder.3.ffn": {"model": {"name": "wav2vec2"}, "layers": ("encoder.3.ffn",)},
    "resnet18 tiny, frozen dropin at layer3.0": {"model": {"name": "resnet18"}, "layers": ("layer3.0",)},
    "grnn tiny, frozen dropin at gru.1": {"model": {"name": "grnn"}, "layers": ("gru.1",)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=2, help="busy processes beside it")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--runs", type=int, default=1, help="the whole measurement so many times")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        journeys = {name: travelled(values, Path(folder)) for name, values in CONFIGURATIONS.items()}
        stop = multiprocessing.Event()
        load = [multiprocessing.Process(target=burn, args=(stop,), daemon=True) for _ in range(options.busy)]
        for process in load:
            process.start()
        rows = []
        for _ in range(options.runs):
            for name, run in journeys.items():
                begin = time.thread_time()
                found = [costs(run) for _ in range(options.times)]
                rows.append(row(name, found, (time.thread_time() - begin) / options.times))
                print(rows[-1], flush=True)
        stop.set()
    table = Table(COLUMNS, rows)
    print(table.markdown())
    write("timing", {"repeats": table})


def travelled(values: dict[str, Any], folder: Path) -> TrialRun:
    """A trial up to its last stage; how it learns does not matter here."""
    config = TrialConfig.model_validate(
        {"method": "dropin", "neurons": 16, "data": {"clips": 16, "length_samples": 16_000}, "train": {"steps": 4}}
        | values
    )
    # Taking turns would hold up the trials of others for as long as this runs.
    settings = RunSettings(store=folder / "store", cache=folder / "cache", device="cpu", exclusive_timing=False)
    run = start(config, settings, lambda: False)
    for _ in run_stages(run):
        pass
    return run


def row(name: str, found: list[Any], cpu_s: float) -> list[Cell]:
    """Spread is the coefficient of variation of the backward times; seconds are the CPU's, of one measurement."""
    ratios = [cost.metrics["backward_ratio"] for cost in found]
    middle = statistics.median(ratios)
    worst = max(abs(ratio - middle) for ratio in ratios)
    scatter = statistics.median(cost.metrics["backward_cv"] for cost in found)
    rounds = [cost.device["rounds"] for cost in found]
    return [
        name, f"{min(rounds)} – {max(rounds)}", middle, f"{min(ratios):.3f} – {max(ratios):.3f}",
        f"{worst:.3f} ({worst / middle:.1%})", scatter, cpu_s, os.getloadavg()[0],
    ]  # fmt: skip


def burn(stop: Any) -> None:
    x = torch.randn(300, 300)
    while not stop.is_set():
        x @ x


if __name__ == "__main__":
    main()
