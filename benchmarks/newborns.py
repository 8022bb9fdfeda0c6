"""What new neurons get while they are trained: which of it matters, each against plain dropin, paired over seeds.

    python benchmarks/newborns.py --corpus LA                       # a folder that real_speech.py made
    python benchmarks/newborns.py --corpus LA --network cnn --steps 400 --as newborns_long

Within a seed all arms with the same insertion time start from the same trained network and see the same parts of the
same clips; all take the same steps in all. Intervals of differences are Student's t over the seeds, p-values Holm's
over all comparisons of a regime. Training and dev alone are read.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from results import Cell, Table, write

from plastsearch.analysis.paired import holm, over_seeds
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.run import run_stages, start

PLAIN = "plain"
ARMS: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    "rate × 3": {"newborn_lr_ratio": 3.0},
    "rate × 10": {"newborn_lr_ratio": 10.0},
    "inherited moments": {"newborn_state": "inherited"},
    "learned gate": {"newborn_gate": "learned"},
    "learned gate, rate × 10": {"newborn_gate": "learned", "newborn_lr_ratio": 10.0},
    "grown at 0.25": {"grow_at": 0.25},
    "grown at 0.75": {"grow_at": 0.75},
}


@dataclass(frozen=True)
class Grown:
    """A network, where it grows, and at what rate it learns."""

    model: Mapping[str, Any]
    sites: tuple[str, ...]
    lr: float


NETWORKS = {
    "resnet18": Grown({"front_end": "log_mel", "normalise": "corpus", "stem": "quarter"},
                      ("layer2.0", "layer3.0", "layer4.0"), 5e-3),
    "cnn": Grown({}, ("conv.1", "conv.2"), 3e-3),
}  # fmt: skip
LOOKED = ("dev_eer", "last_eer", "last_loss", "train_loss", "newborn_gradient", "newborn_share")


@dataclass(frozen=True)
class End:
    """What `retrain` came to, and how its new neurons looked on the way."""

    metrics: Mapping[str, float]
    looks: Sequence[Mapping[str, Any]]
    seconds: float
    looking_s: float


Found = dict[str, list[End]]  # arm → one for each seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="a folder that real_speech.py made")
    parser.add_argument("--out", type=Path, default=Path("newborns"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--network", default="resnet18", choices=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--regimes", nargs="+", choices=["frozen", "unfrozen"], default=["frozen", "unfrozen"])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="others beside plain dropin")
    parser.add_argument("--as", dest="name", default="newborns", help="the name of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = RunSettings(
        store=options.out / "store", cache=options.out / "cache", device="cpu", exclusive_timing=False
    )
    chosen = [name for name in ARMS if name == PLAIN or name in options.arms]
    found: dict[str, Found] = {regime: {name: [] for name in chosen} for regime in options.regimes}
    # Seed by seed, so that a run that is cut short has compared all arms on the seeds that it had.
    for seed in range(options.seeds):
        for regime, arms in found.items():
            for name in arms:
                began = time.monotonic()
                final = run(configured(ARMS[name], regime, seed, options), settings)
                arms[name].append(final)
                told = " ".join(f"{metric} {final.metrics.get(metric, float('nan')):.3f}" for metric in LOOKED)
                print(f"{time.monotonic() - began:.0f} s, seed {seed} {regime} {name}: {told}", flush=True)
        tables: dict[str, Table] = {regime: arms_table(arms) for regime, arms in found.items()}
        write(options.name, {**tables, "cost": cost_table(found)})
    for table in tables.values():
        print(table.markdown())


def run(config: TrialConfig, settings: RunSettings) -> End:
    """A trial without its timings; how good the network was when its training ended too, kept or not."""
    trial = start(config, settings, lambda: False)
    way = [report for report in run_stages(trial) if report.stage == "retrain"]
    last = next(one for one in reversed(way) if not one.details.get("boundary"))
    record = trial.records[-1]
    metrics = record.metrics | {"last_eer": last.metrics["dev_eer"], "last_loss": last.metrics["dev_loss"]}
    return End(metrics, record.details["newborns"], record.seconds, record.details["newborn_seconds"])


def configured(arm: Mapping[str, Any], regime: str, seed: int, options: argparse.Namespace) -> TrialConfig:
    """One trial of a small network: 16 new neurons at each site."""
    own = {name: value for name, value in arm.items() if name != "grow_at"}
    shares = {"train": 0.5, "retrain": 0.5, "consolidate": 0.0}
    network = NETWORKS[options.network]
    return TrialConfig.model_validate({
        "model": {"name": options.network, "preset": "tiny", "pooling": "mean_std", **network.model},
        "data": {"corpus": "asvspoof2019_la", "root": str(options.corpus.absolute()), "length_samples": 16_000},
        "train": {"steps": options.steps, "lr": network.lr, "batch_size": 16, "shares": shares, "evaluations": 2,
                  "lr_ratios": {"train": 1.0, "retrain": 0.5, "consolidate": 0.1}, "grow_at": arm.get("grow_at")},
        "layers": network.sites, "neurons": 16, "method": "dropin", "regime": regime, "seed": seed, **own,
    })  # fmt: skip


def arms_table(found: Found) -> Table:
    """Means over the seeds; of EER and losses the difference to plain dropin, with interval and corrected p."""
    columns = [("arm", ""), ("dev EER %, kept", ".2f"), ("difference, points", ""), ("p (Holm)", ".2f"),
               ("at the last step", ".2f"), ("difference", ""), ("p (Holm)", ".2f"), ("training loss", ".3f"),
               ("difference", ""), ("p (Holm)", ".2f"),
               ("gradient, at first", ".2f"), ("at the end", ".2f"), ("share of output", ".1%")]  # fmt: skip
    others = [name for name in found if name != PLAIN]
    digits = {"dev_eer": 2, "last_eer": 2, "train_loss": 3}
    apart = {metric: [difference(found, name, metric) for name in others] for metric in digits}
    sure = {metric: holm([one[2] for one in each]) for metric, each in apart.items()}
    rows: list[list[Cell]] = []
    for name, ends in found.items():
        row: list[Cell] = [name]
        for metric, places in digits.items():
            row.append(mean(ends, metric))
            if name == PLAIN:
                row += ["", None]
                continue
            at = others.index(name)
            low, high, _ = apart[metric][at]
            row += [f"{(low + high) / 2:+.{places}f} [{low:+.{places}f}, {high:+.{places}f}]", sure[metric][at]]
        rows.append([*row, statistics.fmean(map(first_gradient, ends)), mean(ends, "newborn_gradient"),
                     mean(ends, "newborn_share")])  # fmt: skip
    return Table(columns, rows)


def difference(found: Found, name: str, metric: str) -> tuple[float, float, float]:
    """Interval and p-value of the mean difference to plain dropin, seed by seed; from one seed nothing is known."""
    each = [one.metrics[metric] - other.metrics[metric] for one, other in zip(found[name], found[PLAIN], strict=True)]
    return over_seeds(each) or (float("-inf"), float("inf"), 1.0)


def mean(ends: Sequence[End], metric: str) -> float:
    """Over the seeds."""
    return statistics.fmean(one.metrics[metric] for one in ends)


def first_gradient(end: End) -> float:
    """Of a new neuron over that of an old one, at insertion: the mean over the sites."""
    return statistics.fmean(site["gradient"] for site in end.looks[0]["sites"].values())


def cost_table(found: Mapping[str, Found]) -> Table:
    """What looking at new neurons takes of the stage that it is done in."""
    rows: list[list[Cell]] = []
    for regime, arms in found.items():
        ends = [end for each in arms.values() for end in each]
        looks = [end.looking_s / len(end.looks) for end in ends]
        share = sum(end.looking_s for end in ends) / sum(end.seconds for end in ends)
        rows.append([regime, statistics.median(looks), share])
    return Table([("regime", ""), ("seconds of a look", ".2f"), ("share of retrain", ".1%")], rows)


if __name__ == "__main__":
    main()
