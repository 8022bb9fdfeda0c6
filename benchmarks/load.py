"""What thousands of finished trials and a million scores cost those who look at them: seconds and memory.

    python benchmarks/load.py [--trials 5000 20000] [--scores 1000000]

Sweeps are made up (tests/made_sweep.py); each command runs in a process of its own, whose own time on a processor and
greatest memory are told beside the clock's. `ui` begins with an empty store. Tables: sweeps, scores.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.results import Cell, Table, write  # noqa: E402
from tests.made_sweep import make_sweep  # noqa: E402

COMMON = [("seconds", ",.1f"), ("CPU s", ",.1f"), ("MB", ",.0f"), ("load", ".0f")]


@dataclass(frozen=True)
class Cost:
    """Of one command."""

    seconds: float
    cpu_s: float
    mb: float
    load: float

    @property
    def cells(self) -> list[Cell]:
        return [self.seconds, self.cpu_s, self.mb, self.load]


def measured(*words: str) -> Cost:
    """Run a command of plastsearch; ends the benchmark if that fails."""
    command = [sys.executable, "-m", "plastsearch", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    load = os.getloadavg()[0]
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(words)}: {said.read().decode()[-2000:]}")
    print(f"{words[0]}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, load)


def of_sweep(trials: int, work: Path) -> list[list[Cell]]:
    """What is asked of a sweep that has ended, in the order in which people ask."""
    folder = make_sweep(work / f"sweep-{trials}", search=trials)
    asked = {
        "`ui --no-serve`, empty store": ("ui", "--no-serve"),
        "`ui --no-serve` again": ("ui", "--no-serve"),
        "`report`, the first time (importances are worked out)": ("report",),
        "`report` again": ("report",),
    }
    rows: list[list[Cell]] = [[trials, name, *measured(*words, str(folder)).cells] for name, words in asked.items()]
    page = (folder / "report" / "pareto.html").stat().st_size / 1e6
    rows.append([trials, f"pareto.html {page:.1f} MB, journal {(folder / 'trials.jsonl').stat().st_size / 1e6:.0f} MB",
                 None, None, None, None])  # fmt: skip
    shutil.rmtree(folder)
    return rows


def of_scores(count: int, work: Path) -> list[list[Cell]]:
    """A score file with and without a protocol that names speakers."""
    rng = np.random.default_rng(0)
    is_bona = np.arange(count) % 10 == 0
    values = rng.normal(0, 1, count) + 3 * is_bona
    speakers = rng.integers(0, 67, count)
    names = [f"LA_E_{n:07d}" for n in range(count)]
    kinds = [("-", "bonafide") if bona else (f"A{7 + n % 13:02d}", "spoof") for n, bona in enumerate(is_bona)]
    lines = zip(names, kinds, values, speakers, strict=True)
    with (work / "own.txt").open("w") as own, (work / "s.txt").open("w") as plain, (work / "key.txt").open("w") as key:
        for name, (attack, kind), value, speaker in lines:
            own.write(f"{name} {attack} {kind} {value:.6f}\n")
            plain.write(f"{name} {value:.6f}\n")
            key.write(f"LA_{speaker:04d} {name} - {attack} {kind}\n")
    return [
        [count, "interval over clips (a 2019 score file)", *measured("evaluate", str(work / "own.txt")).cells],
        [count, "interval over 67 speakers (protocol)",
         *measured("evaluate", str(work / "s.txt"), "--protocol", str(work / "key.txt")).cells],
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="*", default=[5000, 20_000])
    parser.add_argument("--scores", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        if asked.scores:
            columns = [("scores", ",.0f"), ("what", ""), *COMMON]
            write("load", {"scores": Table(columns, of_scores(asked.scores, work))})
        if asked.trials:
            rows = [row for trials in asked.trials for row in of_sweep(trials, work)]
            write("load", {"sweeps": Table([("trials", ",.0f"), ("what", ""), *COMMON], rows)})


if __name__ == "__main__":
    main()
