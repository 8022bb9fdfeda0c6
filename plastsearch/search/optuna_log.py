"""The Optuna study on disk, for dashboards and Optuna's tools: a projection of trials.jsonl, mended or made anew."""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue

from plastsearch.search.samplers import distributions, running, settle
from plastsearch.search.space import Space
from plastsearch.spec.domains import Value
from plastsearch.tracking.journal import mend

FILE = "optuna.log"
NUMBER = "plastsearch.trial"


_FORGOTTEN = optuna.trial.create_trial(state=TrialState.FAIL)  # stands for every trial that is over


class _UnlockedFile(BaseJournalBackend):  # type: ignore[misc] # optuna is untyped here
    """Optuna's journal without a lock of its own and without waiting for the disk.

    The sweep folder is locked already, and what a power cut takes is written again from trials.jsonl.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        # How far it was read, not where each line begins, as Optuna's own file remembers: that grows with the sweep.
        self._read = 0  # whole lines
        self._offset = 0  # where they end

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, JsonValue]]:
        """Whole lines from that number on."""
        if log_number_from < self._read:
            self._read = self._offset = 0
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):  # unfinished; `mend` cuts such a line before anything is appended to it
                    return
                self._read += 1
                self._offset += len(line)
                if self._read > log_number_from:
                    yield json.loads(line)

    def append_logs(self, logs: list[dict[str, JsonValue]]) -> None:
        """One write, so that readers see whole lines."""
        with self._path.open("ab") as file:
            file.write(b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs))


class _Storage(JournalStorage):  # type: ignore[misc] # optuna is untyped here
    """Keeps only trials that still run: of the others nothing is asked any more, and each takes 10 KB."""

    def forget(self, trial_id: int) -> None:
        """Free what a finished trial takes; the file has it."""
        with self._thread_lock:
            self._replay_result._trials[trial_id] = _FORGOTTEN


@dataclass(frozen=True)
class Entry:
    """What the study should say of one trial; without values it failed, or was halted, or still runs."""

    number: int
    params: Mapping[str, Value]
    ended: bool = False
    values: Sequence[float] | None = None
    violations: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, JsonValue] = field(default_factory=dict)  # user attributes: id, origin, why it has no values


class OptunaLog:
    """One study in one journal file; its only writer, since the driver holds the sweep folder's lock."""

    def __init__(self, folder: Path, name: str, space: Space, metrics: Sequence[str], goals: Sequence[str]) -> None:
        self._path = folder / FILE
        self._name = name
        self._metrics = list(metrics)
        self._directions = ["maximize" if goal == "max" else "minimize" for goal in goals]
        self._distributions = distributions(space)
        self._open: dict[int, int] = {}  # trials that run → Optuna's ids
        self._study, self._storage = self._opened()

    def reconcile(self, entries: Iterable[Entry]) -> bool:
        """Bring the study in line with the journal's trials, once, after opening; True if it had to be made anew."""
        wanted = {entry.number: entry for entry in entries}
        kept = self._study.get_trials(deepcopy=False)
        # One contradiction is enough: what stands in Optuna's journal cannot be changed, only added to.
        anew = any(self._contradicts(trial, wanted) for trial in kept)
        if anew:
            self._path.unlink()
            self._study, self._storage = self._opened()
            kept = []
        known = set()
        for trial in kept:
            number = trial.user_attrs.get(NUMBER)
            known.add(number)
            if trial.state != TrialState.RUNNING:
                self._storage.forget(trial._trial_id)
            elif number not in wanted:  # proposed, but never written to the journal
                self._settle(trial._trial_id, None)
            else:
                self._open[number] = trial._trial_id
        for entry in wanted.values():
            if entry.number not in known:
                self.add(entry)
            elif entry.ended and entry.number in self._open:
                self.end(entry)
        return anew

    def add(self, entry: Entry) -> None:
        """Write down a trial."""
        template = running(entry.params, self._distributions, {NUMBER: entry.number, **entry.notes})
        self._open[entry.number] = self._storage.create_new_trial(self._study._study_id, template)
        if entry.ended:
            self.end(entry)

    def end(self, entry: Entry) -> None:
        """Write down how it ended."""
        trial_id = self._open.pop(entry.number)
        writer = optuna.trial.Trial(self._study, trial_id)
        for key, value in entry.notes.items():
            if writer.user_attrs.get(key) != value:
                writer.set_user_attr(key, value)
        for key, value in entry.violations.items():
            writer.set_constraint(key, value)  # before the end: Optuna takes none afterwards
        if entry.violations:  # optuna-dashboard reads only this older form, without names
            self._storage.set_trial_system_attr(trial_id, "constraints", list(entry.violations.values()))
        self._settle(trial_id, entry.values)

    def _settle(self, trial_id: int, values: Sequence[float] | None) -> None:
        settle(self._study, trial_id, values)
        self._storage.forget(trial_id)

    def _opened(self) -> tuple["optuna.Study", _Storage]:
        # A killed driver may have left a lock behind; the sweep folder's own lock says that nobody else writes.
        for stale in self._path.parent.glob(f"{FILE}.lock*"):
            stale.unlink(missing_ok=True)
        mend(self._path)
        try:
            study, storage = self._loaded()
        except Exception:  # noqa: BLE001 whatever is wrong with the file, the journal can replace it
            self._set_aside()
            study, storage = self._loaded()
        # Optuna opens a study of that name whatever its directions are; ours would be ignored without a word.
        if [one.name for one in study.directions] != [name.upper() for name in self._directions]:
            self._set_aside()
            study, storage = self._loaded()
        return study, storage

    def _loaded(self) -> tuple["optuna.Study", _Storage]:
        storage = _Storage(_UnlockedFile(self._path))
        study = optuna.create_study(
            study_name=self._name, storage=storage, directions=self._directions, load_if_exists=True
        )
        if study.metric_names != self._metrics:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(self._metrics)
        return study, storage

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
