"""A sweep's journal mirrored into MLflow.

Runs are found again by tags and every timestamp comes from the journal, so that replaying changes nothing.
"""

import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plastsearch.addresses import address_of, link, shown, typed
from plastsearch.errors import PlastsearchError
from plastsearch.tracking import mlflow_bulk as bulk
from plastsearch.tracking import mlflow_pages as pages
from plastsearch.tracking import mlflow_runs as terms
from plastsearch.tracking.events import Opened
from plastsearch.tracking.follower import Follower, in_a_line
from plastsearch.tracking.journal import FILE, driver_lives, read
from plastsearch.tracking.mlflow_links import Links, keep_links
from plastsearch.tracking.mlflow_pages import Renderer, Rendering
from plastsearch.tracking.mlflow_store import (
    Store,
    database_of,
    experiment_of,
    file_of,
    mlflow_uri,
    open_store,
    runs_of,
)
from plastsearch.tracking.ranking import objectives_of
from plastsearch.tracking.records import TrialRecord


@dataclass(frozen=True)
class Place:
    """Where a sweep stands in a store."""

    uri: str
    experiment: str
    run: str


class MlflowTracker(Follower):
    """Follows one sweep folder; renders its figures every so often and at the end. `uri` may be `env:NAME`."""

    def __init__(
        self,
        folder: Path,
        uri: str | None = None,
        *,
        render: Renderer | None = None,
        render_every_s: float = 20.0,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self.uri = address_of(uri) if uri else mlflow_uri(folder)
        self._typed = uri and typed(uri)
        self._render = render
        self._render_every_s = render_every_s
        self._store: Store | None = None
        self._rendered_at = 0.0
        self._rest_s = 0.0
        self._stale = True  # something ended since the last drawing
        # Last, since it starts the thread, which needs all of the above.
        super().__init__(folder, f"MLflow at {shown(self.uri)}", on_trouble)

    def place(self) -> Place | None:
        """Where the sweep stands, once it does."""
        return None if self._store is None else Place(self.uri, self._store.experiment, self._store.parent)

    def reason(self, error: Exception) -> str:
        """What went wrong, without the login that the address may hold."""
        return in_a_line(error, self.uri)

    def remedy(self) -> str:
        """What to type to catch up; a server has to be named again."""
        return f"{super().remedy()} {shlex.join(['--mlflow', self._typed])}" if self._typed else super().remedy()

    def disconnect(self) -> None:
        """Forget the open store, so that everything is looked up again next time."""
        self._store = None

    def update(self, opening: Opened, last: bool) -> None:
        """Trials first, then what is drawn of them."""
        store = self._store or self._connect(opening)
        self._push(store, opening)
        if last or (self._stale and time.monotonic() - self._rendered_at >= self._rest_s):
            self._show(store, opening)
        if last:
            self._settle(store)

    def _connect(self, opening: Opened) -> Store:
        """Open the store; what earlier sessions left there is found by tags."""
        client = open_store(self.uri)
        store = Store(client, experiment_of(client, opening, self.folder, self.uri))
        for run in runs_of(client, store.experiment, terms.sweep_id(opening)):
            tags = run.data.tags
            store.statuses[run.info.run_id] = run.info.status
            if tags.get("plastsearch.role") == "sweep":
                store.parent = run.info.run_id
                store.sweep_tags = dict(tags)
                continue
            number = int(tags["plastsearch.trial"])
            store.runs[number] = run.info.run_id
            store.ended_at[number] = tags.get("plastsearch.ended_at", "")
            marks = {key: tags[key] for key in pages.MARKS if key in tags}
            if marks:
                store.marks[number] = marks
        if not store.parent:
            self._new_parent(store, opening)
        for number in [n for n in self.followed.changed if not _behind(self.followed.records[n], store)]:
            self.followed.mirrored(number)
        self._store, self._stale = store, True
        return store

    def _new_parent(self, store: Store, opening: Opened) -> None:
        run = store.client.create_run(
            store.experiment,
            start_time=terms.milliseconds(opening.at),
            tags=terms.sweep_tags(opening),
            run_name=opening.name or self.folder.name,
        )
        store.parent = run.info.run_id
        store.statuses[store.parent] = "RUNNING"
        store.log(store.parent, params=terms.sweep_params(opening))

    def _push(self, store: Store, opening: Opened) -> None:
        """Bring the store's runs up to the journal, one trial after the other."""
        self._push_many(store, opening)
        for number in sorted(self.followed.changed):
            record = self.followed.records[number]
            run = store.runs.get(number) or self._new_run(store, record, opening)
            if record.ended:
                # Everything of a trial at its end, in one request; its tags come last and say that all is there.
                store.log(run, terms.trial_points(record), terms.trial_params(record), terms.trial_tags(record))
                store.set_status(run, terms.STATUSES[record.state], record.ended_at or self.followed.at)
                self._stale = True
            else:
                store.set_status(run, "RUNNING", self.followed.at)
            self.followed.mirrored(number)
        if self.followed.news:
            tags = terms.session_tags(self.followed.sessions, self.followed.closing)
            if not tags.items() <= store.sweep_tags.items():
                store.log(store.parent, tags=tags)
                store.sweep_tags |= tags
            self._stale = True
            self.followed.news = False
        # A resumed sweep finds its parent run finished or killed, and sets it running again.
        if self.followed.closing is None:
            store.set_status(store.parent, "RUNNING", self.followed.at)

    def _push_many(self, store: Store, opening: Opened) -> None:
        """Where a file lacks many ended trials, write those at once."""
        path = file_of(self.uri)
        missing = [n for n in sorted(self.followed.changed) if self.followed.records[n].ended and n not in store.runs]
        if path is None or len(missing) < bulk.MANY or not bulk.takes(path):
            return
        for numbers in terms.in_lots(missing, bulk.EACH):
            runs: dict[int, bulk.NewRun] = {}
            for number in numbers:
                record = self.followed.records[number]
                found = bulk.new_run(record, opening, _parent(record, store))
                # One whose trial is yet to be written goes after it; one with odd keys MLflow itself refuses.
                if found.plain and (record.role != "replicate" or record.of in store.runs):
                    runs[number], store.runs[number], store.statuses[found.id] = found, found.id, found.status
            bulk.write(path, store.parent, list(runs.values()))
            for number in runs:
                self.followed.mirrored(number)
        self._stale = True

    def _new_run(self, store: Store, record: TrialRecord, opening: Opened) -> str:
        parent = _parent(record, store)
        run = store.client.create_run(
            store.experiment,
            start_time=terms.milliseconds(record.started_at or record.proposed_at),
            tags=terms.trial_identity(record, opening, parent),
            run_name=terms.trial_name(record),
        )
        store.runs[record.number] = str(run.info.run_id)
        store.statuses[store.runs[record.number]] = "RUNNING"
        return store.runs[record.number]

    def _show(self, store: Store, opening: Opened) -> None:
        """Figures and tables so far onto the parent run, front members tagged, chart views saved."""
        # Set before anything can raise: a figure that cannot be drawn is tried again later, not at every event.
        self._rendered_at = time.monotonic()
        self._rest_s = self._render_every_s
        self._stale = False
        if self._render is None or not any(record.ended for record in self.followed.records.values()):
            return
        began = time.monotonic()
        server = link(self.uri) if self.uri.startswith(("http:", "https:")) else ""
        keep_links(self.folder, Links(server=server, experiment=store.experiment, parent=store.parent, runs=store.runs))
        rendering = self._render(self.folder)
        for path, file in rendering.files.items():
            store.client.log_artifact(store.parent, str(file), str(Path(path).parent) if "/" in path else None)
        self._describe(store, opening, rendering)
        self._mark(store, rendering)
        step = sum(record.ended for record in self.followed.records.values())
        at = terms.milliseconds(self.followed.at)
        store.log(store.parent, [terms.Point(key, value, at, step) for key, value in rendering.summary.items()])
        store.log(store.parent, tags=dict(rendering.tags))
        # Drawing shares the driver's interpreter: it may take three hundredths of the time, no more.
        self._rest_s = max(self._render_every_s, 30 * (time.monotonic() - began))
        self._rendered_at = time.monotonic()

    def _mark(self, store: Store, rendering: Rendering) -> None:
        """Tag trials with their place in the front, and give those that ran again their means."""
        # By tag, for a page of MLflow loads 100 runs: with a filter on it the front is whole, however many trials.
        at = terms.milliseconds(self.followed.at)
        for number in sorted((rendering.marks.keys() | store.marks.keys()) & store.runs.keys()):
            run, known, wanted = store.runs[number], store.marks.get(number, {}), dict(rendering.marks.get(number, {}))
            means = rendering.means.get(number, {})
            points = [terms.Point(key, value, at, 0) for key, value in means.items()]
            points = points if means != store.means.get(number, {}) else []
            fresh = {key: value for key, value in wanted.items() if known.get(key) != value}
            if fresh or points:
                store.log(run, points, tags=fresh)
            for key in known.keys() - wanted.keys():
                store.client.delete_tag(run, key)
            store.marks[number], store.means[number] = wanted, means

    def _describe(self, store: Store, opening: Opened, rendering: Rendering) -> None:
        note = pages.run_note(store.experiment, store.parent, rendering.page, rendering.picture, rendering.note)
        store.log(store.parent, tags={"mlflow.note.content": note})
        tags = pages.saved_views(
            terms.sweep_id(opening),
            [(one.metric, one.goal) for one in objectives_of(opening.spec)],
            list(terms.section(opening.spec, "space")),
            terms.milliseconds(opening.at),
        )
        tags["mlflow.note.content"] = pages.experiment_note(store.experiment, store.parent, rendering.page)
        for key, value in tags.items():
            store.client.set_experiment_tag(store.experiment, key, value)

    def _settle(self, store: Store) -> None:
        """Leave no run that claims to be running; a resumed sweep starts them again."""
        for number, run in store.runs.items():
            if not self.followed.records[number].ended:
                store.set_status(run, "KILLED", self.followed.at)
        closing = self.followed.closing
        status = terms.SWEEP_STATUSES.get(closing.status, "FINISHED") if closing else "KILLED"
        store.set_status(store.parent, status, self.followed.at)


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
    address = address_of(uri) if uri else mlflow_uri(folder)
    opening = next((event for event in read(folder) if isinstance(event, Opened)), None)
    if opening is not None and not (address == mlflow_uri(folder) and not database_of(folder).exists()):
        try:
            place = _held_by(address, opening)
        except Exception as error:  # noqa: BLE001 - MLflow's own, its backends' and its transports' errors
            raise PlastsearchError(f"MLflow at {shown(address)} cannot be read ({in_a_line(error, address)})") from None
        if place is not None:
            return place
    raise PlastsearchError(f"{folder}: the sweep has only just begun and is not in MLflow yet; try again in a moment")


def _held_by(address: str, opening: Opened) -> Place | None:
    """Where a store holds the sweep, if it does."""
    client = open_store(address)
    experiment = client.get_experiment_by_name(terms.experiment_name(opening))
    known = [] if experiment is None else runs_of(client, experiment.experiment_id, terms.sweep_id(opening))
    for run in known:
        if run.data.tags.get("plastsearch.role") == "sweep":
            return Place(address, str(run.info.experiment_id), str(run.info.run_id))
    return None


def _parent(record: TrialRecord, store: Store) -> str:
    """The run below which a trial's lies: with a further seed under its trial, not beside it."""
    of = record.of if record.role == "replicate" else None
    return store.parent if of is None else store.runs.get(of, store.parent)


def _behind(record: TrialRecord, store: Store) -> bool:
    """Whether its run is missing, half written, or from before it ended."""
    status = store.statuses.get(store.runs.get(record.number, ""))
    if not record.ended:
        return status != "RUNNING"
    same = store.ended_at.get(record.number) == repr(record.ended_at)
    return not same or status != terms.STATUSES[record.state]


def _discard_if_moved(folder: Path) -> None:
    """A store knows its artifacts by their full path: in a folder that was moved or copied it is built anew."""
    location = database_of(folder).with_name("location")
    if location.exists() and location.read_text() != str(database_of(folder).with_name("artifacts")):
        shutil.rmtree(location.parent)
