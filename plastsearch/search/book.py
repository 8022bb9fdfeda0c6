"""The Optuna study on disk, for dashboards and Optuna's tools: a projection of trials.jsonl, mended or made anew."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from plastsearch.search.samplers import distributions, running, settle
from plastsearch.search.space import Space
from plastsearch.tracking.journal import mend

FILE = "optuna.log"
NUMBER = "plastsearch.trial"


class _Unlocked(JournalFileBackend):  # type: ignore[misc]
    """Appends without a lock of its own and without waiting for the disk: the sweep folder is locked, and what a power
    cut takes is written again from trials.jsonl."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """One write, so that readers see whole lines."""
        with self._path.open("ab") as file:
            file.write(b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs))


@dataclass(frozen=True)
class Entry:
    """What the study should say of one trial; without values it failed, or was halted, or still runs."""

    number: int
    params: Mapping[str, Any]
    ended: bool = False
    values: Sequence[float] | None = None
    violations: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)  # user attributes: id, origin, why it has no values


class Book:
    """One study in one journal file; its only writer, since the driver holds the sweep folder's lock."""

    def __init__(self, folder: Path, name: str, space: Space, metrics: Sequence[str], goals: Sequence[str]) -> None:
        self._path = folder / FILE
        self._name, self._metrics = name, list(metrics)
        self._directions = ["maximize" if goal == "max" else "minimize" for goal in goals]
        self._distributions = distributions(space)
        self._study = self._opened()
        self._places: dict[int, int] = {}

    def reconcile(self, entries: Iterable[Entry]) -> bool:
        """Bring the study in line with the journal's trials; True if it had to be made anew."""
        wanted = {entry.number: entry for entry in entries}
        kept = self._study.get_trials(deepcopy=False)
        anew = any(self._contradicts(trial, wanted) for trial in kept)
        if anew:
            self._path.unlink()
            self._study = self._opened()
            kept = []
        self._places = {trial.user_attrs[NUMBER]: trial.number for trial in kept if trial.user_attrs[NUMBER] in wanted}
        for trial in kept:
            if trial.state == TrialState.RUNNING and trial.user_attrs[NUMBER] not in wanted:
                self._study.tell(trial.number, state=TrialState.FAIL)  # proposed, but never written to the journal
        for entry in wanted.values():
            if entry.number not in self._places:
                self.add(entry)
            elif entry.ended and kept[self._places[entry.number]].state == TrialState.RUNNING:
                self.end(entry)
        return anew

    def add(self, entry: Entry) -> None:
        """Write down a trial."""
        self._places[entry.number] = len(self._study.get_trials(deepcopy=False))
        notes = {NUMBER: entry.number, **entry.notes}
        self._study.add_trial(running(entry.params, self._distributions, notes))
        if entry.ended:
            self.end(entry)

    def end(self, entry: Entry) -> None:
        """Write down how it ended."""
        place = self._places[entry.number]
        writer = optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[place]._trial_id)
        for key, value in entry.notes.items():
            if writer.user_attrs.get(key) != value:
                writer.set_user_attr(key, value)
        for key, value in entry.violations.items():
            writer.set_constraint(key, value)
        settle(self._study, writer._trial_id, entry.values)

    def _opened(self) -> "optuna.Study":
        # A killed driver may have left a lock behind; the sweep folder's own lock says that nobody else writes.
        for stale in self._path.parent.glob(f"{FILE}.lock*"):
            stale.unlink(missing_ok=True)
        mend(self._path)
        try:
            study = self._loaded()
            study.get_trials(deepcopy=False)
        except Exception:  # noqa: BLE001 whatever is wrong with the file, the journal can replace it
            self._set_aside()
            study = self._loaded()
        if [one.name for one in study.directions] != [name.upper() for name in self._directions]:
            self._set_aside()
            study = self._loaded()
        return study

    def _loaded(self) -> "optuna.Study":
        storage = JournalStorage(_Unlocked(self._path))
        study = optuna.create_study(
            study_name=self._name, storage=storage, directions=self._directions, load_if_exists=True
        )
        if study.metric_names != self._metrics:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(self._metrics)
        return study

    def _set_aside(self) -> None:
        self._path.replace(self._path.with_suffix(".broken"))

    def _contradicts(self, trial: FrozenTrial, wanted: Mapping[int, Entry]) -> bool:
        entry = wanted.get(trial.user_attrs.get(NUMBER, -1))
        if entry is None:
            return NUMBER not in trial.user_attrs or trial.state not in (TrialState.RUNNING, TrialState.FAIL)
        if dict(trial.params) != dict(entry.params):
            return True
        if not trial.state.is_finished():
            return False
        if not entry.ended or (trial.state == TrialState.COMPLETE) != (entry.values is not None):
            return True
        return entry.values is not None and list(trial.values) != list(entry.values)
