"""Does knowledge carry over? Sweeps told of an earlier one against cold ones, on like tasks and on unlike ones.

    python benchmarks/warm_start.py --seeds 20

Each seed runs an earlier sweep on one task, then two sweeps on another: cold, and with the earlier one in
`search.warm_start`, through a table as that reads it. Landscapes are those of search.py; to a like task one with other
useful layers adds three tenths, an unlike one is that alone. Of the recorded table a like task is judged before removal
(dev_eer_grown), an unlike one has its sites in another order. Volumes are of true values, noise left out. Two further
arms show what does it: openings alone, and weighed trials alone.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import record_table
import search
from results import Cell, Table, write

from plastsearch.pareto.front import hypervolume
from plastsearch.search.space import open_space
from plastsearch.search.study import Study
from plastsearch.search.warm_start import learn
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.domains import Params
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.records import TrialRecord

LIKE = 0.7  # of a like task's EER comes from the task itself
NOISE = 2.0  # of an EER on the landscapes, in points: as much as real sweeps showed between seeds
ARMS = ("cold", "warm", "openings alone", "weights alone")
Worth = Callable[[TrialConfig], list[float]]


@dataclass(frozen=True)
class Task:
    """A space, what its configurations are truly worth, and how far one run of them scatters."""

    spec: Callable[[int, int], SweepSpec]
    worth: Worth
    reference: tuple[float, float]
    noise: float


@dataclass(frozen=True)
class Trials:
    """What a sweep tried: flat parameters, what was measured, what is true."""

    params: list[Params]
    measured: list[list[float]]
    true: list[list[float]]


def landscapes(kind: str, seed: int) -> dict[str, Task]:
    """The task of this seed, one like it, and one that is not."""
    own, other = (_without_noise(search.landscape(kind, at)) for at in (seed, seed + 1000))

    def like(config: TrialConfig) -> list[float]:
        one, two = own(config), other(config)
        return [LIKE * one[0] + (1 - LIKE) * two[0], one[1]]

    def task(worth: Worth) -> Task:
        return Task(lambda trials, at: search.spec(trials, at, "auto"), worth, (50.0, 1.1), NOISE)

    return {name: task(worth) for name, worth in (("own", own), ("like", like), ("unlike", other))}


def _without_noise(measure: search.Landscape) -> Worth:
    return lambda config: measure(config, 0.0)


def recorded(seed: int) -> dict[str, Task]:
    """The recorded table, its EER before removal, and the table with its sites in another order."""
    rows = pq.read_table(record_table.TABLE).to_pylist()
    sites = sorted({name for row in rows for name in row["layers"].split(",") if name})
    shuffled = dict(zip(sites, np.random.default_rng([seed, 43]).permutation(sites), strict=True))
    most = max(row["backward_gflop"] for row in rows)

    def task(metric: str, names: dict[str, str]) -> Task:
        found = {(r["layers"], r["neurons"], r["criterion"]): [r[metric], r["backward_gflop"]] for r in rows}

        def worth(config: TrialConfig) -> list[float]:
            growth = config.growth()
            layers = ",".join(sorted(names[name] for name in growth))
            return found[(layers, next(iter(growth.values())), config.criterion)]

        return Task(lambda trials, at: record_table.spec(trials, at, "auto"), worth, (50.0, 1.1 * most), 0.0)

    same = {name: name for name in sites}
    return {"own": task("dev_eer", same), "like": task("dev_eer_grown", same), "unlike": task("dev_eer", shuffled)}


def tasks_of(kind: str, seed: int) -> dict[str, Task]:
    """The tasks of a landscape or of the table."""
    return recorded(seed) if kind == "recorded" else landscapes(kind, seed)


def sweep(
    task: Task,
    trials: int,
    seed: int,
    source: Path | None = None,
    only: str | None = None,
    change: Callable[[Study], None] = lambda study: None,  # noqa: ARG005
) -> Trials:
    """One sweep; `only` takes the openings or the weighed trials out of what it was told."""
    asked = task.spec(trials, seed)
    space = open_space(asked)
    earlier = None
    if source is not None:
        told = asked.search.model_copy(update={"warm_start": (str(source),)})
        asked = asked.model_copy(update={"search": told})
        earlier = learn(asked, space)
        if only == "openings alone":
            earlier = earlier.model_copy(update={"sweeps": []})
        elif only == "weights alone":
            earlier = earlier.model_copy(update={"openings": []})
    study = Study(asked, space, None, [], None, earlier)
    change(study)
    noise = np.random.default_rng([seed, 5]).normal(0, task.noise, trials) if task.noise else np.zeros(trials)
    found = Trials([], [], [])
    for number in range(trials):
        proposal = study.ask(number)
        assert proposal is not None
        true = task.worth(proposal.config)
        measured = [true[0] + float(noise[number]), *true[1:]]
        metrics = dict(zip((one.metric for one in asked.objectives), measured, strict=True))
        study.tell(TrialRecord(number, proposal.config.trial_id(), "search", None, proposal.params, {},
                               state="done", metrics=metrics, fidelity=1.0))  # fmt: skip
        found.params.append(proposal.params)
        found.measured.append(measured)
        found.true.append(true)
    return found


def told(task: Task, found: Trials, path: Path) -> Path:
    """The trials of a sweep as a table."""
    names = [one.metric for one in task.spec(1, 0).objectives]
    rows = [
        {f"params.{name}": value for name, value in params.items()} | dict(zip(names, values, strict=True))
        for params, values in zip(found.params, found.measured, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def curve(task: Task, found: Trials) -> list[float]:
    """True hypervolume after each trial."""
    ends = range(1, len(found.true) + 1)
    return [float(hypervolume(found.true[:end], ["min", "min"], task.reference)) for end in ends]


def curves(kind: str, seeds: int, trials: int, folder: Path) -> dict[tuple[str, str], np.ndarray]:
    """Of every pair of tasks and every arm the volumes, one row for each seed."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    start = time.time()
    for seed in range(seeds):
        tasks = tasks_of(kind, seed)
        own = tasks["own"]
        cold = curve(own, sweep(own, trials, seed))
        for relation in ("same", "like", "unlike"):
            earlier = tasks["own" if relation == "same" else relation]
            table = told(earlier, sweep(earlier, trials, seed + 500), folder / "earlier.parquet")
            for arm in ARMS:
                one = cold if arm == "cold" else curve(own, sweep(own, trials, seed, table, arm))
                found.setdefault((relation, arm), []).append(one)
        print(f"{kind} seed {seed}: {time.time() - start:.0f} s", flush=True)
    return {key: np.array(runs) for key, runs in found.items()}


