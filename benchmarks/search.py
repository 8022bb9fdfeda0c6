"""Search quality of our default against random, plain TPE on/off and NSGA-II, on landscapes and on recorded trials.

    python benchmarks/search.py --seeds 20 --trials 100 --out search.json

`sparse` and `smooth` are landscapes of 24 layers: four random layers help, or a bump over depth. Both saturate with
neurons, are noisy (one draw per trial) and cost what the lowest chosen layer costs, which back-propagation must reach.
`recorded` looks trials up in recorded.parquet, every combination of a small real sweep (see record_table.py). Its
baseline, which every sweep runs beside the search, is in the volume of every arm from the start; `--baseline drawn`
counts it only for arms that draw the empty subset, which our space forbids, `--baseline never` for none.
Plain arms sample the same flat parameters through Optuna as a user would: no anchors, no repair, repetitions count as
trials, an empty subset counts as training nothing (recorded: as the baseline).
"""

import argparse
import functools
import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow.parquet as pq
import record_table
from results import Cell, Table, write
from scipy.stats import wilcoxon

from plastsearch.pareto.front import hypervolume
from plastsearch.search.samplers import distributions
from plastsearch.search.space import Space, open_space
from plastsearch.search.study import Study
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.records import TrialRecord

LAYERS = 24
SIGNIFICANT = 0.05
BASELINE = ("", 0, "")  # its row of the table: no layers, no neurons, no criterion
GAIN = {"taylor": 1.0, "fisher": 0.95, "magnitude": 0.8, "random": 0.6}
Landscape = Callable[[TrialConfig, float], list[float]]


@dataclass(frozen=True)
class Problem:
    """What is asked, what a configuration turns out to be worth, and how good it can get, if that is known."""

    spec: Callable[..., SweepSpec]
    measure: Landscape
    reference: tuple[float, float]
    baseline: list[float] | None = None
    best: float | None = None


Arm = Callable[[Problem, int, int], list[list[float]]]


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
    rng = np.random.default_rng([seed, 77])
    depth = np.arange(LAYERS)
    if kind == "sparse":
        use = np.zeros(LAYERS)
        use[rng.choice(LAYERS, 4, replace=False)] = rng.uniform(4, 9, 4)
    else:
        use = 3.0 * np.exp(-0.5 * ((depth - rng.uniform(5, 19)) / rng.uniform(2, 4)) ** 2)

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


def problem(kind: str, seed: int) -> Problem:
    """The landscape of that seed, or the recorded table, which has one face for all seeds."""
    if kind == "recorded":
        return recorded(record_table.TABLE)
    return Problem(spec, landscape(kind, seed), (50.0, 1.1))


@functools.cache
def recorded(path: Path) -> Problem:
    """Trials looked up in a table; its reference point lies a tenth beyond the most expensive of them."""
    rows = pq.read_table(path).to_pylist()
    found = {(r["layers"], r["neurons"], r["criterion"]): [r["dev_eer"], r["backward_gflop"]] for r in rows}
    reference = (50.0, 1.1 * max(gflop for _, gflop in found.values()))

    def measure(config: TrialConfig, noise: float) -> list[float]:  # noqa: ARG001 the recorded trials have their own
        growth = config.growth()
        neurons = next(iter(growth.values()), 0)
        return found[(",".join(growth), neurons, config.criterion) if growth else BASELINE]

    best = float(hypervolume(list(found.values()), ["min", "min"], reference))
    return Problem(record_table.spec, measure, reference, found[BASELINE], best)


def ours(sampler: str, anchors: bool = True) -> Arm:
    def run(asked: Problem, trials: int, seed: int) -> list[list[float]]:
        sweep = asked.spec(trials, seed, sampler, anchors)
        study = Study(sweep, open_space(sweep), None, [])
        noise = np.random.default_rng([seed, 5]).normal(0, 0.5, trials)
        found = []
        for number in range(trials):
            proposal = study.ask(number)
            assert proposal is not None
            found.append(asked.measure(proposal.config, float(noise[number])))
            metrics = dict(zip((one.metric for one in sweep.objectives), found[-1], strict=True))
            study.tell(
                TrialRecord(number, proposal.config.trial_id(), "search", None, proposal.params, {},
                            state="done", metrics=metrics, fidelity=1.0)
            )  # fmt: skip
        return found

    return run


