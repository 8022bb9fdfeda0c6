"""How many workers one driver serves: the real driver, journal on the disk, through a clock that is wound forward.

    python benchmarks/scale.py [--slots 1 8 64 256 1024] [--waves 20] [--sampler auto]
    python benchmarks/scale.py --fixed-ms 2 --slots 64       # every event takes 2 ms: repeats itself, prints a digest
    python benchmarks/scale.py --real 64 [--seconds 40]      # real worker processes on a Ray of 64 logical cores

Trials last as long as 253 real ones of a tiny ResNet18 did (trial_seconds.json: 4 to 59 s, mean 18), which is some
twenty times shorter than on a GPU, and so asks twenty times as much of a driver. Each number of slots runs in a process
of its own.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.results import Table, write  # noqa: E402

SLOTS = (1, 8, 64, 256, 1024)
FEWEST = 200  # trials
SPACE = """
base: {model: {name: wav2vec2, preset: large}, method: plasticity}
space:
  layers: {kind: subset, of: "encoder.*.ffn", min: 1, max: 8}
  neurons: {kind: int, low: 16, high: 256, step: 16}
halt: {kind: moasha}
controls: [baseline]
finalists: {top: 0}
trial_timeout_s: 3600
"""
_VARIES = ("at", "pid", "host", "session", "seconds", "command")  # between two runs of one sweep
Run = dict[str, Any]


def fast_forward(slots: int, waves: int, sampler: str, fixed_ms: float | None, cpu_clock: bool = False) -> Run:
    """One sweep, and what its driver took."""
    from benchmarks.fast_forward import FastForward
    from plastsearch.spec.load import load_sweep
    from plastsearch.sweep import session
    from plastsearch.sweep.display import Lines
    from plastsearch.sweep.options import Options

    lengths_s = json.loads((ROOT / "benchmarks/trial_seconds.json").read_text())
    executor = FastForward(slots, lengths_s, None if fixed_ms is None else fixed_ms / 1000, cpu_clock=cpu_clock)
    session.open_executor = lambda *_: executor  # type: ignore[assignment]
    trials = max(FEWEST, slots * waves)
    with tempfile.TemporaryDirectory(prefix="psb") as temp:
        folder = Path(temp)
        (folder / "space.yaml").write_text(SPACE)
        spec = load_sweep(folder / "space.yaml", [f"search.trials={trials}", f"search.sampler={sampler}"])
        options = Options(root=folder, name="sweep", trial="benchmarks.driver_arms:trial", finalists=False)
        began_s = time.monotonic()
        outcome = session.run_sweep(spec, options, lambda _, view: [Lines(view, StringIO())])
        if outcome.status != "done" or outcome.notes:
            sys.exit(f"{outcome.status}: {outcome.reason} {outcome.notes}")
        took_s = time.monotonic() - began_s
        journal = outcome.folder / "trials.jsonl"
        lines, size = _told(journal), journal.stat().st_size
    both = [*executor.proposals.wall_s, *executor.messages.wall_s]
    return {
        "slots": slots,
        "trials": trials,
        "sampler": sampler,
        "events": len(both),
        "utilisation": executor.utilisation,
        "simulated_h": executor.now_s / 3600,
        "driver_s": sum(both),
        "session_s": took_s,
        "event_ms": _spread_ms(both),
        "event_cpu_ms": _spread_ms([*executor.proposals.cpu_s, *executor.messages.cpu_s]),
        "proposal_ms": _spread_ms(executor.proposals.wall_s),
        "message_ms": _spread_ms(executor.messages.wall_s),
        "last_ms": _spread_ms(executor.messages.wall_s[-2000:]),
        "peak_mb": _peak_mb(),
        "journal_mb": size / 1e6,
        "digest": lines,
        "load": os.getloadavg()[0],
    }


def _told(journal: Path) -> str:
    """A digest of all that a sweep decided."""
    digest = hashlib.sha256()
    for line in journal.open():
        event = json.loads(line)
        digest.update(json.dumps({key: value for key, value in event.items() if key not in _VARIES}).encode())
    return digest.hexdigest()[:16]


def _spread_ms(seconds: Sequence[float]) -> list[float]:
    """Median, 99th percentile and most."""
    found = sorted(seconds)
    return [1000 * one for one in (statistics.median(found), found[int(0.99 * (len(found) - 1))], found[-1])]


def _peak_mb() -> float:
    """The most memory this process had; `ru_maxrss` would begin with what its parent had."""
    text = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmHWM"))) / 1024


def apart(*words: object) -> Run:
    """A run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr[-3000:]}")
    found: Run = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def table(runs: Sequence[Run]) -> Table:
    """One line for each number of slots."""
    columns = [("slots", ",.0f"), ("trials", ",.0f"), ("events", ",.0f"), ("utilisation", ".1%"),
               ("ms per event: median", ".2f"), ("99 %", ".2f"), ("CPU: median", ".2f"), ("CPU: 99 %", ".2f"),
               ("proposal: median, 99 %", ""), ("simulated h", ".2f"), ("driver s", ".0f"), ("peak MB", ".0f"),
               ("load", ".0f")]  # fmt: skip
    rows = [
        [run["slots"], run["trials"], run["events"], run["utilisation"], run["event_ms"][0], run["event_ms"][1],
         run["event_cpu_ms"][0], run["event_cpu_ms"][1], "{:.1f}, {:.1f}".format(*run["proposal_ms"][:2]),
         run["simulated_h"], run["driver_s"], run["peak_mb"], run["load"]]
        for run in runs
    ]  # fmt: skip
    return Table(columns, rows)


