"""Small networks on recorded speech at equal CPU time: what of a recipe helps, and what the recipe reaches.

    python benchmarks/small_networks.py LA --what unseen --seconds 60           # one change at a time, dev alone
    python benchmarks/small_networks.py LA --what recipe --seconds 240 --seeds 3 --evaluation

LA is a corpus that real_speech.py made. Each arm gets as many steps as fit into the CPU seconds, told from short runs.
Processor time of this process counts, features and evaluations on dev included, decoding of the clips not.

`unseen` asks what recipes are chosen by: attacks that a network never heard, spoken by speakers it never heard. For
each attack of training in turn a network learns from the other ones and is scored on dev, whose spoofs are those of
the attack left out. `each` scores dev as it is, where attacks are those of training. With `--evaluation` the evaluation
split is opened once for each run; nothing is chosen by it.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from results import Table, write

from plastsearch.data.corpus import open_corpus
from plastsearch.spec.coherence import set_at
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.load import load_sweep
from plastsearch.spec.running import RunSettings
from plastsearch.trial.cost import costs
from plastsearch.trial.finalist import evaluated
from plastsearch.trial.result import result
from plastsearch.trial.run import run_stages, start

PROTOCOLS = "ASVspoof2019_LA_cm_protocols"
RECIPE = Path(__file__).parents[1] / "search_spaces" / "small_cnn.yaml"
SHORT, LONGER = 40, 100  # steps of runs that tell what one takes: enough to keep features, less than an epoch
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
    "statistics of the corpus": {"model.normalise": "corpus"},
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
    "RawBoost 4": {"data.augment": ["rawboost4"]},
    "bands of the waveform limited": {"data.augment": ["band_limit"]},
    "codecs": {"data.augment": ["codec"]},
    "four masks": {"model.masks": 4},
    "dropout 0.5": {"model.dropout": 0.5},
    "OC-Softmax": {"train.loss": "oc_softmax"},
    "clips of 3 s": {"data.length_samples": 48_000},
    "mean of the three best states": {"train.average_best": 3},
    "weight decay 0.1": {"train.weight_decay": 0.1},
}
WHOLE: Mapping[str, Mapping[str, Any]] = {
    "ResNet18 as it was before": BEFORE,
    "recipe with a ResNet18": RESNET,
    "recipe": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="a folder that real_speech.py made")
    parser.add_argument("--what", choices=["each", "unseen", "recipe"], default="recipe")
    parser.add_argument("--seconds", type=float, default=240.0, help="CPU seconds of a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="these arms alone")
    parser.add_argument("--evaluation", action="store_true", help="open the evaluation split")
    parser.add_argument("--keep", type=Path, help="a folder for decoded clips that later runs find again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.evaluation and options.what == "unseen":
        parser.error("--evaluation: what recipes are chosen by never sees the evaluation split")
    base = load_sweep(RECIPE).base.model_copy(update={"method": "baseline"})
    base = set_at(base, {"data.root": str(options.corpus.absolute())})
    known = WHOLE if options.what == "recipe" else EACH
    arms = {name: changes for name, changes in known.items() if name in (options.only or known)}
    with tempfile.TemporaryDirectory() as folder:
        work = Work(options.seconds, options.keep or Path(folder, "clips"), Path(folder))
        if options.what == "unseen":
            columns, found = unseen(base, arms, options.corpus, work, options.seeds)
        else:
            columns, found = COLUMNS, whole(base, arms, work, options.seeds, options.evaluation)
        rows = []
        for one in found:
            rows.append(one)
            print(Table(columns, rows[-1:]).markdown().splitlines()[-1], flush=True)
            # After each arm, so that what was measured is kept when the machine is wanted for other things.
            write("small_networks", {options.what: Table(columns, rows)})


Row = list[float | str | None]
COLUMNS = [
    ("arm", ""), ("dev EER %", ".2f"), ("deviation", ".2f"), ("evaluation EER %", ".2f"), ("seeds", ""),
    ("steps", ",.0f"), ("CPU s", ".0f"),
]  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What every run of an arm has: its CPU seconds, where decoded clips are kept, and a folder for all else."""

    seconds: float
    clips: Path
    folder: Path

    def cached(self) -> "tempfile.TemporaryDirectory[str]":
        """A place for features that runs of one arm share."""
        return tempfile.TemporaryDirectory(dir=self.folder)


