"""The arms of benchmarks/driver.py, each to be run in a process of its own: trivial trials, so that only drivers cost.

`tune`: plain Tune, actors reused, no tracker. `ours`: our driver, no tracker. `+mlflow`: with Ray's stock MLflow
callback there, and with everything logged to MLflow here.
"""

import os
import random
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARMS = ("tune", "ours", "ours+mlflow", "tune+mlflow")
LAYERS = 24
SPACE = """
base: {model: {name: wav2vec2, preset: large}, method: plasticity}
space:
  layers: {kind: subset, of: "encoder.*.ffn", min: 1, max: 8}
  neurons: {kind: int, low: 16, high: 256, step: 16}
controls: []
finalists: {top: 0}
"""


def metrics(layers: int, neurons: int, seed: object) -> dict[str, float]:
    """A landscape of no interest, so that nothing but the driver takes time."""
    noise = random.Random(str(seed)).random()
    size = layers * neurons
    return {
        "dev_eer": 40 / (1 + size / 300) + noise,
        "backward_ratio": min(1.0, 0.05 + size / 3000),
        "params_total": 1e6 + 2048.0 * size,
        "params_baseline": 1e6,
    }


def trial(config: Any, settings: Any) -> Iterator[Any]:  # noqa: ARG001 - the signature of every trial
    """Ours: one report and a result."""
    from plastsearch.spec.running import Report

    values = metrics(len(config.layers), max(config.growth().values()), config.trial_id())
    yield Report("retrain", 1, 2, {"dev_eer": values["dev_eer"]})
    yield Report("result", 2, 2, values, final=True)


def tune_trial(config: dict[str, Any]) -> None:
    """Plain Tune's: two reports as well."""
    from ray import tune

    values = metrics(sum(config[f"layer_{i}"] for i in range(LAYERS)), config["neurons"], sorted(config.items()))
    tune.report({**values, "stage": 1})
    tune.report({**values, "stage": 2})


class Tree:
    """CPU seconds of this process and of all that descend from it. Ray's daemons reap nobody, so that what a worker had
    spent is gone with it: a thread looks every second and remembers.

    On cores that others share, a second of CPU does half the work: `work` counts seconds in laps of a fixed loop.
    """

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], int] = {}  # process and when it started
        self._lock = threading.Lock()
        self._work, self._counted_s = 0.0, 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def cpu_s(self) -> float:
        with self._lock:
            parents: dict[str, tuple[str, tuple[str, str], int]] = {}
            for path in Path("/proc").glob("[0-9]*/stat"):
                try:
                    fields = path.read_text().rpartition(")")[2].split()
                except OSError:
                    continue  # it ended while we looked
                pid = path.parent.name
                parents[pid] = fields[1], (pid, fields[19]), int(fields[11]) + int(fields[12])
            tree = {str(os.getpid())}
            while more := {pid for pid, (parent, _, _) in parents.items() if parent in tree} - tree:
                tree |= more
            self._spent |= {key: ticks for pid, (_, key, ticks) in parents.items() if pid in tree}
            return sum(self._spent.values()) / os.sysconf("SC_CLK_TCK")

    def work(self) -> float:
        """Thousands of laps that would have taken as much CPU."""
        now_s, laps_s = self.cpu_s(), []
        for _ in range(5):
            began = time.thread_time()
            sum(range(10_000))
            laps_s.append(time.thread_time() - began)
        with self._lock:
            self._work += (now_s - self._counted_s) / statistics.median(laps_s) / 1000
            self._counted_s = now_s
            return self._work

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles whatever a callback refers to, and we never read it

    def _watch(self) -> None:
        while True:
            self.work()
            time.sleep(1.0)