def plain(make: Callable[[int], Any]) -> Arm:
    def run(asked: Problem, trials: int, seed: int) -> list[list[float]]:
        space: Space = open_space(asked.spec(trials, seed, "random"))
        study = optuna.create_study(directions=["minimize"] * 2, sampler=make(seed))
        noise = np.random.default_rng([seed, 5]).normal(0, 0.5, trials)
        known = distributions(space)
        found = []
        for number in range(trials):
            trial = study.ask(known)
            found.append(asked.measure(space.config(trial.params), float(noise[number])))
            study.tell(trial, found[-1])
        return found

    return run


ARMS: dict[str, Arm] = {
    "ours": ours("auto"),
    "ours, no anchors": ours("auto", anchors=False),
    "random": plain(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    "random, sizes alike": ours("random"),
    "TPE on/off": plain(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "NSGA-II": plain(lambda seed: optuna.samplers.NSGAIISampler(seed=seed)),
}


def volumes(values: list[list[float]], asked: Problem, baseline: str = "known") -> list[float]:
    """Hypervolume after each trial."""
    points = [asked.baseline] if asked.baseline and baseline == "known" else []
    found = []
    for value in values:
        points += [value] if baseline != "never" or value != asked.baseline else []
        found.append(float(hypervolume(points, ["min", "min"], asked.reference)) if points else 0.0)
    return found


def p_value(gap: Any, alternative: str) -> float:
    """Paired Wilcoxon test; no difference at all is no evidence."""
    return float(wilcoxon(gap, alternative=alternative).pvalue) if np.any(gap) else 1.0


def compared(ours: Any, other: Any, marks: list[int]) -> tuple[list[str], list[int]]:
    """The cells of an arm that ours is tested against, and after how many trials ours is significantly behind."""
    gaps = {mark: ours[:, mark - 1] - other[:, mark - 1] for mark in marks}
    last = gaps[marks[-1]]
    wins = f"{(last > 0).sum()} won, {(last < 0).sum()} lost"
    tests = [[p_value(gap, side) for gap in gaps.values()] for side in ("greater", "less", "two-sided")]
    behind = [mark for mark, p in zip(marks, tests[1], strict=True) if p < SIGNIFICANT]
    return [wins, *(", ".join(f"{p:.1g}" for p in one) for one in tests)], behind


def report(results: dict[str, dict[str, list[list[float]]]], trials: int) -> dict[str, Table]:
    """Mean volumes as a share of the best there is, and paired tests of ours against each arm; prints who is ahead."""
    marks = sorted({trials // 4, trials // 2, trials})
    tables = {}
    for kind, arms in results.items():
        curves = {arm: np.array(runs) for arm, runs in arms.items()}
        highest = np.max([one.max(axis=1) for one in curves.values()], axis=0)
        best = np.full_like(highest, problem(kind, 0).best or np.nan)
        best = np.where(np.isnan(best), highest, best)  # of a landscape only what some arm has found is known
        tests_of_ours = ("ours", "p ours ahead", "p ours behind", "p either", "reached random's last")
        heads = [(head, "") for head in (kind, *(f"after {mark}" for mark in marks), *tests_of_ours)]
        rows: list[list[Cell]] = []
        target = curves["random"][:, -1].mean() - 1e-9
        losses = []
        for arm, one in curves.items():
            relative = one / best[:, None]
            cells = [f"{relative[:, m - 1].mean():.3f} ± {relative[:, m - 1].std():.3f}" for m in marks]
            tests, behind = compared(curves["ours"], one, marks) if arm != "ours" else ([""] * 4, [])
            losses += [f"{arm} after {mark}" for mark in behind]
            mean = one.mean(axis=0)
            reached = int(np.argmax(mean >= target)) + 1 if (mean >= target).any() else 0
            cells += [*tests, f"trial {reached}" if reached else "never"]
            rows.append([arm, *cells])
        tables[kind] = Table(heads, rows)
        print(f"{tables[kind].markdown()}\n\n{kind}: significantly behind: {', '.join(losses) or 'none'}\n")
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", default=["recorded", "sparse", "smooth"])
    parser.add_argument(
        "--baseline", choices=["known", "drawn", "never"], default="known", help="of the recorded table"
    )
    parser.add_argument("--out", type=Path, help="keep the curves of every seed here, as JSON")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    results: dict[str, dict[str, list[list[float]]]] = {kind: {arm: [] for arm in ARMS} for kind in options.kinds}
    start = time.time()
    for kind in options.kinds:
        for seed in range(options.seeds):
            asked = problem(kind, seed)
            for arm, run in ARMS.items():
                results[kind][arm].append(volumes(run(asked, options.trials, seed), asked, options.baseline))
            print(f"{kind} seed {seed}: {time.time() - start:.0f} s", flush=True)
            if options.out:
                options.out.write_text(json.dumps(results))
    write("search", report(results, options.trials))


if __name__ == "__main__":
    main()
