"""Search quality of our default against samplers, ours and others', on recorded trials and on landscapes of our making.

    python benchmarks/search.py --seeds 20

`recorded` comes first: every lookup is one real trial with one of the recorded seeds, drawn anew for each trial number
and alike for all arms, and what an arm hands its user, the front of what it measured, is judged by true means over all
seeds (recorded.py). `sparse` and `smooth` are landscapes of 24 layers: four random layers help, or a bump over depth.
Both saturate with neurons, are noisy (one draw per trial) and cost what the lowest chosen layer
costs. Arms: search_arms.py.
"""

import argparse
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
import recorded
from numpy.typing import NDArray
from results import Cell, Table, write
from scipy.stats import wilcoxon
from search_arms import ARMS, Spec, Task, Tried

from plastsearch.pareto.front import front, hypervolume
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.sweep import SweepSpec

LAYERS = 24
SIGNIFICANT = 0.05
OURS = "ours"
NOISE = 0.5  # of a landscape's trial, in points of EER
TRIALS = {"recorded": 60, "sparse": 100, "smooth": 100}  # a third of the recorded space
GOALS = ("min", "min")
GAIN = {"taylor": 1.0, "fisher": 0.95, "magnitude": 0.8, "random": 0.6}
Landscape = Callable[[TrialConfig, float], list[float]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """What is asked, what trial `number` shows, what a configuration is truly worth, and how good it can get."""

    spec: Spec
    measure: Callable[[TrialConfig, int], list[float]]
    truth: Callable[[TrialConfig], list[float]]
    reference: tuple[float, float]
    volume: float | None = None  # of the true front, where that is known
    lowest: float | None = None  # true first objective

    @property
    def task(self) -> Task:
        """As an arm sees it."""
        return Task(self.spec, self.measure)


def spec(trials: int, seed: int, sampler: str = "auto", anchors: bool = True) -> SweepSpec:
    """The space of the landscapes."""
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
    """The landscape of that seed, or the recorded table, of which a seed draws other runs."""
    if kind == "recorded":
        return looked_up(recorded.load(), seed)
    shape = landscape(kind, seed)
    luck = np.random.default_rng([seed, 5]).normal(0, NOISE, 10_000)
    return Problem(spec, lambda config, number: shape(config, float(luck[number])), lambda config: shape(config, 0.0),
                   (50.0, 1.1))  # fmt: skip


def looked_up(table: recorded.Recorded, seed: int) -> Problem:
    """Real trials, each with one seed of those recorded."""
    drawn = np.random.default_rng([seed, 5]).choice(table.seeds, 10_000)
    return Problem(
        recorded.space_spec, lambda config, number: table.value(config, int(drawn[number])), table.truth,
        table.reference, hypervolume(table.true_front, GOALS, table.reference), float(table.truths[:, 0].min()),
    )  # fmt: skip


def handed_over(tried: list[Tried], asked: Problem) -> Floats:
    """True values of the front that an arm would show, by what it measured; the best measured EER first."""
    measured = np.array([one.measured for one in tried])
    members = np.flatnonzero(front(measured, GOALS))
    members = members[np.argsort(measured[members, 0], kind="stable")]
    return np.array([asked.truth(tried[at].config) for at in members])


def judged(tried: list[Tried], asked: Problem, marks: list[int]) -> dict[str, list[float]]:
    """After so many trials: the true volume of the reported front, and the true EER of the one reported as best."""
    fronts = [handed_over(tried[:mark], asked) for mark in marks]
    return {
        "volume": [float(hypervolume(one, GOALS, asked.reference)) for one in fronts],
        "eer": [float(one[0, 0]) for one in fronts],
    }


def marks_of(trials: int) -> list[int]:
    """When arms are compared."""
    return sorted({trials // 4, trials // 2, trials})


def p_value(gap: Any, alternative: str) -> float:
    """Paired Wilcoxon test; no difference at all is no evidence."""
    return float(wilcoxon(gap, alternative=alternative).pvalue) if np.any(gap) else 1.0


def report(kind: str, results: dict[str, list[dict[str, list[float]]]], marks: list[int]) -> Table:
    """Shares of the true front's volume and regrets, with paired tests of ours against each arm."""
    volume = {arm: np.array([one["volume"] for one in runs]) for arm, runs in results.items()}
    lowest = {arm: np.array([one["eer"] for one in runs]) for arm, runs in results.items()}
    asked = problem(kind, 0)
    # Of a landscape only what some arm has found is known.
    whole = asked.volume if asked.volume is not None else np.max([one.max(axis=1) for one in volume.values()], axis=0)
    best = asked.lowest if asked.lowest is not None else np.min([one.min(axis=1) for one in lowest.values()], axis=0)
    heads = [(kind, ""), *((f"volume after {mark}", ".3f") for mark in marks), ("regret, points", ".2f"),
             ("ours ahead in", ""), ("p ours ahead", ""), ("p ours behind", "")]  # fmt: skip
    rows: list[list[Cell]] = []
    for arm in results:
        share = volume[arm] / np.reshape(whole, (-1, 1))
        regret = float((lowest[arm][:, -1] - best).mean())
        cells: list[Cell] = [arm, *(float(mean) for mean in share.mean(axis=0)), regret]
        if arm == OURS:
            rows.append([*cells, "", "", ""])
            continue
        gaps = [volume[OURS][:, at] - volume[arm][:, at] for at in range(len(marks))]
        ahead = f"{(gaps[-1] > 0).sum()} of {len(gaps[-1])}"
        tests = (", ".join(f"{p_value(gap, side):.1g}" for gap in gaps) for side in ("greater", "less"))
        rows.append([*cells, ahead, *tests])
    return Table(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, help="of each run; default: 60 on the table, 100 on landscapes")
    parser.add_argument("--kinds", nargs="+", default=list(TRIALS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--out", type=Path, help="keep every run's figures here, as JSON")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    start = time.time()
    kept: dict[str, Any] = {}
    tables: dict[str, Table] = {}
    for kind in options.kinds:
        trials = options.trials or TRIALS[kind]
        marks = marks_of(trials)
        results: dict[str, list[dict[str, list[float]]]] = {arm: [] for arm in options.arms}
        for seed in range(options.seeds):
            asked = problem(kind, seed)
            for arm in options.arms:
                results[arm].append(judged(ARMS[arm](asked.task, trials, seed), asked, marks))
            print(f"{kind} seed {seed}: {time.time() - start:.0f} s", flush=True)
        kept[kind] = results
        tables[kind] = report(kind, results, marks)
        print(f"{tables[kind].markdown()}\n")
        if options.out:
            options.out.write_text(json.dumps(kept))
    write("search", tables)


if __name__ == "__main__":
    main()
