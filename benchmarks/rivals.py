"""Two light rivals of our TPE, 20 runs each on the same tasks: who wins goes into the product, who does not stays here.

    python benchmarks/rivals.py --seeds 20

`forest` (rival_forest.py): random forests, expected gain in hypervolume, local search. `trust region`
(rival_trust.py): our TPE held near the front. All begin with the same anchors and random points; they are told noisy
values and judged by true ones. Further tables are of sweeps that repeat trials, by the true worth of the front they
show: does TPE gain (`by certainty`, rival_certain.py) if trials count by how often they ran?
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import optuna
import search
from results import Cell, Table, write
from rival_certain import replicated
from rival_forest import Forest
from rival_trust import TrustSampler
from warm_start import Task, Trials, curve, sweep, tasks_of

from plastsearch.pareto.front import hypervolume
from plastsearch.search.space import open_space
from plastsearch.search.study import Study

Arm = Callable[[Task, int, int], Trials]


def forest(task: Task, trials: int, seed: int) -> Trials:
    """Random forests."""
    space = open_space(task.spec(trials, seed))
    rival = Forest(space, seed, trials)
    found = Trials([], [], [])
    for number in range(trials):
        params = rival.ask()
        config = space.config(params)
        true, measured = task.worth(config), task.run(config, number, 0, seed)
        rival.tell(measured)
        found.params.append(params)
        found.measured.append(measured)
        found.true.append(true)
    return found


def trust(task: Task, trials: int, seed: int) -> Trials:
    """Our study with another sampler in it."""

    def changed(study: Study) -> None:
        goals = [one.goal for one in study.spec.objectives]
        startup = min(10, max(4, trials // 4))
        study._sampler = TrustSampler(study.space, goals, "tpe", seed, startup)

    return sweep(task, trials, seed, change=changed)


ARMS: dict[str, Arm] = {"ours": sweep, "forest": forest, "trust region": trust}
REPLICATED: dict[str, Arm] = {
    "ours": partial(replicated, certain=False),
    "by certainty": partial(replicated, certain=True),
}


def chosen(task: Task, found: Trials) -> list[float]:
    """True hypervolume of the front that a sweep shows, after each of its runs."""
    return [float(hypervolume(members, ["min", "min"], task.reference)) for members in found.true]


def report(kind: str, found: dict[str, list[list[float]]], trials: int) -> Table:
    """Volumes as shares of the best that any arm reached with that seed, and each rival paired with ours."""
    marks = sorted({trials // 4, trials // 2, trials})
    curves = {arm: np.array(runs) for arm, runs in found.items()}
    best = np.max([one.max(axis=1) for one in curves.values()], axis=0)
    heads = [
        (head, "") for head in (kind, *(f"after {mark}" for mark in marks), "won, lost", "p rival ahead", "p behind")
    ]
    rows: list[list[Cell]] = []
    for arm, one in curves.items():
        shares = one / best[:, None]
        cells: list[Cell] = [f"{shares[:, mark - 1].mean():.3f} ± {shares[:, mark - 1].std():.3f}" for mark in marks]
        if arm != "ours":
            gaps = [one[:, mark - 1] - curves["ours"][:, mark - 1] for mark in marks]
            cells.append(f"{(gaps[-1] > 0).sum()}, {(gaps[-1] < 0).sum()}")
            cells += [", ".join(f"{search.p_value(gap, side):.1g}" for gap in gaps) for side in ("greater", "less")]
        rows.append([arm, *cells, *([""] * 3 if arm == "ours" else [])])
    table = Table(heads, rows)
    print(table.markdown(), flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", default=["recorded", "sparse", "smooth"])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tables = {}
    start = time.time()
    for kind in [*options.kinds, *(f"{kind}, repeated" for kind in options.kinds)]:
        repeats = kind.endswith("repeated")
        arms, curve_of = (REPLICATED, chosen) if repeats else (ARMS, curve)
        trials = options.trials
        found: dict[str, list[list[float]]] = {arm: [] for arm in arms}
        seconds = dict.fromkeys(arms, 0.0)
        for seed in range(options.seeds):
            task = tasks_of(kind.removesuffix(", repeated"), seed)["own"]
            for arm, run in arms.items():
                began = time.process_time()
                found[arm].append(curve_of(task, run(task, trials, seed)))
                seconds[arm] += time.process_time() - began
            print(f"{kind} seed {seed}: {time.time() - start:.0f} s", flush=True)
        tables[kind.replace(", ", "_")] = report(kind, found, trials)
        print({arm: f"{1e3 * one / options.seeds / trials:.0f} ms a proposal" for arm, one in seconds.items()})
    write("rivals", tables)


if __name__ == "__main__":
    main()
