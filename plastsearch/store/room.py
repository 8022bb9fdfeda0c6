"""Making room in a stage store: what it holds, what that is worth, and what may go. Imports no torch.

Nobody chooses what goes while a trial says what it rests on, and no trial begins while somebody chooses: both hold
`StageRecords.register` for that moment. What goes is renamed out of sight in it and deleted afterwards.
"""

import errno
import math
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from plastsearch.store.lease import Lease
from plastsearch.store.records import GONE, StageRecord, StageRecords
from plastsearch.words import sized

DAY_S = 86_400.0
OWNER = "trial"  # beside a checkpoint: the id of the trial that wrote it


@dataclass(frozen=True)
class Entry:
    """One line of `store ls`."""

    key: str
    stage: str
    size: int
    created: float
    used: float
    seconds: float
    needed_by: int  # other entries that keep tensors here
    followed_by: int  # stages that were computed from it

    def worth(self, now: float) -> float:
        """Seconds it saves per byte to each trial that builds on it, halved with every day that nobody asked for it."""
        return self.seconds * (1 + self.followed_by) / max(1, self.size) * math.exp2((self.used - now) / DAY_S)


def entries(store: StageRecords) -> list[Entry]:
    """All finished stages, the least useful first."""
    records = _records(store)
    needed = Counter(holder for record in records for holder in _holders(record))
    followed = Counter(record.parent for record in records if record.parent is not None)
    rows = []
    for record in records:
        folder = store.folder(record.key)
        try:
            size = sum(path.lstat().st_size for path in folder.iterdir())
            used = folder.stat().st_mtime  # set by whoever loads the stage
        except FileNotFoundError:
            continue  # dropped by another process meanwhile
        rows.append(Entry(record.key, record.stage, size, record.created, used, record.seconds,
                          needed[record.key], followed[record.key]))  # fmt: skip
    now = time.time()
    return sorted(rows, key=lambda entry: (entry.worth(now), entry.used))


def collect(store: StageRecords, max_bytes: float | None = None, unused_s: float | None = None) -> list[Entry]:
    """Drop stages unused for `unused_s`, then the least useful until the store fits in `max_bytes`; what went.

    A stage that a running trial is made of, or that holds tensors another stage refers to, stays.
    """
    dropped: list[Entry] = []
    hidden: list[Path] = []  # renamed out of sight, not yet deleted
    with ExitStack() as moment:
        with _on_a_full_disk_too():
            moment.enter_context(store.register())
        while chosen := choose(store, max_bytes, unused_s):  # what only these rested on can go in the next round
            before = len(hidden)
            for entry in chosen:
                folder = store.hide(entry.key)
                if folder is not None:
                    hidden.append(folder)
                    dropped.append(entry)
            if len(hidden) == before:  # others were quicker with all of it: no use in choosing the same again
                break
    # Only now that the register is given back: deleting gigabytes takes long, and no trial could begin meanwhile.
    for folder in hidden:
        shutil.rmtree(folder, ignore_errors=True)
    _sweep_leftovers(store)
    return dropped


def make_room(store: StageRecords, max_bytes: float) -> None:
    """Drop the least useful if the store holds more; a look costs far less than reading every record."""
    if size(store) > max_bytes:
        collect(store, max_bytes)


def excess(store: StageRecords) -> list[str]:
    """A warning if the store is larger than it should be, though all was dropped that may be."""
    if store.max_bytes is None or (held := size(store)) <= store.max_bytes:
        return []
    return [
        f"{store.root} holds {sized(held)}, more than the {sized(store.max_bytes)} of --store-max-gb: "
        "running trials, or stages that others keep tensors in, need all of it"
    ]


def choose(store: StageRecords, max_bytes: float | None, unused_s: float | None) -> list[Entry]:
    """What is to go now."""
    in_use = _in_use(store)  # before the entries: who ends in between has left a stage that says what it needs
    rows = entries(store)
    now = time.time()
    total = size(store)  # with drafts and checkpoints, which are no entries but take room
    chosen = []
    for entry in rows:
        too_much = max_bytes is not None and total > max_bytes
        old = unused_s is not None and now - entry.used > unused_s
        if (too_much or old) and not entry.needed_by and entry.key not in in_use:
            chosen.append(entry)
            total -= entry.size
    return chosen