@dataclass
class Marks:
    """Moments of a run: its first proposal, each trial's end, the moment from which on nothing is left to do."""

    trials: int
    tree: Tree = field(default_factory=Tree)
    began_s: float = field(default_factory=time.monotonic)
    started_s: float = 0.0
    done_s: float = 0.0
    flush_s: float = 0.0  # of the time after the last end, what a tracker took; Tune takes 5 s to let its workers go
    ends_s: list[float] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """The first trial may be proposed."""
        self.started_s = self.started_s or time.monotonic()

    def end(self) -> None:
        """A trial ended."""
        self.ends_s.append(time.monotonic())
        name = {1: "first", self.trials // 2: "half", self.trials: "end"}.get(len(self.ends_s))
        if name:
            self.cpu_s[name], self.work[name], self.memory_mb[name] = self.tree.cpu_s(), self.tree.work(), rss_mb()

    def done(self, flush_s: float = 0.0) -> None:
        """All is run and, in this arm's tracker, logged."""
        self.done_s, self.flush_s = time.monotonic(), flush_s
        self.cpu_s["done"], self.work["done"] = self.tree.cpu_s(), self.tree.work()

    def found(self) -> dict[str, Any]:
        """Halves are counted from the first end, so that starting workers is no part of them."""
        half_s, cpu, memory = self.ends_s[self.trials // 2 - 1], self.cpu_s, self.memory_mb
        return {
            "trials": len(self.ends_s),
            "startup_s": self.started_s - self.began_s,
            "fit_s": self.done_s - self.started_s,
            "ms_per_trial": 1000 * (self.done_s - self.started_s) / self.trials,
            "first_half_s": half_s - self.ends_s[0],
            "second_half_s": self.ends_s[-1] - half_s + self.flush_s,
            "first_half_cpu_s": cpu["half"] - cpu["first"],
            "second_half_cpu_s": cpu["done"] - cpu["half"],
            "first_half_work": self.work["half"] - self.work["first"],
            "second_half_work": self.work["done"] - self.work["half"],
            "half_mb": memory["half"],
            "end_mb": memory["end"],
            "cpu_s": self.tree.cpu_s(),
        }


def run_tune(folder: Path, marks: Marks, mlflow: bool) -> None:
    """Plain Tune with its OptunaSearch, as its documentation says, with our sampler and every switch that saves."""
    from plastsearch.execute.ray_tune import RayExecutor  # the same environment and cluster
    from plastsearch.execute.resources import Request

    executor = RayExecutor(folder, Request(cpu=1), parallel=2)
    import optuna
    from optuna.distributions import CategoricalDistribution, IntDistribution
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    from plastsearch.search.tpe import Memory, Tpe

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    class Ends(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
            marks.end()

    callbacks: list[Any] = [Ends()]
    if mlflow:
        callbacks.insert(0, MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="d"))
    space: dict[str, Any] = {f"layer_{i}": tune.choice([0, 1]) for i in range(LAYERS)}
    known: dict[str, Any] = {name: CategoricalDistribution((0, 1)) for name in space}
    memory = Memory({**known, "neurons": IntDistribution(16, 256)}, [1.0] * 3)
    names = ["dev_eer", "backward_ratio", "params_total"]
    marks.start()
    tune.Tuner(
        tune_trial,
        param_space={**space, "neurons": tune.randint(16, 257)},
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric=names, mode=["min"] * 3, sampler=Tpe(0, memory)),
            num_samples=marks.trials,
            max_concurrent_trials=2,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "results"), verbose=0, callbacks=callbacks),
    ).fit()
    marks.done()
    executor.close()


def run_ours(folder: Path, marks: Marks, mlflow: bool) -> None:
    """Our driver, the study and its journal included; a tracker is waited for, since its work counts."""
    from plastsearch.spec.load import load_sweep
    from plastsearch.sweep.options import Options
    from plastsearch.sweep.session import run_sweep
    from plastsearch.tracking.events import Ended, Event, Proposed

    path = folder / "space.yaml"
    path.write_text(SPACE)
    asked = [f"search.trials={marks.trials}", "search.parallel=2", "search.sampler=tpe", "resources.cpu=1"]

    class Ends:
        def __init__(self, tracker: Any) -> None:
            self._tracker = tracker

        def feed(self, event: Event) -> None:
            if isinstance(event, Proposed):
                marks.start()
            if self._tracker is not None:
                self._tracker.feed(event)
            if isinstance(event, Ended):
                marks.end()

        def close(self) -> str | None:
            began = time.monotonic()
            note: str | None = self._tracker.close(600.0) if self._tracker is not None else None
            marks.done(time.monotonic() - began)
            return note

    def listen(where: Path, view: Any) -> list[Any]:  # noqa: ARG001
        if not mlflow:
            return [Ends(None)]
        from plastsearch.tracking.mlflow_tracker import MlflowTracker

        return [Ends(MlflowTracker(where))]  # figures are drawn in a process apart, as seldom as they are dear

    options = Options(root=folder, name="sweep", trial="benchmarks.driver_arms:trial", finalists=False)
    notes = run_sweep(load_sweep(path, asked), options, listen).notes
    if notes:
        sys.exit("; ".join(notes))


def run_arm(name: str, n_trials: int) -> dict[str, Any]:
    """One arm in this process, and what it cost; CPU is that of the whole tree of processes."""
    with tempfile.TemporaryDirectory(prefix="psb") as temp:
        marks = Marks(n_trials)
        (run_ours if name.startswith("ours") else run_tune)(Path(temp), marks, name.endswith("mlflow"))
    return {
        "arm": name,
        **marks.found(),
        "max_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "modules": [module for module in ("torch", "mlflow") if module in sys.modules],
        "load": os.getloadavg()[0],
    }


def rss_mb() -> float:
    """Memory of this process, the driver."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
