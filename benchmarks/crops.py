"""How many places of each training clip a network should see: dev error and loss by crop policy, paired by seed.

    python benchmarks/crops.py                # GRNN and Wav2Vec 2.0 at the settings of their search spaces
    python benchmarks/crops.py --seeds 2 --only grnn_layers

Every arm of a sweep reads the same crops. N fixed places can be kept as activations, at N times the room for clips that
are longer than a crop; a fresh place per epoch cannot. Dev clips are always scored at their heads.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from plastsearch.spec.config import RunSettings, TrialConfig
from plastsearch.spec.load import load_sweep
from plastsearch.trial.run import run_stages, start

POLICIES: tuple[int | str, ...] = (1, 2, 3, 4, 8, "fresh")
SPACES = Path(__file__).parents[1] / "search_spaces"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--only", choices=["grnn_layers", "w2v_layers", "resnet_stages"])
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("grnn_layers", "w2v_layers", "resnet_stages"):
            if options.only in (None, name):
                found[name] = compare(name, options.seeds, Path(folder))
                if options.out:
                    options.out.write_text(json.dumps(found, indent=1))


def compare(name: str, seeds: int, folder: Path) -> dict[str, list[tuple[float, float]]]:
    """The baseline of a space under every policy; differences are to one place per clip."""
    base = load_sweep(SPACES / f"{name}.yaml").base.model_copy(update={"method": "baseline"})
    found: dict[str, list[tuple[float, float]]] = {str(policy): [] for policy in POLICIES}
    for seed in range(seeds):
        for policy in POLICIES:
            data = base.data.model_copy(update={"crops": policy, "seed": seed})
            found[str(policy)].append(ended(base.model_copy(update={"data": data, "seed": seed}), folder))
    print(f"{name}: {seeds} seeds, dev EER % and dev loss; difference to crops: 1 with its standard error")
    for policy, ends in found.items():
        parts = [f"crops {policy:>5}"]
        for at, digits in ((0, 2), (1, 3)):
            difference = [end[at] - one[at] for end, one in zip(ends, found["1"], strict=True)]
            error = stdev(difference) / len(difference) ** 0.5 if len(difference) > 1 else float("nan")
            parts.append(
                f"{mean(end[at] for end in ends):7.{digits}f} ({mean(difference):+.{digits}f} ± {error:.{digits}f})"
            )
        print("  ".join(parts), flush=True)
    return found


def ended(config: TrialConfig, folder: Path) -> tuple[float, float]:
    """Dev EER and loss of a trial's last state."""
    settings = RunSettings(store=folder / "store", cache=folder / "cache", device="cpu")
    trial = start(config, settings, lambda: False)
    for _ in run_stages(trial):
        pass
    return trial.records[-1].metrics["dev_eer"], trial.records[-1].metrics["dev_loss"]


if __name__ == "__main__":
    main()
