"""A store of MLflow: opened quietly, written in few requests, searched by tags. Its server has a door of its own."""

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastsearch.imports import uncollected
from plastsearch.tracking import mlflow_runs as terms
from plastsearch.tracking.events import Opened
from plastsearch.tracking.mlflow_data import CONTEXT, SCHEMA, DataInput
from plastsearch.tracking.mlflow_pages import MARKS

if TYPE_CHECKING:
    from mlflow import MlflowClient

_QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the defaults block four minutes on a server that is down
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "DO_NOT_TRACK": "true",
}
_SQLITE, _REMOTE = "sqlite:///", ("http://", "https://")
_DOUBTFUL_S = 0.8  # MLflow's client sends a request again after a second at the earliest, or at a broken connection
_PAGE = 200  # runs in an answer: a thousand, with all they say, take a busy server longer than one waits for it
_METRICS_EACH, _REST_EACH = 900, 90  # a request takes 1000 metrics, 100 parameters, 100 tags


@dataclass
class Store:
    """An open store and what it holds of one sweep."""

    client: "MlflowClient"
    experiment: str
    uri: str
    parent: str = ""
    runs: dict[int, str] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    ended_at: dict[int, tuple[str, str]] = field(default_factory=dict)  # when, and of which form the run is
    parents: dict[str, str] = field(default_factory=dict)  # run → the one it lies under
    datasets: set[tuple[str, str]] = field(default_factory=set)  # of the parent, by name and digest
    places: dict[str, str] = field(default_factory=dict)  # run → where its artifacts are
    doubtful: bool = False  # a request took so long that it may have been sent twice
    marks: dict[int, dict[str, str]] = field(default_factory=dict)  # trial → what its tags say of the front
    means: dict[int, Mapping[str, float]] = field(default_factory=dict)  # trial → as last written
    sweep_tags: dict[str, str] = field(default_factory=dict)  # of the parent

    @property
    def remote(self) -> bool:
        """Whether all the time goes into waiting for somebody else."""
        return self.uri.startswith(_REMOTE)

    def take_in(self, runs: Iterable[Any]) -> None:
        """What runs of the sweep there are; of two for one trial the one that says less goes."""
        found: dict[int | None, list[Any]] = {}
        for run in runs:
            tags = run.data.tags
            number = None if tags.get("plastsearch.role") == "sweep" else int(tags["plastsearch.trial"])
            found.setdefault(number, []).append(run)
        for number, alike in found.items():
            # A request that was answered too late was sent again by MLflow's client, and so a run was made twice.
            alike.sort(key=lambda one: (-len(one.data.tags), one.info.run_id))
            for double in alike[1:]:
                self.client.delete_run(double.info.run_id)
            self._take_in(number, alike[0])
        self.doubtful = False

    def _take_in(self, number: int | None, run: Any) -> None:
        key, tags = str(run.info.run_id), run.data.tags
        self.statuses[key], self.places[key] = run.info.status, run.info.artifact_uri
        self.parents[key] = tags.get("mlflow.parentRunId", "")
        if number is None:
            self.parent, self.sweep_tags = key, dict(tags)
            inputs = [] if run.inputs is None else run.inputs.dataset_inputs
            self.datasets = {(one.dataset.name, one.dataset.digest) for one in inputs}
            return
        self.runs[number] = key
        self.ended_at[number] = tags.get(terms.ENDED_TAG, ""), tags.get(terms.FORM_TAG, "")
        marks = {name: tags[name] for name in MARKS if name in tags}
        if marks:
            self.marks[number] = marks

    def new_run(self, name: str, began: float, tags: Mapping[str, str]) -> str:
        """A run that says of itself that it is at work."""
        asked_s = time.monotonic()
        run = self.client.create_run(self.experiment, terms.milliseconds(began), dict(tags), name)
        self.doubtful |= time.monotonic() - asked_s > _DOUBTFUL_S
        key = str(run.info.run_id)
        self.statuses[key], self.places[key] = "RUNNING", run.info.artifact_uri
        self.parents[key] = tags.get("mlflow.parentRunId", "")
        return key

    def log_inputs(self, run: str, inputs: Sequence[DataInput]) -> None:
        """Say which datasets a run read; one that is said twice is there once."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if inputs:
            self.client.log_inputs(
                run,
                [
                    DatasetInput(
                        Dataset(one.name, one.digest, one.source_type, one.source, SCHEMA, one.profile),
                        [InputTag(CONTEXT, one.context)],
                    )
                    for one in inputs
                ],
            )

    def upload(self, run: str, folder: Path) -> None:
        """Every file of a folder as an artifact, under its path in it."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        # Where it is, is known: asking the server first would be a request more for each run.
        place = self.places.get(run) or self.places[self.parent].replace(self.parent, run)
        get_artifact_repository(place, tracking_uri=self.uri).log_artifacts(str(folder))

    def set_status(self, run: str, status: str, at: float) -> None:
        """Set a run's status, in one request, if it has another one."""
        if self.statuses.get(run) == status:
            return
        # Nobody but us ends a run: MLflow shows one whose process was killed as running for ever.
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
        """Write metrics, parameters and tags of a run, in as few requests as the limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        # Cost is per request: on a server 100 metrics take 43 ms together, one alone 31 ms. Metrics are written with
        # the journal's timestamps, so that MLflow keeps one of those that a replay writes twice.
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


def mlflow_uri(folder: Path) -> str:
    """The store of a sweep that names no server: a SQLite file in its own folder."""
    return f"{_SQLITE}{database_of(folder)}"


def be_quiet() -> None:
    """Settle what MLflow says and how long it waits, before it is imported: it reads some of that only once."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name, level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("urllib3", logging.ERROR)):
        logging.getLogger(name).setLevel(level)