def size(store: StageRecords) -> int:
    """Bytes of finished stages, drafts and checkpoints."""
    total = 0
    for kind in ("stages", "drafts", "work"):
        for folder in _listed(store.root / kind):
            if not folder.name.startswith(GONE) and not folder.is_symlink():  # it may lead out of the store
                total += sum(_size(path) for path in _listed(folder))
    return total


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0  # dropped by another process meanwhile


def forget_checkpoints(root: Path, trials: Collection[str]) -> set[str]:
    """Delete the checkpoints of these trials (ids); those whose stage is still held are returned, to be asked again."""
    still = set()
    for folder in _listed(root / "work"):
        try:
            owner = (folder / OWNER).read_text(errors="replace")
        except OSError:  # not there, or nothing of ours: a link to itself, a folder
            continue
        if owner in trials and not _delete_unheld(root, folder):
            still.add(owner)
    return still


def _records(store: StageRecords) -> list[StageRecord]:
    found = []
    for path in _listed(store.root / "stages"):
        with suppress(ValueError):  # damaged: who needs it drops it, who only looks does not
            record = None if path.name.startswith(".") else store.look(path.name)
            if record is not None:
                found.append(record)
    return found


def foreign(store: StageRecords) -> list[tuple[Path, str]]:
    """What lies among the stages and is none, with why; nobody drops it unless its very name is needed."""
    found = []
    for path in _listed(store.root / "stages"):
        if path.name.startswith(GONE):
            continue
        try:
            if path.name.startswith(".") or store.look(path.name) is None:
                found.append((path, "no stage of this format"))
        except ValueError as error:
            found.append((path, str(error)))
    return found


def _holders(record: StageRecord) -> set[str]:
    """Other stages that hold tensors of this one."""
    return {where["key"] for where in record.tensors.values()} - {record.key}


def _in_use(store: StageRecords) -> set[str]:
    """Stages that running trials are made of, computed or not yet."""
    used: set[str] = set()
    for path in _listed(store.root / "uses"):
        lease = Lease(path, store.lease_s)
        if path.name.startswith(".") or not path.is_file() or not lease.held():
            continue
        holder = lease.holder()
        if holder is not None and holder.note is not None:
            used.update(holder.note)
    return used


def _sweep_leftovers(store: StageRecords, older_s: float = DAY_S) -> None:
    """What killed processes left: half-written folders, checkpoints never taken up again, leases of the dead."""
    now = time.time()

    def old(path: Path) -> bool:
        try:
            return now - path.lstat().st_mtime > older_s
        except FileNotFoundError:
            return False  # another process was quicker

    # A day: no stage is written for so long, and a trial that was stopped may be taken up again until then.
    hidden = [path for path in _listed(store.root / "stages") if path.name.startswith(GONE)]
    for path in filter(old, [*_listed(store.root / "drafts"), *hidden]):
        shutil.rmtree(path, ignore_errors=True)
    for path in filter(old, _listed(store.root / "work")):
        _delete_unheld(store.root, path)
    for path in filter(old, [*_listed(store.root / "uses"), *_listed(store.root / "leases")]):
        if path.is_file() and (path.name.startswith(".") or not Lease(path, store.lease_s).held()):
            path.unlink(missing_ok=True)


def _delete_unheld(root: Path, folder: Path) -> bool:
    """Delete a stage's checkpoints while nobody computes it; False if somebody does."""
    lease = Lease(root / "leases" / folder.name)  # while we have it nobody goes on from these checkpoints
    with _on_a_full_disk_too():
        lease.acquire()
    if not lease.mine:
        return False
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lease.release()
    return True


@contextmanager
def _on_a_full_disk_too() -> Iterator[None]:
    """Who makes room goes on without a lease that finds no room: nobody else can begin then, either."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