def report(kind: str, found: dict[tuple[str, str], np.ndarray], trials: int) -> Table:
    """Volumes as shares of the cold sweep's last one, when the mean reaches it, and paired tests against cold."""
    marks = sorted({trials // 4, trials // 2, trials})
    heads = [(head, "") for head in (kind, "arm", *(f"after {mark}" for mark in marks))]
    heads += [
        ("reaches cold's last", ""),
        (f"at {trials // 2} as far as cold at {trials}", ""),
        ("p ahead", ""),
        ("p behind", ""),
    ]
    rows: list[list[Cell]] = []
    for (relation, arm), volumes in found.items():
        cold = found[relation, "cold"]
        last = cold[:, -1].mean()
        mean = volumes.mean(axis=0)
        reached = int(np.argmax(mean >= last)) + 1 if (mean >= last).any() else 0
        gaps = [volumes[:, mark - 1] - cold[:, mark - 1] for mark in marks]
        half = int((volumes[:, trials // 2 - 1] >= cold[:, -1]).sum())
        tests = [", ".join(f"{search.p_value(gap, side):.1g}" for gap in gaps) for side in ("greater", "less")]
        shares = [f"{mean[mark - 1] / last:.3f}" for mark in marks]
        tail = [f"trial {reached}" if reached else "never", f"{half} of {len(volumes)}", *tests]
        rows.append([relation, arm, *shares, *(tail if arm != "cold" else [f"trial {reached}", "", "", ""])])
    table = Table(heads, rows)
    print(table.markdown())
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", default=["recorded", "sparse", "smooth"])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            trials = min(options.trials, 60) if kind == "recorded" else options.trials  # of 252 there are
            tables[kind] = report(kind, curves(kind, options.seeds, trials, Path(folder)), trials)
    write("warm_start", tables) if options.seeds >= 10 else None


if __name__ == "__main__":
    main()
