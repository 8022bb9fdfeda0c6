"""A sweep as objects in a bucket: pushed whole or not at all, pulled and checked, gone on with after a kill.

<prefix>/manifest.json       which sweep, and its files: path, size, SHA-256; written last, and only if nobody else did
<prefix>/objects/<SHA-256>   their content, each once

A sweep does not run there: S3 has no append, no rename and no lock (docs/s3.md). This is for what is to be kept.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TypedDict

from plastsearch.errors import PlastsearchError, StorageError
from plastsearch.spec.config import content_id
from plastsearch.store.objects import BeatenError, Objects
from plastsearch.store.records import StageRecords
from plastsearch.tracking.events import Opened
from plastsearch.tracking.journal import FILE, LEASE, events_in
from plastsearch.tracking.ranking import ranking_of
from plastsearch.tracking.records import TrialRecord, trials

MANIFEST = "manifest.json"
VERSION = 1
_OWN = (LEASE, "driver.lock", "optuna.log", "optuna.broken")
_REBUILT = "mlflow"  # like Optuna's log, from the journal; an MLflow store knows its artifacts by their full path
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Stored:
    """A file of the sweep: `sweep/…` lies in its folder, `store/…` in the store beside it."""

    path: str
    size: int
    digest: str

    @property
    def object(self) -> str:
        """Its object's name below the prefix."""
        return f"objects/{self.digest}"


class Manifest(TypedDict):
    """What stands in the manifest, checked."""

    name: str
    id: str
    files: list[Stored]


@dataclass(frozen=True)
class Done:
    """What a push or a pull came to."""

    name: str
    files: int
    bytes: int
    sent: int  # files that had to cross the network


def push(folder: Path, store: Path, objects: Objects, *, everything: bool, say: Progress = lambda _: None) -> Done:
    """Bring a sweep's journal, reports, scores and finished stages into the bucket; `everything`: of all trials."""
    journal = _whole_lines(folder)
    events = events_in(journal, folder / FILE)
    head = next((event for event in events if isinstance(event, Opened)), None)
    if head is None:
        raise PlastsearchError(f"{folder}/{FILE}: its head is missing; there is no sweep to push")
    own = content_id({"spec": head.spec_hash, "at": head.at, "name": folder.name})
    found = objects.read(MANIFEST)
    version = found[1] if found is not None else None
    if found is not None and (there := _manifest(found[0], objects))["id"] != own:
        raise PlastsearchError(f"{objects.place} holds another sweep, '{there['name']}'; choose another prefix")
    records = trials(events)
    chosen = list(records.values())
    if not everything:
        ranking = ranking_of(head.spec, chosen)
        members = {record.number for record in ranking.front(chosen)}
        chosen = [r for r in chosen if r.number in members or r.role != "search" or r.of in members]
    files, sent = [], 0
    with tempfile.TemporaryDirectory() as scratch:
        # As it stands now: a driver may go on writing, and the manifest must name what was sent.
        snapshot = Path(scratch, FILE)
        snapshot.write_bytes(journal)
        wanted = [(f"sweep/{FILE}", snapshot), *_files(folder, store, chosen, list(records.values()))]
        for name, found_at in wanted:
            path = _still(found_at, Path(scratch, "file")) if name.startswith("sweep/") else found_at
            if path is None:
                continue
            one = Stored(name, path.stat().st_size, _digest(path))
            if not objects.holds(one.object, one.size, one.digest):
                objects.upload(one.object, path, one.digest)
                sent += 1
                say(f"sent {name} ({one.size / 1e6:.1f} MB)")
            files.append(one)
    text = json.dumps(
        {"version": VERSION, "id": own, "name": folder.name, "files": [asdict(one) for one in files]}, indent=1
    )
    try:
        objects.replace(MANIFEST, text.encode(), version)
    except BeatenError:
        raise StorageError(
            f"{objects.place}: another push has finished meanwhile, and its manifest stands; push again to add to it"
        ) from None
    return Done(folder.name, len(files), sum(one.size for one in files), sent)


