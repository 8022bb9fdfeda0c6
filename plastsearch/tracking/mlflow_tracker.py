"""A sweep's journal mirrored into MLflow; the only door to mlflow.

Runs are found again by tags and every timestamp comes from the journal, so that replaying changes nothing.
"""

import fcntl
import logging
import os
import shlex
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastsearch.errors import PlastsearchError
from plastsearch.tracking import mlflow_pages as pages
from plastsearch.tracking import mlflow_runs as terms
from plastsearch.tracking.follower import Follower
from plastsearch.tracking.journal import FILE, LOCK, Event, TrialRecord, read
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
_SQLITE = "sqlite:///"
_METRICS_EACH, _REST_EACH = 900, 90  # a request takes 1000 metrics, 100 parameters, 100 tags


@dataclass(frozen=True)
class Place:
    """Where a sweep stands in a store."""

    uri: str
    experiment: str
    run: str


@dataclass
class _Store:
    """An open store and what it holds of one sweep."""

    client: "MlflowClient"
    experiment: str
    parent: str = ""
    runs: dict[int, str] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    ended_at: dict[int, str] = field(default_factory=dict)
    front: set[int] = field(default_factory=set)

    def set_status(self, run: str, status: str, at: float) -> None:
        """One request if it differs, none if not."""
        if self.statuses.get(run) == status:
            return
        if status == "RUNNING":
            self.client.update_run(run, status=status)
        else:
            self.client.set_terminated(run, status, end_time=terms.milliseconds(at))
        self.statuses[run] = status

    def log(
        self,
        run: str,
        points: list[terms.Point] | None = None,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """One request, or as few as the limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(one.key, one.value, one.timestamp_ms, one.step) for one in points or []]
        lots: list[list[list[Any]]] = [
            terms.in_lots(metrics, _METRICS_EACH),
            terms.in_lots([Param(*item) for item in (params or {}).items()], _REST_EACH),
            terms.in_lots([RunTag(*item) for item in (tags or {}).items()], _REST_EACH),
        ]
        total = max(map(len, lots))
        lots = [[[]] * (total - len(lot)) + lot for lot in lots]  # tags last: they say that all the rest is there
        for some in zip(*lots, strict=True):
            self.client.log_batch(run, metrics=some[0], params=some[1], tags=some[2])


class MlflowTracker(Follower):
    """Follows one sweep folder; renders its figures every so often and at the end."""

    def __init__(
        self,
        folder: Path,
        uri: str | None = None,
        *,
        render: Renderer | None = None,
        render_every_s: float = 20.0,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self.uri = uri or mlflow_uri(folder)
        self._render, self._render_every_s = render, render_every_s
        self._store: _Store | None = None
        self._rendered_at, self._rest_s, self._stale = 0.0, 0.0, True
        super().__init__(folder, f"MLflow at {shown(self.uri)}", on_trouble)

    def place(self) -> Place | None:
        """Where the sweep stands, once it does."""
        return None if self._store is None else Place(self.uri, self._store.experiment, self._store.parent)

    def remedy(self) -> str:
        """A server has to be named again."""
        own = self.uri == mlflow_uri(self.folder)
        return super().remedy() if own else f"{super().remedy()} {shlex.join(['--mlflow', shown(self.uri)])}"

    def disconnect(self) -> None:
        """Look everything up again next time."""
        self._store = None

    def update(self, opening: Event, last: bool) -> None:
        """Trials first, then what is drawn of them."""
        store = self._store or self._connect(opening)
        self._push(store, opening)
        if last or (self._stale and time.monotonic() - self._rendered_at >= self._rest_s):
            self._show(store, opening)
        if last:
            self._settle(store)

    def _connect(self, opening: Event) -> _Store:
        """Open the store; what earlier sessions left there is found by tags."""
        client = open_store(self.uri)
        store = _Store(client, _experiment(client, opening, self.folder, self.uri))
        for run in _search(client, store.experiment, terms.sweep_id(opening)):
            tags = run.data.tags
            store.statuses[run.info.run_id] = run.info.status
            if tags.get("plastsearch.role") == "sweep":
                store.parent = run.info.run_id
                continue
            number = int(tags["plastsearch.trial"])
            store.runs[number] = run.info.run_id
            store.ended_at[number] = tags.get("plastsearch.ended_at", "")
            if tags.get(pages.FRONT_TAG) == "true":
                store.front.add(number)
        if not store.parent:
            self._new_parent(store, opening)
        for number in [n for n in self.sofar.changed if not _behind(self.sofar.records[n], store)]:
            self.sofar.mirrored(number)
        self._store, self._stale = store, True
        return store

    def _new_parent(self, store: _Store, opening: Event) -> None:
        run = store.client.create_run(
            store.experiment,
            start_time=terms.milliseconds(opening["at"]),
            tags=terms.sweep_tags(opening),
            run_name=str(opening.get("name") or self.folder.name),
        )
        store.parent = run.info.run_id
        store.statuses[store.parent] = "RUNNING"
        store.log(store.parent, params=terms.sweep_params(opening))

    def _push(self, store: _Store, opening: Event) -> None:
        """Bring the store's runs up to the journal, one trial after the other."""
        for number in sorted(self.sofar.changed):
            record = self.sofar.records[number]
            run = store.runs.get(number) or self._new_run(store, record, opening)
            if record.ended:
                store.log(run, terms.trial_points(record), terms.trial_params(record), terms.trial_tags(record))
                store.set_status(run, terms.STATUSES[record.state], record.ended_at or self.sofar.at)
                self._stale = True
            else:
                store.set_status(run, "RUNNING", self.sofar.at)
            self.sofar.mirrored(number)
        if self.sofar.news:
            self._stale, self.sofar.news = True, False
        if self.sofar.closing is None:
            store.set_status(store.parent, "RUNNING", self.sofar.at)

    def _new_run(self, store: _Store, record: TrialRecord, opening: Event) -> str:
        run = store.client.create_run(
            store.experiment,
            start_time=terms.milliseconds(record.started_at or record.proposed_at),
            tags=terms.trial_identity(record, opening, store.parent),
            run_name=terms.trial_name(record),
        )
        store.runs[record.number] = str(run.info.run_id)
        store.statuses[store.runs[record.number]] = "RUNNING"
        return store.runs[record.number]

    def _show(self, store: _Store, opening: Event) -> None:
        """Figures and tables so far onto the parent run, front members tagged, chart views saved."""
        self._rendered_at, self._stale, self._rest_s = time.monotonic(), False, self._render_every_s
        if self._render is None or not any(record.ended for record in self.sofar.records.values()):
            return
        began = time.monotonic()
        rendering = self._render(self.folder)
        for path, file in rendering.files.items():
            store.client.log_artifact(store.parent, str(file), str(Path(path).parent) if "/" in path else None)
        self._describe(store, opening, rendering)
        members = rendering.front & store.runs.keys()
        for number in members - store.front:
            store.client.set_tag(store.runs[number], pages.FRONT_TAG, "true")
        for number in store.front - members:
            store.client.delete_tag(store.runs[number], pages.FRONT_TAG)
        store.front = set(members)
        step = sum(record.ended for record in self.sofar.records.values())
        at = terms.milliseconds(self.sofar.at)
        store.log(store.parent, [terms.Point(key, value, at, step) for key, value in rendering.summary.items()])
        # Drawing shares the driver's interpreter: it may take three hundredths of the time, no more.
        self._rest_s = max(self._render_every_s, 30 * (time.monotonic() - began))
        self._rendered_at = time.monotonic()

    def _describe(self, store: _Store, opening: Event, rendering: Rendering) -> None:
        note = pages.run_note(store.experiment, store.parent, rendering.page, rendering.picture, rendering.note)
        store.log(store.parent, tags={"mlflow.note.content": note})
        spec = opening["spec"]
        objectives = [(one["metric"], one.get("goal", "min")) for one in spec.get("objectives") or []]
        tags = pages.saved_views(
            terms.sweep_id(opening),
            objectives or [("dev_eer", "min")],
            list(spec.get("space") or {}),
            terms.milliseconds(opening["at"]),
        )
        tags["mlflow.note.content"] = pages.experiment_note(store.experiment, store.parent, rendering.page)
        for key, value in tags.items():
            store.client.set_experiment_tag(store.experiment, key, value)

    def _settle(self, store: _Store) -> None:
        """Leave no run that claims to be running; a resumed sweep starts them again."""
        for number, run in store.runs.items():
            if not self.sofar.records[number].ended:
                store.set_status(run, "KILLED", self.sofar.at)
        closing = self.sofar.closing
        status = terms.SWEEP_STATUSES.get(closing["status"], "FINISHED") if closing else "KILLED"
        store.set_status(store.parent, status, self.sofar.at)


def mlflow_uri(folder: Path) -> str:
    """The store of a sweep that names no server: a SQLite file in its own folder."""
    return f"{_SQLITE}{_database(folder)}"


def sync(folder: Path, uri: str | None = None, render: Renderer | None = None, timeout_s: float = 600.0) -> Place:
    """Bring a store up to a sweep's journal; raises if that fails."""
    read(folder)  # no sweep there is a mistake of the caller, not of the store
    if uri is None:
        _discard_if_moved(folder)
    tracker = MlflowTracker(folder, uri, render=render)
    tracker.close(timeout_s)
    place = tracker.place()
    if tracker.trouble or place is None:
        raise PlastsearchError(tracker.trouble or f"{folder}/{FILE}: no sweep was recorded there")
    return place


def locate(folder: Path, uri: str | None = None, render: Renderer | None = None) -> Place:
    """Where a sweep stands, brought up to date first unless its driver lives and does that itself."""
    if not driver_lives(folder):
        return sync(folder, uri, render)
    uri = uri or mlflow_uri(folder)
    opening = next((event for event in read(folder) if event["event"] == "sweep"), None)
    if opening is not None and not (uri == mlflow_uri(folder) and not _database(folder).exists()):
        client = open_store(uri)
        experiment = client.get_experiment_by_name(terms.experiment_name(opening))
        known = [] if experiment is None else _search(client, experiment.experiment_id, terms.sweep_id(opening))
        for run in known:
            if run.data.tags.get("plastsearch.role") == "sweep":
                return Place(uri, str(run.info.experiment_id), str(run.info.run_id))
    raise PlastsearchError(f"{folder}: the sweep has only just begun and is not in MLflow yet; try again in a moment")


def driver_lives(folder: Path) -> bool:
    """Whether somebody is writing this sweep's journal."""
    path = Path(folder) / LOCK
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def open_store(uri: str) -> "MlflowClient":
    """A client of a store; a SQLite file is made in write-ahead mode before anyone else can open it."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if uri.startswith(_SQLITE):
        path = Path(uri.removeprefix(_SQLITE))
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=WAL")
    for name, level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("urllib3", logging.ERROR)):
        logging.getLogger(name).setLevel(level)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def shown(uri: str) -> str:
    """An address without the password it may hold."""
    head, at, tail = uri.rpartition("@")
    return f"{head.split('//')[0]}//…@{tail}" if at and "//" in head else uri


def _behind(record: TrialRecord, store: _Store) -> bool:
    """Whether its run is missing, half written, or from before it ended."""
    status = store.statuses.get(store.runs.get(record.number, ""))
    if not record.ended:
        return status != "RUNNING"
    same = store.ended_at.get(record.number) == repr(record.ended_at)
    return not same or status != terms.STATUSES[record.state]


def _database(folder: Path) -> Path:
    return Path(folder).resolve() / "mlflow" / "mlflow.db"


def _experiment(client: "MlflowClient", opening: Event, folder: Path, uri: str) -> str:
    name = terms.experiment_name(opening)
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage == "deleted":
            client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)
    if not uri.startswith(_SQLITE):
        return str(client.create_experiment(name))  # a server knows where its artifacts go
    artifacts = Path(uri.removeprefix(_SQLITE)).resolve().with_name("artifacts")
    if uri == mlflow_uri(folder):
        artifacts.with_name("location").write_text(str(artifacts))
    return str(client.create_experiment(name, artifact_location=artifacts.as_uri()))


def _discard_if_moved(folder: Path) -> None:
    """A store knows its artifacts by their full path: in a folder that was moved or copied it is built anew."""
    location = _database(folder).with_name("location")
    if location.exists() and location.read_text() != str(_database(folder).with_name("artifacts")):
        shutil.rmtree(location.parent)


def _search(client: "MlflowClient", experiment: str, sweep: str) -> list[Any]:
    found: list[Any] = []
    token, of_sweep = None, f"tags.`plastsearch.sweep` = '{sweep}'"
    while True:
        page = client.search_runs([experiment], of_sweep, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
