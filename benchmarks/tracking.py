"""Seconds for MLflow to come level with the journal of a large sweep, and what a second time does.

    python benchmarks/tracking.py [--trials 5000] [--to file http]

A journal as a driver writes it, with kept dev scores of every trial; `file` is an empty SQLite store, `http` a real
`mlflow server` with one worker on an empty SQLite store, on this machine. Figures are left out: the report has its own.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.results import Table, write  # noqa: E402
from plastsearch.tracking.mlflow_store import open_store  # noqa: E402
from plastsearch.tracking.mlflow_sync import Synced, synced  # noqa: E402
from tests.made_sweep import make_sweep  # noqa: E402
from tests.tracking.servers import Server  # noqa: E402

COLUMNS = [
    ("store", ""), ("what was there", ""), ("trials", ",.0f"), ("runs made", ",.0f"), ("level already", ",.0f"),
    ("seconds", ",.1f"), ("seconds a trial", ".4f"), ("CPU seconds, ours", ",.1f"), ("of the server", ",.1f"),
]  # fmt: skip
PATIENCE_S = 7200.0


def row(store: str, before: str, done: Synced, cpu_s: float, server_s: float | None) -> list[float | str | None]:
    """One line of the table."""
    each = done.seconds / done.trials
    counts = [float(done.trials), float(done.made), float(done.level)]
    return [store, before, *counts, done.seconds, each, cpu_s, server_s]


def main() -> None:
    """Make the journal, sync it twice into each kind of store, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--to", nargs="+", choices=("file", "http"), default=["file", "http"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        folder = make_sweep(root / "large", search=asked.trials)
        for kind in asked.to:
            if kind == "file":
                uri = f"sqlite:///{root / 'mlflow.db'}"
                open_store(uri).search_experiments()  # makes the tables, some seconds once
                rows = both("SQLite file", folder, uri, None)
            else:
                with Server(root / "server") as server:
                    rows = both("server, HTTP", folder, server.uri, server)
            write("tracking", {kind: Table(COLUMNS, rows)})


def both(store: str, folder: Path, uri: str, server: Server | None) -> list[list[float | str | None]]:
    """Into an empty store, and again."""
    found = []
    for before in ("nothing", "everything"):
        began_s, server_s = time.process_time(), server.cpu_s() if server is not None else 0.0
        done = synced(folder, uri, timeout_s=PATIENCE_S)
        spent = None if server is None else server.cpu_s() - server_s
        found.append(row(store, before, done, time.process_time() - began_s, spent))
        print(found[-1], flush=True)
    return found


if __name__ == "__main__":
    main()
