"""How many places of each training clip a network should see: dev error and loss by crop policy, paired by seed.

    python benchmarks/crops.py                # GRNN and Wav2Vec 2.0 at the settings of their search spaces
    python benchmarks/crops.py --seeds 2 --only grnn_layers

Every arm of a sweep reads the same crops. N fixed places can be kept as activations, at N times the room for clips that
are longer than a crop; a fresh place per epoch cannot. Dev clips are always scored at their heads.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
from results import Table, write

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.load import load_sweep
from plastsearch.spec.running import RunSettings
from plastsearch.trial.run import run_stages, start

POLICIES: tuple[int | str, ...] = (1, 2, 3, 4, 8, "fresh")
SPACES = Path(__file__).parents[1] / "search_spaces"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--only", choices=["grnn_layers", "w2v_layers", "resnet_stages"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("grnn_layers", "w2v_layers", "resnet_stages"):
            if options.only in (None, name):
                table = compare(name, options.seeds, Path(folder))
                print(f"{name}, {options.seeds} seeds\n\n{table.markdown()}\n", flush=True)
                write("crops", {name: table})


def compare(name: str, seeds: int, folder: Path) -> Table:
    """The baseline of a space under every policy; differences are to one place per clip."""
    base = load_sweep(SPACES / f"{name}.yaml").base.model_copy(update={"method": "baseline"})
    found: dict[str, list[tuple[float, float]]] = {str(policy): [] for policy in POLICIES}
    for seed in range(seeds):
        for policy in POLICIES:
            data = base.data.model_copy(update={"crops": policy, "seed": seed})
            found[str(policy)].append(ended(base.model_copy(update={"data": data, "seed": seed}), folder))
    rows = []
    for policy, ends in found.items():
        errors, losses = zip(*ends, strict=True)
        rows.append(
            [policy, mean(errors), None if policy == "1" else against(errors, [e for e, _ in found["1"]]), mean(losses)]
        )
    columns = [("crops", ""), ("dev EER %", ".2f"), ("against 1 (± standard error)", ""), ("dev loss", ".3f")]
    return Table(columns, rows)


def against(errors: Sequence[float], others: Sequence[float]) -> str:
    """The mean difference over the seeds, with its standard error."""
    differences = [one - other for one, other in zip(errors, others, strict=True)]
    error = stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    return f"{mean(differences):+.2f} ± {error:.2f}".replace("-", "−")


def ended(config: TrialConfig, folder: Path) -> tuple[float, float]:
    """Dev EER and loss of a trial's last state."""
    settings = RunSettings(store=folder / "store", cache=folder / "cache", device="cpu")
    trial = start(config, settings, lambda: False)
    for _ in run_stages(trial):
        pass
    return trial.records[-1].metrics["dev_eer"], trial.records[-1].metrics["dev_loss"]


if __name__ == "__main__":
    main()