def open_store(uri: str) -> "MlflowClient":
    """A client of a store; a SQLite file is made in write-ahead mode before anyone else can open it."""
    be_quiet()
    path = file_of(uri)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before anybody else opens it: writers wait a fifth as long in this mode (p95 188 instead of 893 ms), and
        # processes that make the tables of a fresh file at once crash.
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=WAL")
    with uncollected():
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri)


def file_of(uri: str) -> Path | None:
    """The file of a store that is one."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def database_of(folder: Path) -> Path:
    """The SQLite file of a sweep that names no server."""
    return Path(folder).resolve() / "mlflow" / "mlflow.db"


def experiment_of(client: "MlflowClient", opening: Opened, folder: Path, uri: str) -> str:
    """The experiment of a space, made or undeleted if need be."""
    name = terms.experiment_name(opening)
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage == "deleted":
            client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)
    if uri.startswith(_REMOTE):
        return str(client.create_experiment(name))  # a server knows where its artifacts go
    # Without a place of its own an experiment writes into the folder in which one happens to stand.
    if not uri.startswith(_SQLITE):
        beside = folder.resolve().parent / "mlflow-artifacts"  # of all sweeps there: a database has no folder
        return str(client.create_experiment(name, artifact_location=beside.as_uri()))
    artifacts = Path(uri.removeprefix(_SQLITE)).resolve().with_name("artifacts")
    if uri == mlflow_uri(folder):
        artifacts.with_name("location").write_text(str(artifacts))
    return str(client.create_experiment(name, artifact_location=artifacts.as_uri()))


def runs_of(client: "MlflowClient", experiment: str, sweep: str | None = None) -> list[Any]:
    """Every run of a sweep, its own among them; None: of all sweeps."""
    found: list[Any] = []
    token = None
    of_sweep = (
        "" if sweep is None else f"tags.`plastsearch.sweep` = '{sweep}'"
    )  # never by name, which a user may change on the page
    while True:
        page = client.search_runs([experiment], of_sweep, max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
