"""Sweeps to be joined: each as its journal tells it, the same one only once, a merged one taken apart again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from plastsearch.analysis.results import Results, results_of
from plastsearch.errors import PlastsearchError
from plastsearch.tracking.events import Ended, Event, Finished, Merged, Opened, Proposed, SessionBegun, TrialEvent


@dataclass(frozen=True)
class Sweep:
    """One sweep with its events."""

    folder: Path
    label: str
    events: tuple[Event, ...]

    @cached_property
    def head(self) -> Opened:
        """What it asks."""
        found = next((event for event in self.events if isinstance(event, Opened)), None)
        if found is None:
            raise PlastsearchError(f"{self.folder}/trials.jsonl: no sweep was recorded; the file is empty or cut off")
        return found

    @cached_property
    def results(self) -> Results:
        """The same as a table."""
        return results_of(self.folder, self.events)

    @property
    def status(self) -> str:
        """How it ended."""
        return self.results.status

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.results.seconds

    @property
    def sessions(self) -> frozenset[str]:
        """Its sessions by their names, each drawn at random, and by their times, since old ones only had a number."""
        name = self.head.name
        found = {f"{name} {event.session}@{event.at}" for event in self.events if isinstance(event, SessionBegun)}
        return frozenset(found | {session for one in self.head.merged for session in one.sessions})

    @property
    def parts(self) -> list[Merged]:
        """Itself as a merged sweep's head tells of it; of a merged one what that was merged from."""
        if self.head.merged:
            return list(self.head.merged)
        hosts = dict.fromkeys(event.host for event in self.events if isinstance(event, SessionBegun) and event.host)
        return [Merged(
            label=self.label, folder=str(self.folder), spec=dict(self.head.spec), spec_hash=self.head.spec_hash,
            overrides=list(self.head.overrides), status=self.status, began_at=self.head.at, seconds=self.seconds,
            hosts=list(hosts), sessions=sorted(self.sessions),
        )]  # fmt: skip


def same_sweeps(sweeps: Sequence[Sweep]) -> tuple[list[Sweep], list[str]]:
    """Each sweep once, under a label of its own; what was left out, in sentences."""
    kept: list[Sweep] = []
    notes: list[str] = []
    for sweep in sweeps:
        shared = [one for one in kept if one.sessions & sweep.sessions]
        larger = (one for one in shared if one.sessions >= sweep.sessions and len(one.events) >= len(sweep.events))
        inside = next(larger, None)
        if inside is not None:
            notes.append(f"{sweep.folder} is the same sweep as {inside.folder}, or a part of it, so it counts once")
        elif shared and all(sweep.sessions >= one.sessions for one in shared):
            for one in shared:
                kept.remove(one)
                notes.append(f"{one.folder} is the same sweep as {sweep.folder}, or a part of it, so it counts once")
            kept.append(sweep)
        elif shared:
            raise PlastsearchError(
                f"{sweep.folder} and {shared[0].folder} were merged from sweeps of which some are the same and some "
                "are not; name the sweeps themselves"
            )
        else:
            kept.append(sweep)
    return _labelled(kept), notes


def _labelled(sweeps: Sequence[Sweep]) -> list[Sweep]:
    taken: set[str] = set()
    found = []
    for sweep in sweeps:
        own = {part.label for part in sweep.head.merged} or {sweep.label}
        label, number = sweep.label, 2
        while not sweep.head.merged and label in taken:
            label, number = f"{sweep.label}-{number}", number + 1
        if sweep.head.merged and own & taken:
            raise PlastsearchError(
                f"{sweep.folder} holds a sweep named {min(own & taken)}, as another one here is; rename a folder first"
            )
        taken |= own | {label}
        found.append(Sweep(sweep.folder, label, sweep.events))
    return found


def parts_of(sweep: Sweep) -> list[Sweep]:
    """The sweeps that a merged one was merged from, each as it was; another sweep is its own only part."""
    if not sweep.head.merged:
        return [sweep]
    return [Sweep(sweep.folder, part.label, tuple(_part(sweep, part))) for part in sweep.head.merged]


def _part(sweep: Sweep, part: Merged) -> list[Event]:
    found: list[Event] = [
        Opened(at=part.began_at, name=part.label, spec=part.spec, spec_hash=part.spec_hash, overrides=part.overrides)
    ]
    own: dict[int, Proposed] = {}
    for event in sweep.events:
        if isinstance(event, SessionBegun) and any(
            one.endswith(f" {event.session}@{event.at}") for one in part.sessions
        ):
            found.append(event)
        elif isinstance(event, Proposed) and event.source is not None and event.source.sweep == part.label:
            was = event.source
            own[event.trial] = event
            changes = {"trial": was.trial, "role": was.role, "of": was.of, "reuse_of": was.reuse_of, "apart": False}
            found.append(event.model_copy(update=changes))
        elif isinstance(event, TrialEvent) and not isinstance(event, Proposed) and event.trial in own:
            was_of = own[event.trial].source
            assert was_of is not None
            # Only the merge made a repeat of it, if it did not say so itself.
            again = isinstance(event, Ended) and event.state == "reused" and was_of.reuse_of is None
            state = {"state": "done"} if again else {}
            found.append(event.model_copy(update={"trial": was_of.trial, **state}))
    ended = {"done", "budget", "failures", "interrupted"}
    if part.status in ended:
        found.append(Finished.model_validate({"at": found[-1].at, "status": part.status, "seconds": part.seconds}))
    return found
