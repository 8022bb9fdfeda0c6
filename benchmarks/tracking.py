"""Seconds for MLflow to come level with the journal of a large sweep, and what a second time does.

    python benchmarks/tracking.py [--trials 5000] [--to file http]

A journal as a driver writes it, with kept dev scores of every trial; `file` is an empty SQLite store, `http` a real
`mlflow server` with one worker on an empty SQLite store, on this machine. Figures are left out: the report has its own.
"""

import argparse
import sys
import tempfile
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
    ("seconds", ",.1f"), ("seconds a trial", ".4f"),
]  # fmt: skip
PATIENCE_S = 7200.0


def row(store: str, before: str, done: Synced) -> list[float | str | None]:
    """One line of the table."""
    each = done.seconds / done.trials
    return [store, before, float(done.trials), float(done.made), float(done.level), done.seconds, each]


def main() -> None:
    """Make the journal, sync it twice into each kind of store, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--to", nargs="+", choices=("file", "http"), default=["file", "http"])
    asked = parser.parse_args()
    rows: list[list[float | str | None]] = []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        folder = make_sweep(root / "large", search=asked.trials)
        for kind in asked.to:
            if kind == "file":
                uri = f"sqlite:///{root / 'mlflow.db'}"
                open_store(uri).search_experiments()  # makes the tables, some seconds once
                rows += both("SQLite file", folder, uri)
            else:
                with Server(root / "server") as server:
                    rows += both("server, HTTP", folder, server.uri)
    write("tracking" if asked.trials == 5000 else "tracking_small", {"sync": Table(COLUMNS, rows)})


def both(store: str, folder: Path, uri: str) -> list[list[float | str | None]]:
    """Into an empty store, and again."""
    found = []
    for before in ("nothing", "everything"):
        done = synced(folder, uri, timeout_s=PATIENCE_S)
        found.append(row(store, before, done))
        print(found[-1], flush=True)
    return found


if __name__ == "__main__":
    main()
