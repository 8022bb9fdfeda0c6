"""What thousands of finished trials and a million scores cost those who look at them: seconds and memory.

    python benchmarks/load.py [--trials 5000 20000] [--scores 1000000] [--only ls report] [--work FOLDER]

Sweeps are made up (tests/made_sweep.py); each command runs in a process of its own, whose own time on a processor and
greatest memory are told beside the clock's. `ui` begins with an empty store; resumed sessions are real, their trials
take no time. Tables: sweeps, growth (what four times as many trials cost), table (the live one), scores.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.results import FOLDER, Cell, Table, read, write  # noqa: E402
from plastsearch.cli.look.ls import PATIENCE_S  # noqa: E402
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


def swept(trials: int, work: Path) -> Path:
    """A made-up sweep of so many trials; one that lies there from an earlier run is used again."""
    folder = work / f"sweep-{trials}"
    return folder if (folder / "trials.jsonl").is_file() else make_sweep(folder, search=trials)


def of_report(trials: int, work: Path) -> Iterator[list[Cell]]:
    """The report of a sweep that has ended, as it is asked for the first time and again."""
    folder = swept(trials, work)
    shutil.rmtree(folder / "report", ignore_errors=True)
    for name in ("`report`, the first time (importances are worked out)", "`report` again"):
        yield [trials, name, *measured("report", str(folder)).cells]
    page = (folder / "report" / "pareto.html").stat().st_size / 1e6
    size = (folder / "trials.jsonl").stat().st_size / 1e6
    yield [trials, f"pareto.html {page:.1f} MB, journal {size:.0f} MB", None, None, None, None]


def of_ui(trials: int, work: Path) -> Iterator[list[Cell]]:
    """MLflow's records, out of nothing and brought level."""
    folder = swept(trials, work)
    shutil.rmtree(folder / "mlflow", ignore_errors=True)
    for name in ("`ui --no-serve`, empty store", "`ui --no-serve` again"):
        yield [trials, name, *measured("ui", "--no-serve", str(folder)).cells]


def of_resume(trials: int, work: Path) -> Iterator[list[Cell]]:
    """A driver that takes such a sweep up again."""
    for name, words in resumed(trials, work).items():
        yield [trials, name, *measured(*words, module=RESUMED).cells]


RESUMED = "tests.sweep.session_process"


def resumed(trials: int, work: Path) -> dict[str, tuple[str, ...]]:
    """Sessions that go on with a sweep of so many trials: what is asked, and the words of the command."""
    root = str(work / f"resumed-{trials}")
    # Enough widths, or the space would be exhausted.
    space = ("space.neurons={kind: int, low: 16, high: 4000, step: 1}", "search.sampler=auto", "controls=[]")
    few = ("finalists.top=1", "finalists.seeds=1")
    if not (Path(root) / "fake").is_dir():
        measured(root, "new", "inline", f"search.trials={trials}", *space, *few, module=RESUMED)
    return {
        "`--resume`, nothing left": (root, "resume", "inline", f"search.trials={trials}", *space, *few),
        "`--resume`, one trial left": (root, "resume", "inline", f"search.trials={trials + 1}", *space, *few),
    }


def of_table(trials: int, work: Path) -> Iterator[list[Cell]]:
    """One drawing of the live table, with nothing new and after a trial has ended; what a plain display takes."""
    from rich.console import Console

    from plastsearch.spec.methods import Runs
    from plastsearch.sweep.display import Lines
    from plastsearch.sweep.live import Live
    from plastsearch.sweep.view import SweepView
    from plastsearch.tracking.events import Ended
    from plastsearch.tracking.journal import read as events_of
    from plastsearch.tracking.ranking import ranking_of
    from plastsearch.tracking.records import trials as records_of

    folder = swept(trials, work)
    events = events_of(folder)
    records = records_of(events)
    view = SweepView(records, ranking_of(events[0].spec, records.values()), Runs(trials, 3, 2))  # type: ignore[attr-defined]
    live = Live(view, Console(file=io.StringIO(), force_terminal=True, width=120, height=40))
    live._live.stop()
    lines = Lines(view, io.StringIO())
    last = next(
        event for event in reversed(events) if isinstance(event, Ended) and records[event.trial].role == "search"
    )

    def drawn() -> None:
        live._console.print(live._draw())

    def after_an_end() -> None:
        view._known = view._noise = view._early = view._expected = None  # as it is once a trial has ended
        drawn()

    asked = {"a drawing": drawn, "a drawing after an end": after_an_end, "a line for an end": lambda: lines.feed(last)}
    yield from ([trials, name, 1000 * best_of(function)] for name, function in asked.items())


