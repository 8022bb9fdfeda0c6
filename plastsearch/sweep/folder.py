"""A sweep's folder: where it is, whether it may be used, and what stands in its journal's head."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, ValidationError

from plastsearch.errors import PlastsearchError, SpecError, says_no_room
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.events import Event, Finished, Opened, Proposed, Retried, SessionBegun
from plastsearch.tracking.journal import FILE, Journal, read
from plastsearch.tracking.reading import VERSION
from plastsearch.tracking.records import trials

SHARED = ("store", "cache")  # beside the sweeps of one root
FINISHED = {"done", "budget", "failures"}
# What may change when a sweep goes on: how much more to spend, and on what machine. The question may not.
_MAY_CHANGE = {
    "search": {"trials", "wall_s", "gpu_hours", "target_hypervolume", "stagnation", "parallel"},
    "finalists": None,
    "resources": None,
    "max_failures": None,
    "max_failed_fraction": None,
    "trial_timeout_s": None,
    "question": None,
}


@dataclass(frozen=True)
class OpenedFolder:
    """A journal that is ours and what it already holds."""

    journal: Journal
    events: list[Event]

    @property
    def folder(self) -> Path:
        """Where everything of the sweep goes."""
        return self.journal.folder


def open_folder(
    root: Path,
    name: str,
    spec: SweepSpec,
    overrides: Sequence[str],
    *,
    resume: bool,
    command: str,
    say: Callable[[str], None] = lambda text: None,  # noqa: ARG005
) -> OpenedFolder:
    """Take the folder of this sweep; a finished one is left alone unless resumed, an unfinished one refused."""
    if name in SHARED:
        raise PlastsearchError(f"a sweep cannot be called '{name}': that folder is shared by all sweeps; use --name")
    folder = root / name
    # Typed again, a command must neither destroy results nor silently return old ones: it gets a folder beside them.
    while not resume and status_of(folder) in FINISHED:
        folder = _successor(folder)
    # The lease comes first: what is read below may not change any more. A cluster starts a driver anew before the lease
    # of the one that died has run out, and --resume is what it calls.
    journal = Journal(folder, say if resume else None)
    try:
        events = read(folder, configs=resume)
        # Nothing proposed: a session that failed while its corpus was prepared, say. There is nothing to keep, and
        # the user may have mended the space meanwhile.
        if not any(isinstance(event, Proposed) for event in events):
            journal.clear()
            _head(journal, spec, overrides, name=folder.name)
        elif not resume:
            raise PlastsearchError(
                f"{folder} holds an unfinished sweep; go on with\n  {command}\nor start another with --name"
            )
        else:
            _check_same(folder, events, spec)
            _reopen(journal, events, say)
        return OpenedFolder(journal, read(folder, configs=resume))  # what was just written, too
    except BaseException:
        journal.close()
        raise


def status_of(folder: Path) -> str | None:
    """How the last session ended; `open` if it did not, None if there is no sweep."""
    path = folder / FILE
    if not path.is_file() or not path.stat().st_size:
        return None
    last = next((event for event in reversed(read(folder)) if isinstance(event, Finished | SessionBegun)), None)
    return last.status if isinstance(last, Finished) else "open"


def _successor(folder: Path) -> Path:
    stem, _, last = folder.name.rpartition("-")
    if stem and last.isdigit():
        return folder.with_name(f"{stem}-{int(last) + 1}")
    return folder.with_name(f"{folder.name}-2")


def _head(journal: Journal, spec: SweepSpec, overrides: Sequence[str], name: str) -> None:
    plain, digest = spec.plain(), spec.spec_hash()
    journal.append(Opened(version=VERSION, name=name, spec=plain, spec_hash=digest, overrides=list(overrides)))


def _reopen(journal: Journal, events: Sequence[Event], say: Callable[[str], None]) -> None:
    """Trials that failed for want of room run again: drivers of today end no trial for that, older ones did."""
    failed = [record for record in trials(events).values() if record.state == "failed"]
    lacking = [record for record in failed if says_no_room(record.reason or "")]
    for record in lacking:
        journal.append(
            Retried(
                trial=record.number, attempt=record.attempts, reopened=True,
                reason=f"it had failed because a disk was full ({record.reason})",
            )
        )  # fmt: skip
    if lacking:
        several = len(lacking) > 1
        say(
            f"{len(lacking)} trial{'s' if several else ''} had failed because a disk was full; "
            f"{'they run' if several else 'it runs'} again"
        )


def _check_same(folder: Path, events: Sequence[Event], spec: SweepSpec) -> None:
    head = next((event for event in events if isinstance(event, Opened)), None)
    if head is None:
        raise PlastsearchError(f"{folder}/{FILE}: its head is missing; choose another folder with --name")
    if head.merged:
        raise PlastsearchError(
            f"{folder} was merged from {len(head.merged)} sweeps, and a sweep cannot go on from several; start another "
            f"with --name and let it learn from this one: search: {{warm_start: [{folder}]}}"
        )
    # Compared by content, not by the spec's hash: a message that names the keys is worth more than "differs".
    changed = _differences(_question(_completed(head.spec)), _question(spec.plain()))
    if changed:
        raise SpecError(
            [f"{folder} holds another sweep; resuming needs the same space, and it differs in {key}" for key in changed]
        )


def _completed(plain: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """A spec as an older program wrote it, with the defaults of what that did not know yet."""
    try:
        return SweepSpec.model_validate_json(json.dumps(plain), strict=True).plain()
    except ValidationError:  # it asked for what this program does not know: told by what differs
        return plain


def _question(plain: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A spec without what may change on a resume."""
    kept: dict[str, JsonValue] = {}
    for key, value in plain.items():
        freed = _MAY_CHANGE.get(key, set())
        if freed is None:
            continue
        kept[key] = {k: v for k, v in value.items() if k not in freed} if isinstance(value, dict) else value
    return kept


def _differences(old: JsonValue, new: JsonValue, path: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [d for key in keys for d in _differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    return [] if old == new else [path]
