"""A sweep's journal mirrored into MLflow.

Runs are found again by tags and every timestamp comes from the journal, so that replaying changes nothing.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from plastsearch.addresses import address_of, link, shown, typed
from plastsearch.tracking import mlflow_bulk as bulk
from plastsearch.tracking import mlflow_data as data
from plastsearch.tracking import mlflow_files as files
from plastsearch.tracking import mlflow_pages as pages
from plastsearch.tracking import mlflow_runs as terms
from plastsearch.tracking.events import Opened
from plastsearch.tracking.follower import Follower, in_a_line
from plastsearch.tracking.mlflow_links import Links, keep_links
from plastsearch.tracking.mlflow_pages import Renderer, Rendering
from plastsearch.tracking.mlflow_store import Store, experiment_of, file_of, mlflow_uri, open_store, runs_of
from plastsearch.tracking.ranking import objectives_of
from plastsearch.tracking.records import TrialRecord
from plastsearch.words import typed_again

# MLflow's own file is opened when the first trial has ended, or has taken so long: loading MLflow takes 3 s of
# processor time from clips and trial. A server is asked at once, for who named it may have named it wrongly.
PATIENCE_S = 30.0
AT_ONCE = 6  # requests to a server: it answers one while it waits for its database with another


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
        self.made: set[int] = set()  # trials whose run was not there
        self.updated: set[int] = set()  # and whose run was there and behind
        self.made_sweep = False
        self.lost_files = 0  # that the journal names and nobody has any more
        # Last, since it starts the thread, which needs all of the above.
        patience_s = PATIENCE_S if file_of(self.uri) else 0.0
        super().__init__(folder, f"MLflow at {shown(self.uri)}", on_trouble, patience_s=patience_s)

    def place(self) -> Place | None:
        """Where the sweep stands, once it does."""
        return None if self._store is None else Place(self.uri, self._store.experiment, self._store.parent)

    def reason(self, error: Exception) -> str:
        """What went wrong, without the login that the address may hold."""
        return in_a_line(error, self.uri)

    def remedy(self) -> str:
        """What to type to catch up; a server has to be named again."""
        return f"{super().remedy()} {typed_again(['--mlflow', self._typed])}" if self._typed else super().remedy()

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
            if store.doubtful:
                store.take_in(runs_of(store.client, store.experiment, terms.sweep_id(opening)))
            self._settle(store)

    def _connect(self, opening: Opened) -> Store:
        """Open the store; what earlier sessions left there is found by tags."""
        client = open_store(self.uri)
        store = Store(client, experiment_of(client, opening, self.folder, self.uri), self.uri)
        found = runs_of(client, store.experiment, terms.sweep_id(opening))
        store.take_in(found)
        if not store.parent:
            self._new_parent(store, opening)
        for number in [n for n in self.followed.changed if not _behind(self.followed.records[n], store)]:
            self.followed.mirrored(number)
        self._store, self._stale = store, True
        return store

    def _new_parent(self, store: Store, opening: Opened) -> None:
        name = opening.name or self.folder.name
        store.parent = store.new_run(name, opening.at, terms.sweep_tags(opening))
        store.log(store.parent, params=terms.sweep_params(opening))
        self.made_sweep = True

    def _push(self, store: Store, opening: Opened) -> None:
        """Bring the store's runs up to the journal: those first below whose runs others are to lie."""
        while self.followed.changed:
            waiting = sorted(self.followed.changed)
            records = [self.followed.records[number] for number in waiting]
            # A trial with a further seed lies under its trial; where that is no part of the journal, under the sweep.
            ready = [one for one in records if one.of is None or one.of in store.runs or one.of not in waiting]
            self._push_data(store, records)
            left = self._push_many(store, opening, ready or records)
            self._push_each(store, opening, left)
        if self.followed.news:
            self._push_news(store)
        # A resumed sweep finds its parent run finished or killed, and sets it running again.
        if self.followed.closing is None:
            store.set_status(store.parent, "RUNNING", self.followed.at)

    def _push_news(self, store: Store) -> None:
        tags = terms.session_tags(self.followed.sessions, self.followed.closing)
        if not tags.items() <= store.sweep_tags.items():
            store.log(store.parent, tags=tags)
            store.sweep_tags |= tags
        self._stale = True
        self.followed.news = False

    def _push_data(self, store: Store, records: Sequence[TrialRecord]) -> None:
        """Every dataset that a trial read is the sweep's, too."""
        read_by_any = data.distinct(one for record in records if record.ended for one in data.inputs_of(record))
        fresh = [one for one in read_by_any if one.key not in store.datasets]
        if fresh:
            store.log_inputs(store.parent, fresh)
            store.datasets |= {one.key for one in fresh}

    def _push_each(self, store: Store, opening: Opened, records: Sequence[TrialRecord]) -> None:
        """One trial after the other; on a server, where all the time is waiting, several at once."""
        if store.remote and len(records) > 1:
            with ThreadPoolExecutor(AT_ONCE, "tracker") as pool:
                works = {pool.submit(self._write, store, opening, record): record.number for record in records}
                try:
                    for work in as_completed(works):
                        work.result()
                        self.followed.mirrored(works[work])
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        else:
            for record in records:
                self._write(store, opening, record)
                self.followed.mirrored(record.number)
        self._stale = self._stale or any(record.ended for record in records)

    def _write(self, store: Store, opening: Opened, record: TrialRecord) -> None:
        """All of one trial as the journal has it now; touches nothing of any other."""
        parent = _parent(record, store)
        identity = terms.trial_identity(record, opening, parent)
        known = store.runs.get(record.number)
        began = record.begun_at or record.proposed_at  # the first attempt: MLflow lets no start be changed later
        tags = identity | (terms.trial_tags(record, self.followed.sessions) if record.ended else {})
        # At once where nothing is known: a server looks each tag up that is set later. But for the one that says that
        # all is there.
        new = {key: text for key, text in tags.items() if key != terms.ENDED_TAG}
        run = known or store.new_run(terms.trial_name(record), began, new)
        store.runs[record.number] = run
        (self.made if known is None else self.updated).add(record.number)
        if not record.ended:
            store.set_status(run, "RUNNING", self.followed.at)
            return
        with files.gathered(record, self.folder) as folder:
            store.upload(run, folder)
        self.lost_files += len(files.lost_of(record, self.folder))
        store.log_inputs(run, data.inputs_of(record))
        # Everything else of a trial in one request, with the tag that says that all is there.
        tags = tags if known else {terms.ENDED_TAG: tags[terms.ENDED_TAG]}
        store.log(run, terms.trial_points(record), terms.trial_params(record), tags)
        store.set_status(run, terms.STATUSES[record.state], record.ended_at or self.followed.at)

    def _push_many(self, store: Store, opening: Opened, ready: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Where a file lacks many ended trials, write those at once; the others are given back."""
        path = file_of(self.uri)
        missing = [one for one in ready if one.ended and one.number not in store.runs]
        if path is None or len(missing) < bulk.MANY or not bulk.takes(path):
            return list(ready)
        written: set[int] = set()
        for records in terms.in_lots(missing, bulk.EACH):
            runs: dict[int, bulk.NewRun] = {}
            for record in records:
                found = bulk.new_run(record, opening, _parent(record, store), self.followed.sessions)
                if found.plain:  # one with odd keys MLflow itself refuses
                    runs[record.number] = found
                    with files.gathered(record, self.folder) as folder:
                        store.upload(found.id, folder)
                    self.lost_files += len(files.lost_of(record, self.folder))
            bulk.write(path, store.parent, list(runs.values()))
            for number, found in runs.items():
                store.runs[number], store.statuses[found.id] = found.id, found.status
                self.followed.mirrored(number)
            written |= runs.keys()
            self.made |= runs.keys()
        self._stale = True
        return [one for one in ready if one.number not in written]

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


def _parent(record: TrialRecord, store: Store) -> str:
    """The run below which a trial's lies: with a further seed under its trial, not beside it."""
    of = record.of if record.role in {"replicate", "finalist"} else None
    return store.parent if of is None else store.runs.get(of, store.parent)


def _behind(record: TrialRecord, store: Store) -> bool:
    """Whether its run is missing, half written, or from before it ended."""
    run = store.runs.get(record.number, "")
    status = store.statuses.get(run)
    if not record.ended:
        return status != "RUNNING"
    # The mark of its end is written last: with it, all of the run is there.
    there = store.ended_at.get(record.number) == (repr(record.ended_at), terms.FORM)
    placed = store.parents.get(run) == _parent(record, store)
    return not (there and placed) or status != terms.STATUSES[record.state]
