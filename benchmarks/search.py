"""Search quality on synthetic 24-layer landscapes: our default against random, plain TPE on/off and NSGA-II.

    python benchmarks/search.py --seeds 20 --trials 100 --out search.json

`sparse`: four random layers help; `smooth`: a bump over depth. Both saturate with neurons, are noisy (one draw per
trial) and cost what the lowest chosen layer costs, which back-propagation must reach. Plain arms sample the same flat
parameters through Optuna as a user would: no anchors, no repair, an empty subset counts as training nothing.
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy.stats import wilcoxon

from plastsearch.pareto.front import hypervolume
from plastsearch.search.samplers import distributions
from plastsearch.search.space import Space, open_space
from plastsearch.search.study import Study
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.journal import TrialRecord

LAYERS = 24
REFERENCE = [50.0, 1.1]
GAIN = {"taylor": 1.0, "fisher": 0.95, "magnitude": 0.8, "random": 0.6}
Landscape = Callable[[TrialConfig, float], list[float]]


def spec(trials: int, seed: int, sampler: str, anchors: bool = True) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "name": "benchmark",
            "base": {"method": "plasticity", "model": {"name": "wav2vec2", "preset": "large"}},
            "space": {
                "layers": {"kind": "subset", "of": "encoder.*.ffn", "min": 1},
                "neurons": {"kind": "int", "low": 16, "high": 1024, "log": True},
                "criterion": {"kind": "choice", "of": list(GAIN)},
                "keep": {"kind": "float", "low": 0, "high": 0.9},
            },
            "objectives": [{"metric": "dev_eer"}, {"metric": "backward_ratio"}],
            "search": {"trials": trials, "seed": seed, "sampler": sampler, "anchors": anchors},
        }
    )


def landscape(kind: str, seed: int) -> Landscape:
    """EER and backward ratio of a configuration; each seed has its own useful layers."""
    dice = np.random.default_rng([seed, 77])
    depth = np.arange(LAYERS)
    if kind == "sparse":
        use = np.zeros(LAYERS)
        use[dice.choice(LAYERS, 4, replace=False)] = dice.uniform(4, 9, 4)
    else:
        use = 3.0 * np.exp(-0.5 * ((depth - dice.uniform(5, 19)) / dice.uniform(2, 4)) ** 2)

    def measure(config: TrialConfig, noise: float) -> list[float]:
        growth = config.growth()
        chosen = sorted(int(name.split(".")[1]) for name in growth)
        if not chosen:
            return [40.0 + noise, 0.02]
        neurons = next(iter(growth.values()))
        width = (1 - math.exp(-neurons / 128)) * GAIN[config.criterion] * (0.7 + 0.3 * config.keep)
        gain = sum(use[at] for at in chosen) * width
        crowd = 0.15 * len(chosen)  # more trainable parameters than the data can settle
        error = 5 + 35 * math.exp(-gain / 14) + crowd + noise
        ratio = 0.02 + 0.9 * (LAYERS - chosen[0]) / LAYERS + 0.006 * len(chosen) * math.log2(1 + neurons / 16)
        return [error, min(ratio, 1.2)]

    return measure


def ours(sampler: str, anchors: bool = True) -> Callable[[Landscape, int, int], list[list[float]]]:
    def run(measure: Landscape, trials: int, seed: int) -> list[list[float]]:
        asked = spec(trials, seed, sampler, anchors)
        study = Study(asked, open_space(asked), None, [])
        noise = np.random.default_rng([seed, 5]).normal(0, 0.5, trials)
        found = []
        for number in range(trials):
            proposal = study.ask(number)
            assert proposal is not None
            found.append(measure(proposal.config, float(noise[number])))
            metrics = dict(zip(("dev_eer", "backward_ratio"), found[-1], strict=True))
            study.tell(
                TrialRecord(number, proposal.config.trial_id(), "search", None, proposal.params, {},
                            state="done", metrics=metrics, fidelity=1.0)
            )  # fmt: skip
        return found

    return run


def plain(make: Callable[[int], Any]) -> Callable[[Landscape, int, int], list[list[float]]]:
    def run(measure: Landscape, trials: int, seed: int) -> list[list[float]]:
        space: Space = open_space(spec(trials, seed, "random"))
        study = optuna.create_study(directions=["minimize"] * 2, sampler=make(seed))
        noise = np.random.default_rng([seed, 5]).normal(0, 0.5, trials)
        known = distributions(space)
        found = []
        for number in range(trials):
            trial = study.ask(known)
            found.append(measure(space.config(trial.params), float(noise[number])))
            study.tell(trial, found[-1])
        return found

    return run


ARMS: dict[str, Callable[[Landscape, int, int], list[list[float]]]] = {
    "ours": ours("auto"),
    "ours, no anchors": ours("auto", anchors=False),
    "random": plain(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    "random, sizes alike": ours("random"),
    "TPE on/off": plain(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "NSGA-II": plain(lambda seed: optuna.samplers.NSGAIISampler(seed=seed)),
}


def volumes(values: list[list[float]]) -> list[float]:
    """Hypervolume after each trial."""
    return [float(hypervolume(values[: at + 1], ["min", "min"], REFERENCE)) for at in range(len(values))]


def report(results: dict[str, dict[str, list[list[float]]]], trials: int) -> str:
    """Mean volumes relative to the best of the seed, and paired tests of ours against each arm at the end."""
    marks = sorted({trials // 4, trials // 2, trials})
    lines = []
    for kind, arms in results.items():
        curves = {arm: np.array(runs) for arm, runs in arms.items()}
        best = np.max([one.max(axis=1) for one in curves.values()], axis=0)
        heads = " | ".join(f"after {mark}" for mark in marks)
        lines += [f"| {kind} | {heads} | ours against it | p | reached random's last |",
                  "|" + "---|" * (len(marks) + 4)]  # fmt: skip
        target = curves["random"][:, -1].mean() - 1e-9
        for arm, one in curves.items():
            relative = one / best[:, None]
            row = [f"{relative[:, m - 1].mean():.3f} ± {relative[:, m - 1].std():.3f}" for m in marks]
            if arm != "ours":
                gap = curves["ours"][:, -1] - one[:, -1]
                p = wilcoxon(gap, alternative="greater").pvalue
                row += [f"{(gap > 0).sum()} of {len(gap)} seeds", f"{p:.1e}"]
            else:
                row += ["", ""]
            mean = one.mean(axis=0)
            reached = int(np.argmax(mean >= target)) + 1 if (mean >= target).any() else 0
            lines.append(f"| {arm} | {' | '.join(row)} | {f'trial {reached}' if reached else 'never'} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", default=["sparse", "smooth"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    results: dict[str, dict[str, list[list[float]]]] = {kind: {arm: [] for arm in ARMS} for kind in options.kinds}
    start = time.time()
    for kind in options.kinds:
        for seed in range(options.seeds):
            for arm, run in ARMS.items():
                results[kind][arm].append(volumes(run(landscape(kind, seed), options.trials, seed)))
            print(f"{kind} seed {seed}: {time.time() - start:.0f} s", flush=True)
            if options.out:
                options.out.write_text(json.dumps(results))
    print(report(results, options.trials))


if __name__ == "__main__":
    main()
