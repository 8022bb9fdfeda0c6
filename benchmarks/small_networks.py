"""Small networks on recorded speech at equal CPU time: what of a recipe helps, and what the recipe reaches.

    python benchmarks/small_networks.py LA --what each --seconds 40             # one change at a time, dev alone
    python benchmarks/small_networks.py LA --what recipe --seconds 240 --seeds 3 --evaluation

LA is a corpus that real_speech.py made. Each arm gets as many steps as fit into the CPU seconds, told from short runs.
Processor time of this process counts, features and evaluations on dev included, decoding of the clips not. With
`--evaluation` the evaluation split is opened once for each run; nothing is chosen by it.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from results import Table, write

from plastsearch.data.corpus import open_corpus
from plastsearch.spec.coherence import set_at
from plastsearch.spec.config import RunSettings, TrialConfig
from plastsearch.spec.load import load_sweep
from plastsearch.trial.cost import costs
from plastsearch.trial.finalist import evaluated
from plastsearch.trial.result import result
from plastsearch.trial.run import run_stages, start

RECIPE = Path(__file__).parents[1] / "search_spaces" / "small_cnn.yaml"
SHORT, LONGER = (
    40,
    60,
)  # steps of the runs that tell what a step takes: enough for features to be kept, less than an epoch
RESNET = {"model.name": "resnet18", "model.stem": "quarter", "train.lr": 5e-3}
BEFORE = {
    "model.name": "resnet18", "model.stem": "quarter", "model.normalise": "clip", "model.masks": 0,
    "model.dropout": 0.0, "model.pooling": "mean", "data.score": "head", "train.lr": 1e-3,
}  # fmt: skip
# From the recipe, one setting put to another value each.
EACH: Mapping[str, Mapping[str, Any]] = {
    "recipe": {},
    "ResNet18, a quarter of the picture": RESNET,
    "ResNet18, half of the picture": {**RESNET, "model.stem": "half"},
    "each clip's own statistics": {"model.normalise": "clip"},
    "no statistics": {"model.normalise": "none"},
    "no masks": {"model.masks": 0},
    "two masks": {"model.masks": 2},
    "no dropout": {"model.dropout": 0.0},
    "mean over frames alone": {"model.pooling": "mean"},
    "learning rate 2e-3": {"train.lr": 2e-3},
    "learning rate 1e-2": {"train.lr": 1e-2},
    "clips of 1 s": {"data.length_samples": 16_000},
    "heads in dev": {"data.score": "head"},
    "RawBoost 5": {"data.augment": ["rawboost5"]},
    "linear bands": {"model.front_end": "linear"},
    "LFCC and slopes": {"model.front_end": "lfcc", "model.deltas": 1},
}
WHOLE: Mapping[str, Mapping[str, Any]] = {
    "ResNet18 as it was before": BEFORE,
    "recipe with a ResNet18": RESNET,
    "recipe": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="a folder that real_speech.py made")
    parser.add_argument("--what", choices=["each", "recipe"], default="recipe")
    parser.add_argument("--seconds", type=float, default=240.0, help="CPU seconds of a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="these arms alone")
    parser.add_argument("--evaluation", action="store_true", help="open the evaluation split")
    parser.add_argument("--keep", type=Path, help="a folder for decoded clips that later runs find again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    base = load_sweep(RECIPE).base.model_copy(update={"method": "baseline"})
    base = set_at(base, {"data.root": str(options.corpus.absolute())})
    known = EACH if options.what == "each" else WHOLE
    arms = {name: changes for name, changes in known.items() if name in (options.only or known)}
    rows: list[list[float | str | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        for name, changes in arms.items():
            found = [
                measured(
                    set_at(base, {**changes, "seed": seed}), options.seconds, place, Path(folder), options.evaluation
                )
                for seed in range(options.seeds)
            ]
            rows.append(row(name, found))
            print(Table(COLUMNS, rows[-1:]).markdown().splitlines()[-1], flush=True)
            # After each arm, so that what was measured is kept when the machine is wanted for other things.
            write("small_networks", {options.what: Table(COLUMNS, rows)})


COLUMNS = [
    ("arm", ""), ("dev EER %", ".2f"), ("deviation", ".2f"), ("evaluation EER %", ".2f"), ("seeds", ""),
    ("steps", ",.0f"), ("CPU s", ".0f"),
]  # fmt: skip


def row(name: str, found: Sequence[tuple[float, float | None, int, float]]) -> list[float | str | None]:
    """An arm's line: means over its seeds."""
    dev = [one[0] for one in found]
    held = [one[1] for one in found if one[1] is not None]
    return [
        name, mean(dev), stdev(dev) if len(dev) > 1 else None, mean(held) if held else None, len(found),
        mean(one[2] for one in found), mean(one[3] for one in found),
    ]  # fmt: skip


def measured(
    config: TrialConfig, seconds: float, clips: Path, folder: Path, evaluation: bool
) -> tuple[float, float | None, int, float]:
    """Dev EER, that of evaluation if it is opened, steps, and the CPU seconds that they took."""
    with tempfile.TemporaryDirectory(dir=folder) as kept:
        first, short, looking, longer = (
            spent(set_at(config, {"train.steps": steps, "train.evaluations": looks}), clips, Path(kept), folder)[0]
            for steps, looks in ((SHORT, 1), (SHORT, 1), (SHORT, 3), (LONGER, 1))
        )
    step = max(1e-4, (longer - short) / (LONGER - SHORT))
    looks_s = (looking - short) / 2 * (config.train.evaluations - 1)
    steps = max(
        LONGER, int((seconds - first - looks_s) / step) + SHORT
    )  # the first computed features, as this one will
    config = set_at(config, {"train.steps": steps})
    with tempfile.TemporaryDirectory(dir=folder) as kept:
        used, dev, held = spent(config, clips, Path(kept), folder, evaluation)
    return dev, held, steps, used


def spent(
    config: TrialConfig, clips: Path, cache: Path, folder: Path, evaluation: bool = False
) -> tuple[float, float, float | None]:
    """CPU seconds of a training from nothing, and its EERs; decoding and the evaluation split are not counted."""
    with tempfile.TemporaryDirectory(dir=folder) as store:
        settings = RunSettings(store=Path(store), cache=cache, clips=clips, device="cpu", exclusive_timing=False)
        open_corpus(config.data, clips)
        began = time.process_time()
        trial = start(config, settings, lambda: False)
        for _ in run_stages(trial):
            pass
        used = time.process_time() - began
        held = evaluated(trial, result(trial, costs(trial))).metrics["eval_eer"] if evaluation else None
        return used, trial.records[-1].metrics["dev_eer"], held


if __name__ == "__main__":
    main()
