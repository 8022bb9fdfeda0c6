"""The journal mirrored into MLflow from one background thread; the only door to mlflow.

It reads the journal's file itself, so that following a sweep, catching up after an outage and rebuilding a lost store
are one and the same thing. Runs are found again by tags and every timestamp comes from the journal: replaying is free.
"""

import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastsearch.errors import PlastsearchError
from plastsearch.tracking import mlflow_pages as pages
from plastsearch.tracking import mlflow_runs as runs
from plastsearch.tracking.journal import FILE, Event, TrialRecord, fold
from plastsearch.tracking.tracker import Renderer, Rendering

if TYPE_CHECKING:
    from mlflow import MlflowClient

_QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the defaults block four minutes on a server that is down
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "true",
}
_BATCH_METRICS, _BATCH_REST = 900, 90  # a request takes 1000 metrics, 100 parameters, 100 tags
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 15.0, 300.0


@dataclass(frozen=True)
class Place:
    """Where a sweep stands in a store."""

    uri: str
    experiment: str
    run: str


def mlflow_uri(folder: Path) -> str:
    """The store of a sweep that names no server: a SQLite file in its own folder."""
    return f"sqlite:///{_database(folder)}"


def _database(folder: Path) -> Path:
    return Path(folder).resolve() / "mlflow" / "mlflow.db"


@dataclass
class _Mirror:
    """What is known of both sides; everything in here may be lost and found again."""

    records: dict[int, TrialRecord] = field(default_factory=dict)
    opening: Event | None = None
    closing: Event | None = None
    at: float = 0.0
    offset: int = 0
    dirty: set[int] = field(default_factory=set)  # trials that the store does not yet show as they are
    runs: dict[int, str] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    front: set[int] = field(default_factory=set)
    settled: dict[int, str] = field(default_factory=dict)  # trial → ended_at, as the store has it


