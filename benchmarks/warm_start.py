"""Does knowledge carry over? Sweeps told of an earlier one against cold ones, on like tasks and on unlike ones.

    python benchmarks/warm_start.py --seeds 20

Each seed runs an earlier sweep on one task, then two sweeps on another: cold, and with the earlier one in
`search.warm_start`, through a table as that reads it. Landscapes are those of search.py; to a like task one with other
useful layers adds three tenths, an unlike one is that alone. `recorded` looks real trials up in recorded.parquet:
earlier sweeps are of the same space with another seed (of those the table has), judged before removal, or have their
sites in another order. Volumes are of true values: means over seeds, noise left out. Further arms show what does it:
openings alone, and weighed trials alone.
"""

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
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
EARLIER = 500  # added to the seed of the earlier sweep
COST = "backward_gflop"
TABLE = Path(__file__).with_name("recorded.parquet")
ARMS = ("cold", "warm", "openings alone", "weights alone")
Worth = Callable[[TrialConfig], list[float]]


@dataclass(frozen=True)
class Task:
    """A space, what its configurations are truly worth, and what one of their runs shows."""

    spec: Callable[[int, int], SweepSpec]
    worth: Worth
    run: Callable[[TrialConfig, int, int, int], list[float]]  # of trial number, seed offset and sweep
    reference: tuple[float, float]


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
        def run(config: TrialConfig, number: int, offset: int, at: int) -> list[float]:
            # The n-th trial has the same luck in every arm.
            key = [at, 5, number, offset] if offset else [at, 5]
            luck = np.random.default_rng(key).normal(0, NOISE, 1 if offset else number + 1)[-1]
            return [worth(config)[0] + float(luck), *worth(config)[1:]]

        return Task(lambda trials, at: search.spec(trials, at, "auto"), worth, run, (50.0, 1.1))

    return {name: task(worth) for name, worth in (("own", own), ("like", like), ("unlike", other))}


def _without_noise(measure: search.Landscape) -> Worth:
    return lambda config: measure(config, 0.0)


def tables(seed: int) -> dict[str, Task]:
    """The recorded table, the same before removal, and the table with its sites in another order."""
    asked, found, seeds = recorded()
    sites = [*open_space(asked).candidates]
    shuffled = dict(zip(sites, np.random.default_rng([seed, 43]).permutation(sites), strict=True))
    order = np.random.default_rng([seed, 11]).permutation(seeds)
    most = max(row[COST] for runs in found.values() for row in runs.values())

    def task(metric: str, renamed: Mapping[str, str]) -> Task:
        def runs_of(config: TrialConfig) -> dict[int, dict[str, float]]:
            layers = sorted((renamed[name] for name in config.layers), key=sites.index)
            return found[_key({**config.model_dump(mode="json"), "layers": ",".join(layers),
                               "neurons": next(iter(config.growth().values()))})]  # fmt: skip

        def worth(config: TrialConfig) -> list[float]:
            runs = runs_of(config).values()
            return [float(np.mean([one[name] for one in runs])) for name in (metric, COST)]

        # A sweep's trials share a seed, as real ones do: the first of its own order of those that were recorded.
        def run(config: TrialConfig, number: int, offset: int, at: int) -> list[float]:  # noqa: ARG001 seeds decide
            one = runs_of(config)[int(order[(offset + (at >= EARLIER)) % len(order)])]
            return [one[metric], one[COST]]

        def spec(trials: int, at: int) -> SweepSpec:
            changed = {"trials": trials, "seed": at, "sampler": "auto", "parallel": None}
            return asked.model_copy(update={"search": asked.search.model_copy(update=changed)})

        return Task(spec, worth, run, (50.0, 1.1 * most))

    same = {name: name for name in sites}
    like, unlike = task("dev_eer_grown", same), task("dev_eer", shuffled)
    return {"own": task("dev_eer", same), "before removal": like, "unlike": unlike}


@functools.cache
def recorded() -> tuple[SweepSpec, dict[str, dict[int, dict[str, float]]], list[int]]:
    """The space that was recorded, what every point did with each seed, and the seeds that all points have."""
    table = pq.read_table(TABLE)
    plain = json.loads(table.schema.metadata[b"sweep"])
    start = plain["base"]["model"].get("from")
    if start is not None:  # an encoder that lies beside the table
        plain["base"]["model"]["from"] = str(TABLE.with_name(start))
    found: dict[str, dict[int, dict[str, float]]] = {}
    for row in table.to_pylist():
        if row["layers"]:
            found.setdefault(_key(row), {})[row.get("seed", 0)] = row
    seeds = set.intersection(*(set(runs) for runs in found.values()))
    return SweepSpec.model_validate(plain), found, sorted(seeds)


def _key(row: Mapping[str, object]) -> str:
    """What makes a point, apart from its seed; a table without regimes has frozen trials alone."""
    return ";".join(str(row.get(name, "frozen")) for name in ("layers", "neurons", "criterion", "regime"))


def tasks_of(kind: str, seed: int) -> dict[str, Task]:
    """The tasks of a landscape or of the table."""
    return tables(seed) if kind == "recorded" else landscapes(kind, seed)


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
    found = Trials([], [], [])
    for number in range(trials):
        proposal = study.ask(number)
        assert proposal is not None
        true, measured = task.worth(proposal.config), task.run(proposal.config, number, 0, seed)
        metrics = dict(zip((one.metric for one in asked.objectives), measured, strict=True))
        study.tell(TrialRecord(number, proposal.config.trial_id(), "search", None, proposal.params, {},
                               state="done", metrics=metrics, fidelity=1.0))  # fmt: skip
        found.params.append(proposal.params)
        found.measured.append(measured)
        found.true.append(true)
    return found


def told(task: Task, found: Trials, folder: Path) -> Path:
    """The trials of a sweep as a table."""
    names = [one.metric for one in task.spec(1, 0).objectives]
    rows = [
        {f"params.{name}": value for name, value in params.items()} | dict(zip(names, values, strict=True))
        for params, values in zip(found.params, found.measured, strict=True)
    ]
    path = Path(tempfile.mkdtemp(dir=folder)) / "earlier.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def curve(task: Task, found: Trials) -> list[float]:
    """True hypervolume after each trial."""
    ends = range(1, len(found.true) + 1)
    return [float(hypervolume(found.true[:end], ["min", "min"], task.reference)) for end in ends]


def curves(
    kind: str, seeds: int, trials: int, folder: Path, arms: Sequence[str] = ARMS
) -> dict[tuple[str, str], np.ndarray]:
    """Of every pair of tasks and every arm the volumes, one row for each seed."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    start = time.time()
    for seed in range(seeds):
        tasks = tasks_of(kind, seed)
        own = tasks["own"]
        cold = curve(own, sweep(own, trials, seed))
        # With one recorded seed an earlier sweep of the same task would have measured the very values that are true.
        alone = kind == "recorded" and len(recorded()[2]) == 1
        told_of = {name: task for name, task in tasks.items() if not (alone and name == "own")}
        earlier = {name: told(task, sweep(task, trials, seed + EARLIER), folder) for name, task in told_of.items()}
        for relation, table in earlier.items():
            for arm in arms:
                one = cold if arm == "cold" else curve(own, sweep(own, trials, seed, table, arm))
                found.setdefault(("same" if relation == "own" else relation, arm), []).append(one)
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
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="cold has to be among them")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            found[kind] = report(
                kind, curves(kind, options.seeds, options.trials, Path(folder), options.arms), options.trials
            )
    write("warm_start", found)


if __name__ == "__main__":
    main()
