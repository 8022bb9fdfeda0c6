"""Does knowledge carry over? Sweeps told of an earlier one against cold ones, on like tasks and on unlike ones.

    python benchmarks/warm_start.py --seeds 20

Each seed runs an earlier sweep on one task, then two sweeps on another: cold, and with the earlier one in
`search.warm_start`, through a table as that reads it. The tasks: warm_tasks.py; *same* is the very task with another
seed. Volumes are of true values: means over seeds, noise left out. Further arms show what does it: openings alone, and
weighed trials alone.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import search
from results import Cell, Table, write
from warm_tasks import EARLIER, TABLES, Task, tasks_of

from plastsearch.pareto.front import hypervolume
from plastsearch.search.space import open_space
from plastsearch.search.study import Study
from plastsearch.search.warm_start import learn
from plastsearch.spec.domains import Params
from plastsearch.tracking.records import TrialRecord

ARMS = ("cold", "warm", "openings alone", "weights alone")


@dataclass(frozen=True)
class Trials:
    """What a sweep tried: flat parameters, what was measured, what is true."""

    params: list[Params]
    measured: list[list[float]]
    true: list[list[float]]


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
        earlier = {name: told(task, sweep(task, trials, seed + EARLIER), folder) for name, task in tasks.items()}
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
    parser.add_argument("--kinds", nargs="+", default=[*TABLES, "sparse", "smooth"])
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