def real_table(run: Run) -> Table:
    """What the real run took."""
    columns = [("workers", ",.0f"), ("trials", ",.0f"), ("done", ",.0f"), ("retries", ",.0f"),
               ("s until all are at work", ".0f"), ("utilisation from then on", ".1%"), ("wall s", ".0f"),
               ("trial s", ".0f"), ("longest s", ".1f"), ("driver MB", ".0f"), ("all MB", ",.0f"),
               ("load", ".0f")]  # fmt: skip
    names = ("slots", "trials", "done", "retries", "start_s", "utilisation", "wall_s", "trial_s", "longest_s",
             "driver_mb", "all_mb", "load")  # fmt: skip
    return Table(columns, [[run[name] for name in names]])


def main() -> None:
    """Every number of slots in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--slots", type=int, nargs="+", default=list(SLOTS))
    parser.add_argument("--waves", type=int, default=20, help="trials for each slot, 200 in all at least")
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--fixed-ms", type=float, help="count so much for every event instead of what it took")
    parser.add_argument("--cpu-clock", action="store_true", help="count the driver's CPU time: on a busy machine")
    parser.add_argument("--real", type=int, help="so many worker processes instead, on a Ray of their own")
    parser.add_argument("--trials", type=int, default=192, help="of --real")
    parser.add_argument("--seconds", type=float, default=40.0, help="that a trial of --real sleeps")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(fast_forward(asked.one, asked.waves, asked.sampler, asked.fixed_ms, asked.cpu_clock)))
        return
    if asked.real:
        from benchmarks.scale_real import real

        run = real(asked.real, asked.trials, asked.seconds)
        print(json.dumps(run), file=sys.stderr)
        write("scale", {"real": real_table(run)})
        return
    more = ["--waves", asked.waves, "--sampler", asked.sampler]
    more += ["--fixed-ms", asked.fixed_ms] if asked.fixed_ms is not None else []
    more += ["--cpu-clock"] if asked.cpu_clock else []
    runs = [apart("--one", slots, *more) for slots in asked.slots]
    found = table(runs)
    print(found.markdown())
    if asked.fixed_ms is None:
        write("scale", {"slots": found})


if __name__ == "__main__":
    main()