def pull(objects: Objects, target: Path, say: Progress = lambda _: None) -> Done:
    """Bring a pushed sweep into `target`: its folder, and stages and scores into the store beside it."""
    found = objects.read(MANIFEST)
    if found is None:
        raise PlastsearchError(f"{objects.place}: no sweep was pushed there whole ({MANIFEST} is missing)")
    manifest = _manifest(found[0], objects)
    name, files = manifest["name"], manifest["files"]
    if (target / name).exists():
        raise PlastsearchError(f"{target / name} is there already; pull into another folder")
    draft = target / f".{name}.pull"  # kept after a kill: what is whole in it is not fetched again
    got = 0
    for one in files:
        path = draft / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size == one.size and _digest(path) == one.digest:
            continue
        part = path.with_name(path.name + ".part")
        digest = objects.download(one.object, part)
        if digest != one.digest or part.stat().st_size != one.size:
            part.unlink(missing_ok=True)
            what = "is missing" if digest is None else "is damaged: its checksum is not that of the manifest"
            raise StorageError(
                f"{objects.place}/{one.object} ({one.path}) {what}; nothing was put in place. "
                "Delete that object and push again from where the sweep is whole"
            )
        part.replace(path)
        got += 1
        say(f"got {one.path} ({one.size / 1e6:.1f} MB)")
    _put_in_place(draft, target, name)
    return Done(name, len(files), sum(one.size for one in files), got)


def _still(path: Path, copy: Path) -> Path | None:
    """A copy that nobody writes to any more; None if the file has gone since it was listed."""
    try:
        shutil.copyfile(path, copy)
    except FileNotFoundError:
        return None
    return copy


def _put_in_place(draft: Path, target: Path, name: str) -> None:
    """Stages and scores first, the sweep's folder last: who sees it finds all that it refers to."""
    for path in sorted((draft / "store").glob("*/*")):
        place = target / path.relative_to(draft)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():  # the same by its name, which is that of its content
            path.rename(place)
    (draft / "sweep").rename(target / name)
    for folder, _, leftover in os.walk(draft, topdown=False):
        for one in leftover:
            (Path(folder) / one).unlink()
        Path(folder).rmdir()


def _whole_lines(folder: Path) -> bytes:
    try:
        content = (folder / FILE).read_bytes()
    except FileNotFoundError:
        raise PlastsearchError(f"{folder}: no sweep here ({FILE} is missing)") from None
    return content[: content.rfind(b"\n") + 1]


def _files(
    folder: Path, store: Path, chosen: list[TrialRecord], everybody: list[TrialRecord]
) -> Iterator[tuple[str, Path]]:
    """Names in the manifest, and where the files lie."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts) or inside.parts[0] == _REBUILT
        if path.is_file() and not path.is_symlink() and not hidden and inside.as_posix() not in (FILE, *_OWN):
            yield f"sweep/{inside.as_posix()}", path
    # Scores of all trials: they are small, and the report compares more than the front.
    for name in sorted({name for record in everybody for name in _score_files(record)}):
        if (path := store / "scores" / name).is_file():
            yield f"store/scores/{name}", path
    for key in _stages(store, chosen):
        for path in sorted(StageRecords(store).folder(key).iterdir()):
            yield f"store/stages/{key}/{path.name}", path


def _score_files(record: TrialRecord) -> list[str]:
    kept = [*(record.details.get("scores") or {}).values(), record.details.get("score_file")]
    return [Path(str(path)).name for path in kept if path]


def _stages(store: Path, chosen: list[TrialRecord]) -> list[str]:
    """Their finished stages, and those that hold tensors of these; what was dropped since is left out."""
    records = StageRecords(store)
    open_keys = [str(stage["key"]) for record in chosen for stage in record.details.get("stages") or []]
    found: set[str] = set()
    while open_keys:
        key = open_keys.pop()
        if key not in found and (record := records.find(key)) is not None:
            found.add(key)
            open_keys += [where["key"] for where in record.tensors.values()]
    return sorted(found)


def _manifest(content: bytes, objects: Objects) -> Manifest:
    where = f"{objects.place}/{MANIFEST}"
    try:
        plain = json.loads(content)
        files = [Stored(str(one["path"]), int(one["size"]), str(one["digest"])) for one in plain["files"]]
        name, identity, version = str(plain["name"]), str(plain["id"]), plain["version"]
    except (ValueError, KeyError, TypeError):
        raise PlastsearchError(f"{where}: no manifest of a pushed sweep; choose another prefix") from None
    if version != VERSION:
        raise PlastsearchError(f"{where}: written by another version of plastsearch ({version}); use that one")
    # Whoever can write to the bucket must not be able to write anywhere but below the folder that was named.
    if "/" in name or name in ("", ".", "..", "store"):
        raise PlastsearchError(f"{where}: no sweep is called '{name}'; do not use this prefix")
    for path in (one.path for one in files):
        parts = PurePosixPath(path).parts
        if path.startswith("/") or ".." in parts or len(parts) < 2 or parts[0] not in ("sweep", "store"):
            raise PlastsearchError(f"{where}: it names '{path}', which no push writes; do not use this prefix")
    return {"name": name, "id": identity, "files": files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
