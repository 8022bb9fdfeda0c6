"""Spiking networks beside their usual twins: EER at equal steps, and spikes before growth, after it and after pruning.

Plasticity (train, dropin at two sites, retrain, prune to the original size, consolidate) on generated speech, the same
steps, clips and seeds for both activations. Scored on the search-dev clips; clocks are CPU time of one thread.

    nice python benchmarks/spiking.py                            # both networks, three seeds
    nice python benchmarks/spiking.py --networks resnet18 --steps 300 --beside _longer    # tables of their own
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from results import Cell, Table, write

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.run import run_stages, start

SITES = {"grnn": ("gru.0", "gru.1"), "resnet18": ("layer2.0", "layer3.0")}
STAGES = {"train": "baseline", "retrain": "grown", "prune": "pruned", "consolidate": "final"}
ACTIVATIONS = {"own": 0, "lif": 4}  # time steps
EER = [("network", ""), ("activation", ""), *((f"{name} EER", "") for name in STAGES.values()), ("CPU s", ".0f")]
SPIKES = [("network", ""), *((f"{name}, spikes per clip", "") for name in STAGES.values()), ("rate, final", ".3f")]
DIFFERENCES = [("network", ""), ("EER of lif minus own, final, by seed", ""), ("mean", "+.1f")]


@dataclass(frozen=True)
class Run:
    """One seed of one arm: dev EER, spikes and rate by stage, and what training cost."""

    eers: dict[str, float]
    spikes: dict[str, float]
    rate: float | None
    cpu_s: float


def run(network: str, activation: str, seed: int, steps: int, clips: int, folder: Path) -> Run:
    config = TrialConfig.model_validate(
        {
            "model": {"name": network, "activation": activation, "time_steps": ACTIVATIONS[activation] or 1},
            "data": {"clips": clips, "length_samples": 8000}, "layers": SITES[network], "neurons": 16,
            "method": "plasticity", "train": {"steps": steps, "lr": 0.003}, "calibration_clips": 64, "seed": seed,
        }
    )  # fmt: skip
    settings = RunSettings(
        device="cpu", store=folder / "store", cache=folder / "cache", cache_prefix=False, exclusive_timing=False
    )
    trial = start(config, settings, lambda: False)
    began = time.process_time()
    list(run_stages(trial))
    cpu_s = time.process_time() - began
    records = {record.stage: record.metrics for record in trial.records if record.stage in STAGES}
    assert list(records) == list(STAGES)
    counted = {stage: found["spikes_per_inference"] for stage, found in records.items() if activation == "lif"}
    eers = {stage: found["dev_eer"] for stage, found in records.items()}
    print(f"{network} {activation} seed {seed}: {eers} {counted} {cpu_s:.0f} s", flush=True)
    return Run(eers, counted, records["consolidate"].get("spike_rate"), cpu_s)


def spread(values: Sequence[float], form: str) -> str:
    """Mean (lowest to highest)."""
    return f"{statistics.mean(values):{form}} ({min(values):{form}} – {max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(SITES), choices=list(SITES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--clips", type=int, default=160)
    parser.add_argument("--beside", default="", help="ending of the tables' names, so that the usual ones stay")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    eers: list[list[Cell]] = []
    counts: list[list[Cell]] = []
    differences: list[list[Cell]] = []
    with tempfile.TemporaryDirectory() as folder:
        for network in asked.networks:
            runs = {
                activation: [
                    run(network, activation, seed, asked.steps, asked.clips, Path(folder))
                    for seed in range(asked.seeds)
                ]
                for activation in ACTIVATIONS
            }
            for activation, found in runs.items():
                label = f"lif, {ACTIVATIONS[activation]} steps" if activation == "lif" else "own"
                each: list[Cell] = [spread([one.eers[stage] for one in found], ".1f") for stage in STAGES]
                eers.append([network, label, *each, statistics.mean(one.cpu_s for one in found)])
            spiking = runs["lif"]
            counts.append(
                [
                    network,
                    *(spread([one.spikes[stage] for one in spiking], ",.0f") for stage in STAGES),
                    statistics.mean(one.rate or 0.0 for one in spiking),
                ]
            )
            pairs = zip(runs["lif"], runs["own"], strict=True)
            by_seed = [lif.eers["consolidate"] - own.eers["consolidate"] for lif, own in pairs]
            differences.append([network, ", ".join(f"{value:+.1f}" for value in by_seed), statistics.mean(by_seed)])
            write(
                "spiking",
                {
                    f"eer{asked.beside}": Table(EER, eers), f"spikes{asked.beside}": Table(SPIKES, counts),
                    f"differences{asked.beside}": Table(DIFFERENCES, differences),
                },
            )  # fmt: skip


if __name__ == "__main__":
    main()