class MlflowTracker:
    """Follows one sweep folder; `feed` only wakes its thread."""

    def __init__(
        self, folder: Path, uri: str | None = None, *, render: Renderer | None = None, render_every_s: float = 20.0,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.uri = Path(folder), uri or mlflow_uri(folder)
        self.failures = 0
        self.trouble: str | None = None
        self._render, self._render_every_s, self._on_trouble = render, render_every_s, on_trouble
        self._mirror = _Mirror()
        self._client: MlflowClient | None = None
        self._experiment = self._parent = ""
        self._rendered_at, self._stale = 0.0, True
        self._pause_s, self._not_before = _FIRST_PAUSE_S, 0.0
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow-tracker", daemon=True)
        self._thread.start()

    def feed(self, event: Event) -> None:  # noqa: ARG002 - the journal is read instead
        """Take notice that the journal has grown."""
        self._wake.put(True)

    def close(self, timeout_s: float = 60.0) -> str | None:
        """Mirror what is left and stop; says what is missing if the store could not be reached in that time."""
        self._wake.put(False)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.trouble = f"MLflow at {shown(self.uri)} was still busy after {timeout_s:.0f} s"
        if self.trouble is None:
            return None
        return f"{self.trouble}; nothing is lost: `plastsearch ui {self.folder}` brings it up to date from the journal"

    def place(self) -> Place | None:
        """Where the sweep stands, once it does."""
        return Place(self.uri, self._experiment, self._parent) if self._parent else None

    def _work(self) -> None:
        going = True
        while going:
            going = self._wake.get()
            while going and not self._wake.empty():  # one pass serves all that came meanwhile
                going = self._wake.get()
            if not going or time.monotonic() >= self._not_before:
                self._pass(last=not going)

    def _pass(self, last: bool) -> None:
        try:
            self._read()
            if self._mirror.opening is None:
                return
            self._connect()
            self._push()
            if last or (self._stale and time.monotonic() - self._rendered_at >= self._render_every_s):
                self._show()
            if last:
                self._settle()
            self.trouble, self._pause_s = None, _FIRST_PAUSE_S
        except Exception as error:  # noqa: BLE001 - a mirror that breaks in any way must not end the sweep
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        self.trouble = f"MLflow at {shown(self.uri)} cannot be written ({type(error).__name__}: {reason})"
        if self.failures == 1 and self._on_trouble is not None:
            self._on_trouble(f"{self.trouble}; the sweep goes on and its journal keeps everything")
        self._client = None
        self._not_before = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _read(self) -> None:
        """Fold the journal's new whole lines."""
        mirror = self._mirror
        path = self.folder / FILE
        if not path.is_file():
            return
        with path.open("rb") as file:
            file.seek(mirror.offset)
            block = file.read()
        whole = block.rfind(b"\n") + 1
        mirror.offset += whole
        for line in block[:whole].splitlines():
            event: Event = json.loads(line)
            mirror.at = event["at"]
            if event["event"] == "sweep":
                mirror.opening = event
            if event["event"] in {"session", "finish"}:
                mirror.closing = event if event["event"] == "finish" else None
                self._stale = True
            record = fold(mirror.records, event)
            if record is not None and event["event"] in {"start", "end"}:
                mirror.dirty.add(record.number)

    def _connect(self) -> None:
        """Open the store, find the experiment and what earlier sessions left there."""
        if self._client is not None:
            return
        client = open_store(self.uri)
        mirror = self._mirror
        assert mirror.opening is not None
        self._experiment = _experiment(client, mirror.opening, self.folder, self.uri)
        mirror.runs, mirror.statuses, mirror.settled, mirror.front = {}, {}, {}, set()
        parent = None
        for run in _search(client, self._experiment, runs.sweep_id(mirror.opening)):
            tags = run.data.tags
            mirror.statuses[run.info.run_id] = run.info.status
            if tags.get("plastsearch.role") == "sweep":
                parent = run.info.run_id
                continue
            number = int(tags["plastsearch.trial"])
            mirror.runs[number] = run.info.run_id
            mirror.settled[number] = tags.get("plastsearch.ended_at", "")
            if tags.get(pages.FRONT_TAG) == "true":
                mirror.front.add(number)
        self._client = client
        self._parent = parent or self._new_parent(client, mirror.opening)
        mirror.dirty |= {number for number, record in mirror.records.items() if self._behind(record)}

    def _behind(self, record: TrialRecord) -> bool:
        if record.ended:
            return self._mirror.settled.get(record.number) != repr(record.ended_at)
        return record.state == "running"

    def _new_parent(self, client: "MlflowClient", opening: Event) -> str:
        run = client.create_run(
            self._experiment, start_time=runs.milliseconds(opening["at"]), tags=runs.sweep_tags(opening),
            run_name=str(opening.get("name") or self.folder.name),
        )  # fmt: skip
        self._log(run.info.run_id, params=runs.sweep_params(opening))
        self._mirror.statuses[run.info.run_id] = "RUNNING"
        return str(run.info.run_id)

    def _push(self) -> None:
        """Bring the store's runs up to the journal, one trial after the other."""
        mirror = self._mirror
        for number in sorted(mirror.dirty):
            record = mirror.records[number]
            run = mirror.runs.get(number) or self._new_run(record)
            if record.ended:
                self._log(run, runs.trial_points(record), runs.trial_params(record), runs.trial_tags(record))
                self._set_status(run, runs.STATUSES[record.state], record.ended_at)
                mirror.settled[number] = repr(record.ended_at)
                self._stale = True
            else:
                self._set_status(run, "RUNNING")
            mirror.dirty.discard(number)
        if mirror.closing is None:
            self._set_status(self._parent, "RUNNING")

    def _new_run(self, record: TrialRecord) -> str:
        assert self._client is not None
        assert self._mirror.opening is not None
        run = self._client.create_run(
            self._experiment, start_time=runs.milliseconds(record.started_at or record.proposed_at),
            tags=runs.trial_identity(record, self._mirror.opening, self._parent), run_name=runs.trial_name(record),
        )  # fmt: skip
        self._mirror.runs[record.number] = run.info.run_id
        self._mirror.statuses[run.info.run_id] = "RUNNING"
        return str(run.info.run_id)

    def _log(
        self, run: str, points: list[runs.Point] | None = None, params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """One request, or as few as the server's limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(one.key, one.value, one.timestamp_ms, one.step) for one in points or []]
        lots = (
            runs.in_lots(metrics, _BATCH_METRICS),
            runs.in_lots([Param(*item) for item in (params or {}).items()], _BATCH_REST),
            runs.in_lots([RunTag(*item) for item in (tags or {}).items()], _BATCH_REST),
        )
        assert self._client is not None
        for n in range(max(map(len, lots))):
            some: list[list[Any]] = [lot[n] if n < len(lot) else [] for lot in lots]
            self._client.log_batch(run, metrics=some[0], params=some[1], tags=some[2])

    def _set_status(self, run: str, status: str, at: float | None = None) -> None:
        assert self._client is not None
        if self._mirror.statuses.get(run) == status:
            return
        if status == "RUNNING":
            self._client.update_run(run, status=status)
        else:
            self._client.set_terminated(run, status, end_time=runs.milliseconds(at or self._mirror.at))
        self._mirror.statuses[run] = status

    def _show(self) -> None:
        """Figures and tables of the sweep so far onto the parent run, front members tagged, views saved."""
        self._rendered_at, self._stale = time.monotonic(), False
        if self._render is None or self._client is None or not any(r.ended for r in self._mirror.records.values()):
            return
        rendering = self._render(self.folder)
        for path, file in rendering.files.items():
            self._client.log_artifact(self._parent, str(file), str(Path(path).parent) if "/" in path else None)
        self._describe(rendering)
        for number in rendering.front - self._mirror.front:
            self._client.set_tag(self._mirror.runs[number], pages.FRONT_TAG, "true")
        for number in self._mirror.front - rendering.front:
            self._client.delete_tag(self._mirror.runs[number], pages.FRONT_TAG)
        self._mirror.front = set(rendering.front)
        step = sum(record.ended for record in self._mirror.records.values())
        at = runs.milliseconds(self._mirror.at)
        self._log(self._parent, [runs.Point(key, value, at, step) for key, value in rendering.summary.items()])

    def _describe(self, rendering: Rendering) -> None:
        assert self._client is not None
        assert self._mirror.opening is not None
        opening = self._mirror.opening
        note = pages.run_note(self._experiment, self._parent, rendering.page, rendering.picture, rendering.note)
        self._log(self._parent, tags={"mlflow.note.content": note})
        objectives = [(one["metric"], one.get("goal", "min")) for one in opening["spec"].get("objectives") or []]
        views = pages.saved_views(
            runs.sweep_id(opening), objectives or [("dev_eer", "min")], list(opening["spec"].get("space") or {}),
            runs.milliseconds(opening["at"]),
        )  # fmt: skip
        views["mlflow.note.content"] = pages.experiment_note(self._experiment, self._parent, rendering.page)
        for key, value in views.items():
            self._client.set_experiment_tag(self._experiment, key, value)

    def _settle(self) -> None:
        """Leave no run that claims to be running: a resumed sweep starts them again."""
        mirror = self._mirror
        for number, run in mirror.runs.items():
            if not mirror.records[number].ended:
                self._set_status(run, "KILLED")
        status = runs.SWEEP_STATUSES.get(mirror.closing["status"], "FINISHED") if mirror.closing else "KILLED"
        self._set_status(self._parent, status)


def sync(folder: Path, uri: str | None = None, render: Renderer | None = None, timeout_s: float = 600.0) -> Place:
    """Bring a store up to a sweep's journal; raises if that fails."""
    tracker = MlflowTracker(folder, uri, render=render)
    trouble = tracker.close(timeout_s)
    place = tracker.place()
    if trouble or place is None:
        raise PlastsearchError(tracker.trouble or f"{folder}: no sweep here ({FILE} is missing or empty)")
    return place


def open_store(uri: str) -> "MlflowClient":
    """A client of a store; a SQLite file is made in write-ahead mode before anyone else can open it."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=WAL")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _experiment(client: "MlflowClient", opening: Event, folder: Path, uri: str) -> str:
    name = runs.experiment_name(opening)
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    own = (Path(folder).resolve() / "mlflow" / "artifacts").as_uri() if uri == mlflow_uri(folder) else None
    return str(client.create_experiment(name, artifact_location=own))


def _search(client: "MlflowClient", experiment: str, sweep: str) -> list[Any]:
    found: list[Any] = []
    token, of_sweep = None, f"tags.`plastsearch.sweep` = '{sweep}'"
    while True:
        page = client.search_runs([experiment], of_sweep, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def shown(uri: str) -> str:
    """An address without the password it may hold."""
    head, at, tail = uri.rpartition("@")
    return f"{head.split('//')[0]}//…@{tail}" if at and "//" in head else uri
