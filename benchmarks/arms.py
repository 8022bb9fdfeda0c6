"""Neurons, told or by gradients, adapters, both, and adapters whose ranks move: one budget, paired over seeds.

    python benchmarks/arms.py --out arms              # generated speech, a pretrained tiny wav2vec2; some CPU minutes

Within a seed all arms start from the same trained network and see the same parts of the same clips. The difference to
frozen dropin is taken seed by seed, its interval is Student's t over the seeds: three tell large differences alone.
"""

import argparse
import math
import statistics
from pathlib import Path
from typing import Any

import torch
from results import Cell, Table, write

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.run import run_trial

START = Path(__file__).resolve().parent / "recorded_start"
SITES = {"encoder.2.ffn": 64, "encoder.4.ffn": 64}
SHARES = {"train": 0.25, "retrain": 0.5, "consolidate": 0.25}
REFERENCE = "dropin, frozen"
ARMS: dict[str, dict[str, Any]] = {
    "no growth": {"method": "baseline"},
    REFERENCE: {"method": "dropin"},
    "LoRA": {"method": "lora"},
    "both, half each": {"method": "lora_growth", "lora_share": 0.5},
    "AdaLoRA": {"method": "adalora"},
    "adaptive": {"method": "adaptive"},
}
COLUMNS = ("dev_eer", "dev_cllr", "train_loss", "params_trainable", "backward_gflop")
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}  # Student's t by the number of seeds
Found = dict[str, dict[str, list[float]]]  # arm → metric → one value per seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("arms"))
    parser.add_argument("--seeds", type=int, default=3, choices=sorted(T_95))
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--clips", type=int, default=120)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: Found = {name: {column: [] for column in COLUMNS} for name in ARMS}
    settings = RunSettings(store=options.out / "store", cache=options.out / "cache")
    for seed in range(options.seeds):
        for name, arm in ARMS.items():
            *_, final = run_trial(configured(arm, seed, options.steps, options.clips), settings)
            for column in COLUMNS:
                found[name][column].append(final.metrics[column])
            print(f"seed {seed} {name:16} dev EER {final.metrics['dev_eer']:.2f} %", flush=True)
    table = arms_table(found)
    print(table.markdown())
    write("arms", {"arms": table})


def configured(arm: dict[str, Any], seed: int, steps: int, clips: int) -> TrialConfig:
    """One trial; the learning rate of `retrain` is half of this one."""
    return TrialConfig.model_validate(
        {
            "model": {"name": "wav2vec2", "preset": "tiny", "from": str(START)}, "seed": seed, "layers": list(SITES),
            "neurons": SITES, "data": {"clips": clips, "length_samples": 8000}, "timing_steps": 3, "timing_batch": 2,
            "train": {"steps": steps, "lr": 3e-3, "batch_size": 8, "shares": SHARES},
            **arm,
        }
    )  # fmt: skip


def arms_table(found: Found) -> Table:
    """Means over the seeds, and of EER and Cllr the difference to the reference with its interval."""
    columns = [("arm", ""), ("dev EER (%)", ".2f"), ("lowest – highest", ""), ("difference to dropin, points", ""),
               ("dev Cllr (bits)", ".3f"), ("difference", ""), ("training loss", ".3f"), ("trainable", ",.0f"),
               ("backward GFLOP", ".4f")]  # fmt: skip
    rows: list[list[Cell]] = []
    for name, values in found.items():
        eer = values["dev_eer"]
        rows.append([
            name, statistics.fmean(eer), f"{min(eer):.2f} – {max(eer):.2f}", apart(found, name, "dev_eer", 2),
            statistics.fmean(values["dev_cllr"]), apart(found, name, "dev_cllr", 3),
            statistics.fmean(values["train_loss"]), values["params_trainable"][0], values["backward_gflop"][0],
        ])  # fmt: skip
    return Table(columns, rows)


def apart(found: Found, name: str, metric: str, digits: int) -> str:
    """The mean difference to the reference, seed by seed, and its 95 % interval."""
    if name == REFERENCE:
        return ""
    each = [one - other for one, other in zip(found[name][metric], found[REFERENCE][metric], strict=True)]
    mean = statistics.fmean(each)
    half = T_95[len(each)] * statistics.stdev(each) / math.sqrt(len(each))
    return f"{mean:+.{digits}f} [{mean - half:+.{digits}f}, {mean + half:+.{digits}f}]"


if __name__ == "__main__":
    main()