def best_of(function: Callable[[], object], times: int = 7) -> float:
    """Processor seconds of the quickest of some calls."""
    took = []
    for _ in range(times):
        began = time.process_time()
        function()
        took.append(time.process_time() - began)
    return min(took)


def of_many(trials: int, work: Path, count: int = 200) -> Iterator[list[Cell]]:
    """`ls` of so many sweeps, hard links to one journal: as drivers of today end it, and as older ones did."""
    *lines, last = (swept(trials, work) / "trials.jsonl").read_text().splitlines(True)
    older = {key: value for key, value in json.loads(last).items() if key != "tally"}
    ends = {
        "told by the last lines": {**older, "tally": {"ended": trials, "planned": trials, "best": 7.0}},
        f"of older drivers, {PATIENCE_S:g} s long": older,
    }
    for what, end in ends.items():
        with tempfile.TemporaryDirectory(dir=work) as root:
            journal = Path(root) / "journal"
            journal.write_text("".join(lines) + json.dumps(end) + "\n")
            for n in range(count):
                (Path(root) / f"sweep-{n}").mkdir()
                os.link(journal, Path(root) / f"sweep-{n}" / "trials.jsonl")
            yield [trials, f"{count} sweeps, {what}", *measured("ls", root, "--json").cells]


def growth(rows: list[list[Cell]]) -> list[list[Cell]]:
    """What each command costs with many trials, as a multiple of what it costs with few."""
    few, many = min(int(row[0] or 0) for row in rows), max(int(row[0] or 0) for row in rows)
    cpu = {(row[0], row[1]): row[3] for row in rows}
    found: list[list[Cell]] = []
    for row in rows:
        one, other = row[3], cpu.get((many, row[1]))
        if row[0] == few < many and isinstance(one, float) and isinstance(other, float):
            found.append([row[1], one, other, other / one])
    return found


def keep(table: str, columns: list[tuple[str, str]], row: list[Cell]) -> list[list[Cell]]:
    """A row more, in place of an earlier one of the same trials and command; all rows, few trials first."""
    path = FOLDER / "load.json"
    known = read(path)[table].rows if path.exists() and table in read(path) else []
    rows = [*(one for one in known if list(one[:2]) != row[:2] and not _same_sizes(one, row)), row]
    rows.sort(key=lambda one: int(one[0] or 0))
    write("load", {table: Table(columns, rows)})
    return rows


def _same_sizes(one: Sequence[Cell], other: Sequence[Cell]) -> bool:
    return one[0] == other[0] and one[2] is None and other[2] is None


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


PARTS = {"ls": of_many, "table": of_table, "report": of_report, "resume": of_resume, "ui": of_ui}
TIMED = [("trials", ",.0f"), ("what", ""), ("CPU ms", ",.1f")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="*", default=[5000, 20_000])
    parser.add_argument("--scores", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--work", type=Path, help="where made-up sweeps are kept for the next time")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = asked.work or Path(place)
        if asked.scores:
            columns = [("scores", ",.0f"), ("what", ""), *COMMON]
            write("load", {"scores": Table(columns, of_scores(asked.scores, work))})
        for trials in asked.trials:
            for part in asked.only:
                for row in PARTS[part](trials, work):
                    if part == "table":
                        keep("table", TIMED, row)
                        continue
                    rows = keep("sweeps", [("trials", ",.0f"), ("what", ""), *COMMON], row)
                    few, many = (f"CPU s, {end(int(one[0] or 0) for one in rows):,}" for end in (min, max))
                    compared = [("what", ""), (few, ",.1f"), (many, ",.1f"), ("ratio", ".1f")]
                    write("load", {"growth": Table(compared, growth(rows))})


if __name__ == "__main__":
    main()
