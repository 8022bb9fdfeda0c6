"""What the driver costs beside plain Ray Tune: the same trivial trials, sampler and cluster in every arm, in one run.

    python benchmarks/driver.py [--trials 200] [--out benchmarks/results/driver.json]

Arms: `tune` (plain Tune, actors reused, no tracker), `tune+mlflow` (with Ray's stock MLflow callback), `ours` (our
driver, no tracker), `ours+mlflow` (everything logged to MLflow). Each arm runs in a process of its own; start-up is
told apart.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ARMS = ("tune", "ours", "tune+mlflow", "ours+mlflow")
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
    from plastsearch.spec.report import Report

    values = metrics(len(config.layers), max(config.growth().values()), config.trial_id())
    yield Report("retrain", 1, 2, {"dev_eer": values["dev_eer"]})
    yield Report("result", 2, 2, values, final=True)


def tune_trial(config: dict[str, Any]) -> None:
    """Plain Tune's: two reports as well."""
    from ray import tune

    values = metrics(sum(config[f"layer_{i}"] for i in range(LAYERS)), config["neurons"], sorted(config.items()))
    tune.report({**values, "stage": 1})
    tune.report({**values, "stage": 2})


def run_tune(folder: Path, n_trials: int, mlflow: bool) -> dict[str, Any]:
    """Plain Tune with its OptunaSearch, as its documentation says, with every switch that makes it cheaper."""
    from plastsearch.search.ray_tune import RayExecutor, Request  # the same environment and cluster

    began = time.monotonic()
    executor = RayExecutor(folder, Request(cpu=1), parallel=2)
    import optuna
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    stamps: list[float] = []

    class Ends(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
            stamps.append(time.monotonic())

    callbacks: list[Any] = [Ends()]
    if mlflow:
        callbacks.append(MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="driver"))
    space: dict[str, Any] = {f"layer_{i}": tune.choice([0, 1]) for i in range(LAYERS)}
    space["neurons"] = tune.randint(16, 257)
    names = ["dev_eer", "backward_ratio", "params_total"]
    sampler = optuna.samplers.TPESampler(multivariate=True, seed=0)
    started = time.monotonic()
    tune.Tuner(
        tune_trial,
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric=names, mode=["min"] * 3, sampler=sampler),
            num_samples=n_trials,
            max_concurrent_trials=2,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "results"), verbose=0, callbacks=callbacks),
    ).fit()
    ended = time.monotonic()
    executor.close()
    return {"stamps": stamps, "startup_s": started - began, "fit_s": ended - started}


def run_ours(folder: Path, n_trials: int, mlflow: bool) -> dict[str, Any]:
    """Our driver, the study and its journal included."""
    import threading

    from plastsearch.search.session import Options, run_sweep
    from plastsearch.spec.load import load_sweep

    spaces = folder / "space.yaml"
    spaces.write_text(SPACE)
    spec = load_sweep(
        spaces, [f"search.trials={n_trials}", "search.parallel=2", "search.sampler=tpe", "resources.cpu=1"]
    )
    stamps: list[float] = []
    memory: list[float] = []
    trackers: list[Any] = []
    begun: list[float] = []

    class Ends:
        def feed(self, event: dict[str, Any]) -> None:
            if event["event"] == "propose" and not begun:
                begun.append(time.monotonic())
            if event["event"] == "end":
                stamps.append(time.monotonic())
                memory.append(_rss_mb())

        def close(self) -> None:
            stamps.append(time.monotonic())

    def listen(where: Path, view: Any) -> list[Any]:  # noqa: ARG001
        if not mlflow:
            return [Ends()]
        from plastsearch.tracking.mlflow_tracker import MlflowTracker

        trackers.append(MlflowTracker(where))
        return [Ends(), _Patient(trackers[0])]

    began = time.monotonic()
    options = Options(root=folder, name="sweep", trial="benchmarks.driver:trial", finalists=False)
    run_sweep(spec, options, listen)
    ended = time.monotonic()
    assert threading.current_thread() is threading.main_thread()
    finished = stamps.pop()
    return {
        "stamps": stamps,
        "startup_s": begun[0] - began,
        "fit_s": (ended if mlflow else finished) - begun[0],
        "rss_mb": memory,
        "torch": "torch" in sys.modules,
    }


class _Patient:
    """A tracker that is waited for: its work counts."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self.feed = tracker.feed

    def close(self) -> str | None:
        note: str | None = self._tracker.close(600.0)
        return note


def arm(name: str, n_trials: int) -> dict[str, Any]:
    """One arm in this process; CPU of the whole tree of processes."""
    with tempfile.TemporaryDirectory(prefix="psb") as temp:
        run = run_ours if name.startswith("ours") else run_tune
        before = _tree_cpu()
        found = run(Path(temp), n_trials, name.endswith("mlflow"))
        found["cpu_s"] = _tree_cpu() - before
    stamps = found.pop("stamps")
    half = len(stamps) // 2
    found |= {
        "arm": name,
        "trials": len(stamps),
        "ms_per_trial": 1000 * found["fit_s"] / n_trials,
        "steady_ms": 1000 * statistics.median(b - a for a, b in zip(stamps, stamps[2:], strict=False)) / 2,
        "first_half_s": stamps[half - 1] - stamps[0],
        "second_half_s": stamps[-1] - stamps[half],
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "load": os.getloadavg()[0],
    }
    memory = found.pop("rss_mb", None)
    if memory:
        found["rss_half_mb"], found["rss_end_mb"] = memory[half - 1], memory[-1]
    return found


def _tree_cpu() -> float:
    """CPU seconds of this process and all it has reaped; Ray's daemons are its children and are reaped at the end."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Run every arm in its own process and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.arm:
        print(json.dumps(arm(asked.arm, asked.trials)))
        return
    results = []
    for name in asked.arms:
        command = [sys.executable, "-m", "benchmarks.driver", "--arm", name, "--trials", str(asked.trials)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name}: {done.stderr[-3000:]}")
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(results[-1]), flush=True)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
