"""What thousands of finished trials and a million scores cost those who look at them: seconds and memory.

    python benchmarks/load.py [--trials 5000 20000] [--scores 1000000]

Sweeps are made up (tests/made_sweep.py); each command runs in a process of its own, whose own time on a processor and
greatest memory are told beside the clock's. `ui` begins with an empty store; resumed sessions are real, their trials
take no time. Tables: sweeps, growth (what four times as many trials cost), table (the live one), many (`ls`), scores.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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


def measured(*words: str, module: str = "plastsearch") -> Cost:
    """Run a command of plastsearch; ends the benchmark if that fails."""
    command = [sys.executable, "-m", module, *words]
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
        "`ls`, by the last line": ("ls",),
    }
    rows: list[list[Cell]] = [[trials, name, *measured(*words, str(folder)).cells] for name, words in asked.items()]
    rows += [[trials, name, *measured(*words, module=RESUMED).cells] for name, words in resumed(trials, work).items()]
    page = (folder / "report" / "pareto.html").stat().st_size / 1e6
    rows.append([trials, f"pareto.html {page:.1f} MB, journal {(folder / 'trials.jsonl').stat().st_size / 1e6:.0f} MB",
                 None, None, None, None])  # fmt: skip
    shutil.rmtree(folder)
    return rows


RESUMED = "tests.sweep.session_process"


def resumed(trials: int, work: Path) -> dict[str, tuple[str, ...]]:
    """Sessions that go on with a sweep of so many trials: what is asked, and the words of the command."""
    root = str(work / f"resumed-{trials}")
    # Enough widths, or the space would be exhausted.
    space = ("space.neurons={kind: int, low: 16, high: 4000, step: 1}", "search.sampler=auto", "controls=[]")
    few = ("finalists.top=1", "finalists.seeds=1")
    measured(root, "new", "inline", f"search.trials={trials}", *space, *few, module=RESUMED)
    return {
        "`--resume`, nothing left": (root, "resume", "inline", f"search.trials={trials}", *space, *few),
        "`--resume`, one trial left": (root, "resume", "inline", f"search.trials={trials + 1}", *space, *few),
    }


def of_table(trials: int, work: Path) -> list[list[Cell]]:
    """One drawing of the live table, with nothing new and after a trial has ended; what a plain display takes."""
    from rich.console import Console

    from plastsearch.sweep.display import Lines
    from plastsearch.sweep.live import Live
    from plastsearch.sweep.view import SweepView
    from plastsearch.tracking.events import Ended
    from plastsearch.tracking.journal import read
    from plastsearch.tracking.ranking import ranking_of
    from plastsearch.tracking.records import trials as records_of

    folder = make_sweep(work / f"table-{trials}", search=trials)
    events = read(folder)
    records = records_of(events)
    view = SweepView(records, ranking_of(events[0].spec, records.values()), trials)  # type: ignore[attr-defined]
    live = Live(view, Console(file=io.StringIO(), force_terminal=True, width=120, height=40))
    live._live.stop()
    lines = Lines(view, io.StringIO())
    last = next(
        event for event in reversed(events) if isinstance(event, Ended) and records[event.trial].role == "search"
    )

    def drawn() -> None:
        live._console.print(live._draw())

    def after_an_end() -> None:
        view._known = view._noise = view._early = None  # as it is once a trial has ended
        drawn()

    asked = {"a drawing": drawn, "a drawing after an end": after_an_end, "a line for an end": lambda: lines.feed(last)}
    return [[trials, name, 1000 * best_of(function)] for name, function in asked.items()]


def best_of(function: Callable[[], object], times: int = 7) -> float:
    """Processor seconds of the quickest of some calls."""
    took = []
    for _ in range(times):
        began = time.process_time()
        function()
        took.append(time.process_time() - began)
    return min(took)


def of_many(trials: int, work: Path, count: int = 200) -> list[list[Cell]]:
    """`ls` of as many sweeps, hard links to the same journal: as drivers of today end it, and as older ones did."""
    made = make_sweep(work / "one", search=trials)
    journal = made / "trials.jsonl"
    rows: list[list[Cell]] = []
    for what in ("ends told by their last lines", "journals of older drivers"):
        if rows:
            *lines, last = journal.read_text().splitlines(True)
            plain = {key: value for key, value in json.loads(last).items() if key != "tally"}
            journal.write_text("".join(lines) + json.dumps(plain) + "\n")
        root = work / f"many-{len(rows)}"
        for n in range(count):
            (root / f"sweep-{n}").mkdir(parents=True)
            os.link(journal, root / f"sweep-{n}" / "trials.jsonl")
        rows.append([count, trials, what, *measured("ls", str(root), "--json").cells])
    return rows


def growth(rows: list[list[Cell]], few: int, many: int) -> list[list[Cell]]:
    """What each command costs with many trials, as a multiple of what it costs with few."""
    cpu = {(row[0], row[1]): row[3] for row in rows}
    found: list[list[Cell]] = []
    for row in rows:
        one, other = row[3], cpu.get((many, row[1]))
        if row[0] == few and isinstance(one, float) and isinstance(other, float):
            found.append([row[1], one, other, other / one])
    return found


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
            few, many = min(asked.trials), max(asked.trials)
            columns = [("sweeps", ""), ("trials of each", ",.0f"), ("what", ""), *COMMON]
            write("load", {"many": Table(columns, of_many(many, work))})
            drawn = [row for trials in asked.trials for row in of_table(trials, work)]
            write("load", {"table": Table([("trials", ",.0f"), ("what", ""), ("CPU ms", ",.1f")], drawn)})
            rows: list[list[Cell]] = []
            for trials in asked.trials:
                rows += of_sweep(trials, work)
                write("load", {"sweeps": Table([("trials", ",.0f"), ("what", ""), *COMMON], rows)})
            compared = [("what", ""), (f"CPU s, {few:,}", ",.1f"), (f"CPU s, {many:,}", ",.1f"), ("ratio", ".1f")]
            write("load", {"growth": Table(compared, growth(rows, few, many))})


if __name__ == "__main__":
    main()