def whole(
    base: TrialConfig, arms: Mapping[str, Mapping[str, Any]], work: Work, seeds: int, evaluation: bool
) -> Iterator[Row]:
    """A line for each arm: means over its seeds."""
    for name, changes in arms.items():
        found = []
        steps = steps_within(set_at(base, dict(changes)), work)
        for seed in range(seeds):
            config = set_at(base, {**changes, "train.steps": steps, "seed": seed})
            with work.cached() as kept:
                used, dev, held = spent(config, work, Path(kept), evaluation)
            found.append((dev, held, used))
        dev_eers = [one[0] for one in found]
        held_eers = [one[1] for one in found if one[1] is not None]
        yield [
            name, mean(dev_eers), stdev(dev_eers) if seeds > 1 else None, mean(held_eers) if held_eers else None, seeds,
            steps, mean(one[2] for one in found),
        ]  # fmt: skip


def unseen(
    base: TrialConfig, arms: Mapping[str, Mapping[str, Any]], corpus: Path, work: Work, seeds: int
) -> tuple[list[tuple[str, str]], Iterator[Row]]:
    """Columns, and a line for each arm: EER on dev of each attack of training, learnt without it."""
    attacks = sorted({line.split()[3] for line in lines_of(corpus, "train.trn")} - {"-"})
    places = {attack: without(attack, corpus, work.folder / attack) for attack in attacks}

    def rows() -> Iterator[Row]:
        for name, changes in arms.items():
            config = set_at(base, {**changes, "data.root": str(places[attacks[0]])})
            steps = steps_within(config, work)
            found: dict[str, list[float]] = {attack: [] for attack in attacks}
            used_s = []
            for attack in attacks:
                for seed in range(seeds):
                    config = set_at(
                        base, {**changes, "data.root": str(places[attack]), "train.steps": steps, "seed": seed}
                    )
                    with work.cached() as kept:
                        used, dev, _ = spent(config, work, Path(kept), evaluation=False)
                    found[attack].append(dev)
                    used_s.append(used)
            means = [mean(eers) for eers in found.values()]
            yield [name, *means, mean(means), seeds, steps, mean(used_s)]

    columns = [("arm", ""), *((f"without {attack}", ".1f") for attack in attacks), ("mean EER %", ".2f")]
    return [*columns, ("seeds", ""), ("steps", ",.0f"), ("CPU s", ".0f")], rows()


def lines_of(corpus: Path, split: str) -> list[str]:
    """The lines of a protocol of the corpus."""
    return (corpus / PROTOCOLS / f"ASVspoof2019.LA.cm.{split}.txt").read_text("utf-8").splitlines()


def without(attack: str, corpus: Path, place: Path) -> Path:
    """The same corpus, whose training lacks an attack that is the only one of its dev split."""
    (place / PROTOCOLS).mkdir(parents=True)
    for split in ("train", "dev", "eval"):
        name = f"ASVspoof2019_LA_{split}"
        (place / name).symlink_to((corpus / name).absolute())
    kept = {
        "train.trn": [line for line in lines_of(corpus, "train.trn") if line.split()[3] != attack],
        "dev.trl": [line for line in lines_of(corpus, "dev.trl") if line.split()[3] in ("-", attack)],
        "eval.trl": lines_of(corpus, "eval.trl"),
    }
    for split, lines in kept.items():
        (place / PROTOCOLS / f"ASVspoof2019.LA.cm.{split}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return place


def steps_within(config: TrialConfig, work: Work) -> int:
    """How many steps fit into the CPU seconds, told from short runs."""
    with work.cached() as kept:
        first, short, looking, longer = (
            spent(set_at(config, {"train.steps": steps, "train.evaluations": looks}), work, Path(kept))[0]
            for steps, looks in ((SHORT, 1), (SHORT, 1), (SHORT, 3), (LONGER, 1))
        )
    step_s = max(1e-4, (longer - short) / (LONGER - SHORT))
    looks_s = (looking - short) / 2 * (config.train.evaluations - 1)
    # The first of them computed features, as the run itself will.
    return max(LONGER, int((work.seconds - first - looks_s) / step_s) + SHORT)


def spent(config: TrialConfig, work: Work, cache: Path, evaluation: bool = False) -> tuple[float, float, float | None]:
    """CPU seconds of a training from nothing, and its EERs; decoding and the evaluation split are not counted."""
    with tempfile.TemporaryDirectory(dir=work.folder) as store:
        settings = RunSettings(store=Path(store), cache=cache, clips=work.clips, device="cpu", exclusive_timing=False)
        open_corpus(config.data, work.clips)
        began = time.process_time()
        trial = start(config, settings, lambda: False)
        for _ in run_stages(trial):
            pass
        used = time.process_time() - began
        held = evaluated(trial, result(trial, costs(trial))).metrics["eval_eer"] if evaluation else None
        return used, trial.records[-1].metrics["dev_eer"], held


if __name__ == "__main__":
    main()
