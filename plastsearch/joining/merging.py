"""Several sweeps as one folder: a usual journal, each trial with where it came from, none lost or doubled.

The same configuration with another seed becomes a further run of the first one's; the very same run made twice counts
once (`reused`); trials on other clips than the first sweep's stay, set apart: their EERs have no order with the others.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue, ValidationError

from plastsearch.analysis.results import results_of
from plastsearch.errors import PlastsearchError
from plastsearch.files import new_folder, plain, told, whole_file
from plastsearch.joining.likeness import clips_key, differences, group_key, run_key
from plastsearch.joining.sweeps import Sweep, same_sweeps
from plastsearch.scores.clip_scores import FOLDER as SCORES
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.events import (
    Ended,
    Event,
    Finished,
    Opened,
    Proposed,
    SessionBegun,
    Source,
    Status,
    TrialEvent,
    Unknown,
)
from plastsearch.tracking.journal import FILE, driver_lives, read
from plastsearch.tracking.reading import VERSION, Reader
from plastsearch.tracking.records import TrialRecord, trials

SAME = 0.005  # points of EER, as tables show them


@dataclass
class Merging:
    """What a merge came to."""

    folder: Path
    sweeps: tuple[str, ...]
    trials: int = 0
    further_seeds: int = 0  # trials that are further runs of an earlier sweep's
    again: int = 0  # the very same runs as an earlier sweep's
    apart: int = 0  # on other clips than the first sweep's
    notes: list[str] = field(default_factory=list)


def merge(folders: Sequence[Path], out: Path) -> Merging:
    """Write the merged sweep; nothing is written where sweeps cannot be merged."""
    new_folder(out)
    for folder in folders:
        if driver_lives(folder):
            raise PlastsearchError(f"{folder}: its driver is still running; merge it when it has ended")
    sweeps, notes = same_sweeps([Sweep(folder, folder.name, tuple(read(folder, configs=True))) for folder in folders])
    if len(sweeps) < 2:
        raise PlastsearchError("\n".join(["there is nothing to merge: it takes two different sweeps", *notes]))
    first = sweeps[0]
    refused = [(one, differences(first.head.spec, one.head.spec)) for one in sweeps[1:]]
    unlike = [f"{one.folder} asks something else than {first.folder}: {'; '.join(why)}" for one, why in refused if why]
    if unlike:
        raise PlastsearchError("\n".join([*unlike, "`plastsearch report` sets such sweeps side by side"]))
    work = _Work(Merging(out, tuple(one.label for one in sweeps), notes=list(notes)), first)
    events = [event for sweep in sweeps for event in work.taken(sweep)]
    work.done.notes += work.unlike()
    whole = [_head(out.name, sweeps), *events, _ending(sweeps, events)]
    lines = [json.dumps(plain(event.as_json()), separators=(",", ":"), allow_nan=False) for event in whole]
    _look(out, lines)
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        with whole_file(out / FILE) as draft, draft.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
    return work.done


def _look(out: Path, lines: Sequence[str]) -> None:
    """What cannot be read again is not written."""
    reader = Reader(out / FILE, configs=True)
    results_of(out, [reader.take(line.encode(), number) for number, line in enumerate(lines, 1)])


def _head(name: str, sweeps: Sequence[Sweep]) -> Opened:
    first = sweeps[0].head
    controls = dict.fromkeys(str(name) for one in sweeps for name in _listed(one.head.spec.get("controls")))
    spec: dict[str, JsonValue] = {**first.spec, "controls": list(controls)}
    try:
        digest = SweepSpec.model_validate_json(json.dumps(spec), strict=True).spec_hash()
    except ValidationError:  # a sweep of another version: its own hash still names the question
        digest = first.spec_hash
    return Opened(
        at=min(one.head.at for one in sweeps), version=VERSION, name=name, spec=spec, spec_hash=digest,
        overrides=list(first.overrides), merged=[part for one in sweeps for part in one.parts],
    )  # fmt: skip


def _listed(value: JsonValue) -> Sequence[JsonValue]:
    return value if isinstance(value, list) else []


def _ending(sweeps: Sequence[Sweep], events: Sequence[Event]) -> Finished:
    """The least finished of all endings, with the time of all."""
    statuses = [one.status for one in sweeps]
    order: tuple[Status, ...] = ("interrupted", "failures", "budget")
    status: Status = next((word for word in order if word in statuses), "done")
    if "running" in statuses:
        status = "interrupted"
    seconds = sum(one.seconds for one in sweeps)
    return Finished(at=max((event.at for event in events), default=0.0), status=status, seconds=seconds,
                    reason=f"merged from {', '.join(one.label for one in sweeps)}")  # fmt: skip


@dataclass
class _Work:
    """Numbers given so far, and what has run already."""

    done: Merging
    first: Sweep
    _next: int = 0
    _clips: str | None = None  # of the first sweep
    _runs: dict[tuple[str, str | None, str], tuple[int, float]] = field(default_factory=dict)  # finished runs, EERs
    _gap: float = 0.0  # the largest difference between two EERs of the very same run
    _bases: dict[tuple[str | None, str], int] = field(default_factory=dict)  # and the trials that seeds belong to

    def taken(self, sweep: Sweep) -> Iterator[Event]:
        """The events of one sweep under their new numbers."""
        records = trials(sweep.events)
        numbers = {old: self._next + at for at, old in enumerate(records)}
        self._next += len(records)
        if self._clips is None:
            self._clips = clips_key(next(iter(records.values())).config) if records else ""
        plans = {old: self._plan(sweep, record, numbers, records) for old, record in records.items()}
        yield from self._events(sweep, plans, numbers)
        for old, record in records.items():  # only now: within a sweep nothing is a repeat of another sweep's
            self._known(record, plans[old].proposed, numbers[old])
        self.done.trials += len(records)

    def _events(self, sweep: Sweep, plans: Mapping[int, "_Plan"], numbers: Mapping[int, int]) -> Iterator[Event]:
        unknown: Counter[str] = Counter()
        for event in sweep.events:
            match event:
                case Unknown():
                    unknown["lines"] += 1
                case SessionBegun():
                    yield event
                case Proposed():
                    yield plans[event.trial].proposed.model_copy(update={"at": event.at})
                case Ended():
                    state = "reused" if plans[event.trial].again else event.state
                    details = _with_scores(event.details, sweep.folder)
                    yield event.model_copy(update={"trial": numbers[event.trial], "state": state, "details": details})
                case TrialEvent():
                    yield event.model_copy(update={"trial": numbers[event.trial]})
        if unknown:
            self.done.notes.append(
                f"{sweep.label}: {unknown.total()} lines that only a later version reads are left out"
            )

    def _plan(
        self, sweep: Sweep, record: TrialRecord, numbers: Mapping[int, int], records: Mapping[int, TrialRecord]
    ) -> "_Plan":
        apart = record.apart or clips_key(record.config) != self._clips
        self.done.apart += apart
        of = None if record.of is None else numbers.get(record.of)
        if record.of is not None and (trial := records.get(record.of)) is not None:
            of = self._bases.get((trial.control, group_key(trial.config)), of)
        role, reuse_of, seed = (
            record.role,
            None if record.reuse_of is None else numbers.get(record.reuse_of),
            record.seed,
        )
        twin = self._runs.get(_run(record)) if record.state == "done" else None
        base = self._bases.get((record.control, group_key(record.config)))
        if twin is not None:
            self.done.again += 1
            reuse_of = twin[0]
            gap = abs(twin[1] - record.metrics.get("dev_eer", math.nan))
            self._gap = max(self._gap, gap) if math.isfinite(gap) else self._gap
        elif role in ("search", "control") and record.state == "done" and base is not None:
            self.done.further_seeds += 1
            own = record.config.get("seed")
            role, of, seed = "replicate", base, own if isinstance(own, int) else 0
        source = record.source or Source(
            sweep=sweep.label, trial=record.number, role=record.role, of=record.of, reuse_of=record.reuse_of
        )
        said: dict[str, JsonValue] = {"of": of, "seed": seed, "reuse_of": reuse_of}
        proposed = Proposed(
            trial=numbers[record.number], id=record.id, role=role, control=record.control, params=record.params,
            config=record.config, origin=record.origin, source=source, **({"apart": True} if apart else {}),
        ).model_copy(update={name: value for name, value in said.items() if value is not None})  # fmt: skip
        return _Plan(proposed, twin is not None)

    def unlike(self) -> list[str]:
        """That the very same runs differ, as those of unlike machines or versions do."""
        if self._gap < SAME:
            return []
        return [
            f"the very same runs differ by up to {self._gap:.2f} points of dev EER between sweeps (other machines, "
            "libraries or code): the first one's counts"
        ]

    def _known(self, record: TrialRecord, proposed: Proposed, number: int) -> None:
        if record.state != "done":
            return
        first = proposed.reuse_of if proposed.reuse_of is not None else number
        self._runs.setdefault(_run(record), (first, record.metrics.get("dev_eer", math.nan)))
        if proposed.role in ("search", "control"):
            self._bases.setdefault((record.control, group_key(record.config)), number)


@dataclass(frozen=True)
class _Plan:
    proposed: Proposed
    again: bool  # the very same run is there already


def _run(record: TrialRecord) -> tuple[str, str | None, str]:
    """Finalists see the evaluation split, so they are no repeats of trials."""
    return ("finalist" if record.role == "finalist" else "trial", record.control, run_key(record.config))


def _with_scores(details: dict[str, object], folder: Path) -> dict[str, object]:
    """Scores by where they lie now: beside the sweep, if it was moved since."""
    kept = details.get("scores")
    if not isinstance(kept, dict):
        return details
    found = {}
    for split, path in kept.items():
        beside = folder.absolute().parent / "store" / SCORES / Path(str(path)).name
        found[split] = str(beside) if not Path(str(path)).is_file() and beside.is_file() else path
    return {**details, "scores": found}
