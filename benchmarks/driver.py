"""What the driver costs beside plain Ray Tune: the same trivial trials, sampler and cluster in every arm, in one run.

    python benchmarks/driver.py [--trials 200 1000] [--repeats 3] [--stock-up-to 200] [--out driver.json]

Each arm (see driver_arms.py) runs in a process of its own, start-up is told apart. Arms that are cheap alternate
`--repeats` times at 200 trials or fewer, and medians are compared. Ray's stock MLflow callback takes 0.3 s per trial on
a quiet machine and 2 s on a busy one: beyond `--stock-up-to` trials its arm is left out. Tables: runs, and goals.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.driver_arms import ARMS, run_arm  # noqa: E402
from benchmarks.results import Table, write  # noqa: E402

CHEAP = ("tune", "ours")
LABELS = {
    "tune": "plain Tune, actors reused, no tracker",
    "ours": "our driver, no tracker",
    "ours+mlflow": "our driver, everything in MLflow",
    "tune+mlflow": "plain Tune with the stock MLflow callback",
}
Run = dict[str, Any]


def measure(arm: str, n_trials: int) -> Run:
    """Run an arm in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.driver", "--arm", arm, "--trials", str(n_trials)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arm}: {done.stderr[-3000:]}")
    found: Run = json.loads(done.stdout.splitlines()[-1])
    if found["trials"] != n_trials:
        sys.exit(f"{arm}: {found['trials']} of {n_trials} trials ended")
    return found


def order(n_trials: int, repeats: int, stock_up_to: int, arms: list[str]) -> list[str]:
    """A B C A B A B D: the cheap arms several times in turn."""
    rounds = repeats if n_trials <= 200 else 1
    found = [arm for arm in ARMS[:3] if arm in arms]
    found += [arm for _ in range(rounds - 1) for arm in CHEAP if arm in arms]
    stock = ARMS[3]
    return [*found, stock] if stock in arms and n_trials <= stock_up_to else found


def median(runs: list[Run], key: str) -> float:
    return statistics.median(float(run[key]) for run in runs)


def table(runs: list[Run]) -> Table:
    """Every run, in order."""
    columns = [("arm", ""), ("trials", ",.0f"), ("start-up s", ".1f"), ("ms per trial", ".0f"), ("CPU s", ".1f"),
               ("halves s", ""), ("halves CPU s", ""), ("MB at half, end, most", ""), ("load", ".0f")]  # fmt: skip
    rows = [
        [LABELS[run["arm"]], run["trials"], run["startup_s"], run["ms_per_trial"], run["cpu_s"],
         f"{run['first_half_s']:.1f} / {run['second_half_s']:.1f}",
         f"{run['first_half_cpu_s']:.1f} / {run['second_half_cpu_s']:.1f}",
         f"{run['half_mb']:.0f}, {run['end_mb']:.0f}, {run['max_mb']:.0f}", run["load"]]
        for run in runs
    ]  # fmt: skip
    return Table(columns, rows)


def goals(runs: list[Run]) -> Table:
    """What a driver may cost, and whether it does not cost more."""
    rows: list[list[str]] = []

    def say(measure: str, value: float, goal: float, form: Callable[[float], str] = "{:.2f}".format) -> None:
        rows.append([measure, form(value), f"≤ {form(goal)}", _mark(value <= goal)])

    for n_trials in sorted({run["trials"] for run in runs}):
        of = {arm: [run for run in runs if run["arm"] == arm and run["trials"] == n_trials] for arm in ARMS}
        at = f"at {n_trials:,} trials"
        pairs = [("ours", "tune", "no tracker, ours to plain Tune", 1.3)]
        pairs += [("ours+mlflow", "tune+mlflow", "all in MLflow, ours to Tune with the stock callback", 0.5)]
        for mine, other, what, goal in pairs:
            if of[mine] and of[other]:
                for key, name in (("ms_per_trial", "wall"), ("cpu_s", "CPU, start-up included")):
                    say(f"{name}, {what}, {at}", median(of[mine], key) / median(of[other], key), goal)
        for arm in ("ours", "ours+mlflow"):
            if of[arm]:
                say(f"driver memory, {LABELS[arm]}, {at}", median(of[arm], "max_mb"), 400, "{:.0f} MB".format)
        for arm in ("ours", "ours+mlflow", "tune") if n_trials >= 1000 else ():
            if of[arm]:
                _trend(of[arm], f"{LABELS[arm]}, {at}", say)
    modules = {arm: sorted({one for run in runs if run["arm"] == arm for one in run["modules"]}) for arm in LABELS}
    foreign = {arm: modules[arm] for arm in ("ours", "ours+mlflow") if set(modules[arm]) - {arm.partition("+")[2]}}
    rows.append(["torch, or without a tracker mlflow, in our driver", str(foreign or "no"), "no", _mark(not foreign)])
    return Table([("measure", ""), ("figure", ""), ("goal", ""), ("", "")], rows)


def _trend(runs: list[Run], where: str, say: Callable[..., None]) -> None:
    """The second half against the first; plain Tune's is there to compare with."""
    for key, name in (("work", "CPU at even speed"), ("cpu_s", "CPU"), ("s", "wall")):
        growth = median(runs, f"second_half_{key}") / median(runs, f"first_half_{key}")
        say(f"second half to first, {name}, {where}", growth, 1.15)
    memory = 100 * (median(runs, "end_mb") / median(runs, "half_mb") - 1)
    say(f"growth of memory in the second half, {where}", memory, 10, "{:.1f} %".format)


def _mark(held: bool) -> str:
    return "pass" if held else "**miss**"


def main() -> None:
    """Run every arm in its own process and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--repeats", type=int, default=3, help="of the cheap arms, at 200 trials or fewer")
    parser.add_argument("--stock-up-to", type=int, default=200, help="trials with Ray's stock MLflow callback")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="keep every run here while they go on, as JSON")
    asked = parser.parse_args()
    if asked.arm:
        print(json.dumps(run_arm(asked.arm, asked.trials[0])))
        return
    runs: list[Run] = []
    for n_trials in asked.trials:
        for arm in order(n_trials, asked.repeats, asked.stock_up_to, asked.arms):
            runs.append(measure(arm, n_trials))
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
            if asked.out:
                asked.out.parent.mkdir(parents=True, exist_ok=True)
                asked.out.write_text(json.dumps(runs, indent=1) + "\n")
    tables = {"runs": table(runs), "goals": goals(runs)}
    print("\n\n".join(one.markdown() for one in tables.values()))
    write("driver", tables)


if __name__ == "__main__":
    main()
