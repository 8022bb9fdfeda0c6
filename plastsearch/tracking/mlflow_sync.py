"""A store of MLflow brought level with a sweep's journal after the fact, and where a sweep stands in one."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from plastsearch.addresses import address_of, shown
from plastsearch.errors import PlastsearchError
from plastsearch.tracking import mlflow_runs as terms
from plastsearch.tracking.events import Opened
from plastsearch.tracking.follower import in_a_line
from plastsearch.tracking.journal import FILE, driver_lives, read
from plastsearch.tracking.mlflow_pages import Renderer
from plastsearch.tracking.mlflow_store import database_of, mlflow_uri, open_store, runs_of
from plastsearch.tracking.mlflow_tracker import MlflowTracker, Place
from plastsearch.tracking.records import trials


@dataclass(frozen=True)
class Synced:
    """What was done to a store, in trials."""

    place: Place
    trials: int
    made: int
    updated: int
    made_sweep: bool
    lost_files: int
    seconds: float

    @property
    def level(self) -> int:
        """Whose runs said the same as the journal already."""
        return self.trials - self.made - self.updated

    @property
    def plain(self) -> dict[str, object]:
        """For programs."""
        return {
            "mlflow": shown(self.place.uri), "experiment": self.place.experiment, "run": self.place.run,
            "trials": self.trials, "made": self.made, "updated": self.updated, "level": self.level,
            "made_sweep": self.made_sweep, "lost_files": self.lost_files, "seconds": round(self.seconds, 3),
        }  # fmt: skip

    @property
    def sentence(self) -> str:
        """For people."""
        sweep = "the sweep's own run made" if self.made_sweep else "the sweep's own run was there"
        lost = f"; files that the journal names and that are gone: {self.lost_files}" if self.lost_files else ""
        return (
            f"MLflow at {shown(self.place.uri)} is level with the journal: {sweep}; of {self.trials} trials "
            f"{self.made} runs made, {self.updated} brought up to date, {self.level} level already; "
            f"{self.seconds:.1f} s{lost}"
        )


def sync(folder: Path, uri: str | None = None, render: Renderer | None = None, timeout_s: float = 600.0) -> Place:
    """Bring a store up to a sweep's journal; raises if that fails."""
    return synced(folder, uri, render, timeout_s).place


def synced(folder: Path, uri: str | None = None, render: Renderer | None = None, timeout_s: float = 600.0) -> Synced:
    """The same, and what there was to do."""
    began = time.monotonic()
    records = trials(read(folder))  # no sweep there is a mistake of the caller, not of the store
    if uri is None:
        _discard_if_moved(folder)
    # By the size of the sweep: a slow server gets a second for each trial before it is given up.
    patience_s = max(timeout_s, float(len(records)))
    tracker = MlflowTracker(folder, uri, render=render)
    tracker.close(patience_s)
    place = tracker.place()
    if tracker.trouble or place is None:
        raise PlastsearchError(tracker.trouble or f"{folder}/{FILE}: no sweep was recorded there")
    return Synced(
        place, len(records), len(tracker.made), len(tracker.updated - tracker.made), tracker.made_sweep,
        tracker.lost_files, time.monotonic() - began,
    )  # fmt: skip


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


def trial_runs(folder: Path, address: str) -> dict[int, str]:
    """Trial → run, in a store that is level with the journal."""
    opening = next(event for event in read(folder) if isinstance(event, Opened))
    try:
        client = open_store(address)
        experiment = client.get_experiment_by_name(terms.experiment_name(opening))
        found = [] if experiment is None else runs_of(client, experiment.experiment_id, terms.sweep_id(opening))
    except Exception as error:  # noqa: BLE001 - MLflow's own, its backends' and its transports' errors
        raise PlastsearchError(f"MLflow at {shown(address)} cannot be read ({in_a_line(error, address)})") from None
    trial = [(run.data.tags.get("plastsearch.trial"), run.info.run_id) for run in found]
    return {int(number): str(run) for number, run in trial if number is not None}


def _held_by(address: str, opening: Opened) -> Place | None:
    """Where a store holds the sweep, if it does."""
    client = open_store(address)
    experiment = client.get_experiment_by_name(terms.experiment_name(opening))
    known = [] if experiment is None else runs_of(client, experiment.experiment_id, terms.sweep_id(opening))
    for run in known:
        if run.data.tags.get("plastsearch.role") == "sweep":
            return Place(address, str(run.info.experiment_id), str(run.info.run_id))
    return None


def _discard_if_moved(folder: Path) -> None:
    """A store knows its artifacts by their full path: in a folder that was moved or copied it is built anew."""
    location = database_of(folder).with_name("location")
    if location.exists() and location.read_text() != str(database_of(folder).with_name("artifacts")):
        shutil.rmtree(location.parent)
