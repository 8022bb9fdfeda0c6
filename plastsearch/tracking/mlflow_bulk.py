"""Many ended trials into a SQLite store of MLflow at once, row for row what its client writes.

The client takes some eight transactions for a run, 0.1 s: minutes for the thousands of a sweep that is mirrored
afterwards. Tables that are not those known here, as of a later MLflow, are left to the client.
"""

import math
import posixpath
import sqlite3
import sys
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from plastsearch.tracking import mlflow_runs as terms
from plastsearch.tracking.events import Opened, SessionBegun
from plastsearch.tracking.mlflow_data import distinct, inputs_of
from plastsearch.tracking.records import TrialRecord

MANY = 16  # fewer are not worth a second way of writing
EACH = 250  # runs in a transaction, which others wait for
_PATIENCE_S = 60.0  # for another writer
_POINT = ("key", "value", "timestamp", "step", "is_nan", "run_uuid")
_TABLES = {
    "tags": ("key", "value", "run_uuid"),
    "params": ("key", "value", "run_uuid"),
    "metrics": _POINT,
    "latest_metrics": _POINT,
    "datasets": ("dataset_uuid", "experiment_id", "name", "digest", "dataset_source_type", "dataset_source",
                 "dataset_schema", "dataset_profile"),
    "inputs": ("input_uuid", "source_type", "source_id", "destination_type", "destination_id", "step"),
    "input_tags": ("input_uuid", "name", "value"),
}  # fmt: skip
_RUN = (
    "run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status", "start_time",
    "end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id", "deleted_time",
)  # fmt: skip
# What is the same for all runs of a sweep is taken from its parent; where their artifacts lie differs by the id alone.
_NEW_RUN = f"""
    INSERT INTO runs ({", ".join(_RUN)})
    SELECT ?, ?, source_type, source_name, entry_point_name, user_id, ?, ?, ?, source_version, lifecycle_stage,
           replace(artifact_uri, run_uuid, ?), experiment_id, NULL FROM runs WHERE run_uuid = ?
"""
# A trial's datasets are among those of its sweep, so that what is to be said of them stands there.
_INPUTS = """
    SELECT d.name, d.digest, i.input_uuid, i.source_id, i.step FROM inputs i JOIN datasets d
    ON i.source_id = d.dataset_uuid WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN'
    AND i.destination_id = ?
"""

Value = float | str | None


@dataclass(frozen=True)
class NewRun:
    """An ended trial that the store does not hold yet."""

    id: str
    name: str
    status: str
    started_ms: int
    ended_ms: int
    tags: dict[str, str]
    params: dict[str, str]
    points: Sequence[terms.Point]
    inputs: Sequence[tuple[str, str]] = ()  # datasets by name and digest, which the sweep's own run has already

    @property
    def plain(self) -> bool:
        """Whether MLflow takes all of its keys; if not, its client says which it refuses."""
        keys = {*self.tags, *self.params, *(one.key for one in self.points)}
        return all(key and posixpath.normpath(key) == key and not key.startswith((".", "/")) for key in keys)


def new_run(record: TrialRecord, opening: Opened, parent: str, sessions: Sequence[SessionBegun] = ()) -> NewRun:
    """A trial as the tracker would write it through the client."""
    name = terms.trial_name(record)
    named = {"mlflow.runName": name}  # the client's own doing
    return NewRun(
        id=uuid.uuid4().hex,
        name=name,
        status=terms.STATUSES[record.state],
        started_ms=terms.milliseconds(record.begun_at or record.proposed_at),
        ended_ms=terms.milliseconds(record.ended_at or 0.0),
        tags=terms.trial_identity(record, opening, parent) | named | terms.trial_tags(record, sessions),
        params=terms.trial_params(record),
        points=terms.trial_points(record),
        inputs=[one.key for one in distinct(inputs_of(record))],
    )


def takes(path: Path) -> bool:
    """Whether the file has the tables that are known here, column for column."""
    with closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as database:
        wanted = {**_TABLES, "runs": _RUN}
        return all({row[1] for row in database.execute(f"PRAGMA table_info({name})")} == set(columns)
                   for name, columns in wanted.items())  # fmt: skip


def write(path: Path, parent: str, runs: Sequence[NewRun]) -> None:
    """Add runs below the sweep's own, all of them or none."""
    with closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as database, database:
        database.executemany(
            _NEW_RUN,
            ((run.id, run.name, run.status, run.started_ms, run.ended_ms, run.id, parent) for run in runs),
        )
        _insert(database, "tags", ((key, text, run.id) for run in runs for key, text in run.tags.items()))
        _insert(database, "params", ((key, text, run.id) for run in runs for key, text in run.params.items()))
        _insert(database, "metrics", (row for run in runs for row in _rows(run)))
        _write_inputs(database, parent, runs)
        _insert(database, "latest_metrics", (row for run in runs for row in _latest(_rows(run))))


def _write_inputs(database: sqlite3.Connection, parent: str, runs: Sequence[NewRun]) -> None:
    known = {(name, digest): (of, source, step)
             for name, digest, of, source, step in database.execute(_INPUTS, (parent,))}  # fmt: skip
    tags: dict[str, list[tuple[str, str]]] = {}
    for of, _, _ in known.values():
        tags[of] = list(database.execute("SELECT name, value FROM input_tags WHERE input_uuid = ?", (of,)))
    new = [(uuid.uuid4().hex, *known[key], run.id) for run in runs for key in run.inputs]
    _insert(database, "inputs", ((own, "DATASET", source, "RUN", run, step) for own, _, source, step, run in new))
    _insert(database, "input_tags", ((own, *tag) for own, of, _, _, _ in new for tag in tags[of]))


def _insert(database: sqlite3.Connection, table: str, rows: Iterable[tuple[Value, ...]]) -> None:
    columns = _TABLES[table]
    places = ", ".join("?" * len(columns))
    database.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)


Row = tuple[str, float, int, int, int, str]


def _rows(run: NewRun) -> list[Row]:
    """Each point once: one that is logged twice is stored once."""
    rows = ((one.key, *_number(one.value), one) for one in run.points)
    return list(dict.fromkeys((key, value, one.timestamp_ms, one.step, nan, run.id) for key, value, nan, one in rows))


def _number(value: float) -> tuple[float, int]:
    """As MLflow keeps it: no NaN but a mark, no infinity but the largest number."""
    if math.isnan(value):
        return 0.0, 1
    return max(-sys.float_info.max, min(value, sys.float_info.max)), 0


def _latest(rows: Iterable[Row]) -> list[Row]:
    """Of each metric the point of the highest step, the latest of those, the largest of those."""
    found: dict[str, Row] = {}
    for row in rows:
        key, value, at, step, *_ = row
        if key not in found or (step, at, value) > (found[key][3], found[key][2], found[key][1]):
            found[key] = row
    return list(found.values())
