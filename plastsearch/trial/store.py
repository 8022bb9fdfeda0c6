"""Finished stages by content: computed once, shared by all trials that agree on what a stage reads.

<root>/stages/<key>/stage.json            what it is, what it read, its metrics, a digest of every tensor
<root>/stages/<key>/weights.safetensors   the tensors that its parent stage does not already hold
<root>/work/<key>/                        checkpoints of a stage that is being computed
<root>/leases/<key>                       who is computing it
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from plastsearch.errors import TrialError
from plastsearch.trial.lease import Lease

FORMAT = 1
PARENT = "parent"


class StageBusy(TrialError):
    """Another process is computing this stage; the trial can be tried again later."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"stage {key} is being computed by another process")

    def __reduce__(self) -> tuple[type["StageBusy"], tuple[str]]:
        return StageBusy, (self.key,)


class DamagedStageError(TrialError):
    """A stored stage whose content does not match its digest, or whose parent is gone."""

    def __init__(self, key: str, why: str) -> None:
        self.key = key
        super().__init__(f"stored stage {key} cannot be used: {why}; it is dropped and computed again")


@dataclass
class StageRecord:
    """What the store knows of a finished stage, beside its weights."""

    key: str
    stage: str
    parent: str | None
    reads: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    created: float = 0.0
    tensors: dict[str, dict[str, str]] = field(default_factory=dict)  # name → digest, holder (key), name there
    format: int = FORMAT


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


class StageStore:
    """A folder of finished stages; every method is safe to call from many processes at once."""

    def __init__(self, root: Path, lease_s: float = 60.0) -> None:
        self.root = root
        self.lease_s = lease_s

    def folder(self, key: str) -> Path:
        return self.root / "stages" / key

    def work(self, key: str) -> Path:
        """Where the one who computes a stage keeps its checkpoints."""
        return self.root / "work" / key

    def note_parent(self, key: str, parent: str | None) -> None:
        """Say what the computation of a stage rests on, so that `collect` leaves it while the lease is held."""
        if parent is not None:
            self.work(key).mkdir(parents=True, exist_ok=True)
            (self.work(key) / PARENT).write_text(parent)

    def lease(self, key: str) -> Lease:
        return Lease(self.root / "leases" / key, self.lease_s)

    def find(self, key: str) -> StageRecord | None:
        """The record of a finished stage, without its weights."""
        try:
            plain = json.loads((self.folder(key) / "stage.json").read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            self.discard(key)
            return None
        return StageRecord(**plain) if plain["format"] == FORMAT else None

    def save(self, record: StageRecord, tensors: dict[str, Tensor]) -> StageRecord:
        """Publish a stage in one rename; tensors that the parent holds bit for bit are referred to, not written."""
        known = self._held_by(record.parent)
        record.tensors, fresh = {}, {}
        for name, tensor in tensors.items():
            plain = tensor.detach().cpu().contiguous()
            digest = _digest(plain)
            if digest in known:
                record.tensors[name] = known[digest]
            else:
                record.tensors[name] = {"digest": digest, "key": record.key, "name": name}
                fresh[name] = plain.clone()
        record.created = time.time()
        draft = self._write(record, fresh)
        self.folder(record.key).parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.rename(self.folder(record.key))
        except OSError:  # published meanwhile by someone who lost or stole a lease: the content is the same
            shutil.rmtree(draft)
        shutil.rmtree(self.work(record.key), ignore_errors=True)
        return record

    def _write(self, record: StageRecord, fresh: dict[str, Tensor]) -> Path:
        """A stage beside its final place, on the disk; nothing is left of it if that fails."""
        draft = self._draft()
        try:
            save_file(fresh, draft / "weights.safetensors")
            (draft / "stage.json").write_text(json.dumps(asdict(record), sort_keys=True, indent=1))
            for path in (*draft.iterdir(), draft):
                _sync(path)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise TrialError(
                f"{self.root}: stage {record.stage} could not be stored ({error}); is the disk full? What was stored "
                "before is whole: make room (`plastsearch store gc`), and the trial goes on from there"
            ) from error
        return draft

    def load(self, key: str) -> dict[str, Tensor]:
        """The weights of a stage on the CPU, each checked against its digest."""
        record = self.find(key)
        if record is None:
            raise DamagedStageError(key, "it is gone")
        loaded: dict[str, Tensor] = {}
        for holder in sorted({where["key"] for where in record.tensors.values()}):
            path = self.folder(holder) / "weights.safetensors"
            try:
                with safe_open(path, framework="pt") as file:
                    for name, where in record.tensors.items():
                        if where["key"] == holder:
                            loaded[name] = file.get_tensor(where["name"])
                os.utime(path.parent)
            except (OSError, SafetensorError) as error:
                raise DamagedStageError(key, f"{path}: {error}") from error
        for name, tensor in loaded.items():
            if _digest(tensor) != record.tensors[name]["digest"]:
                raise DamagedStageError(key, f"the checksum of {name} is wrong")
        os.utime(self.folder(key))
        return {name: loaded[name] for name in record.tensors}

    def discard(self, key: str) -> None:
        """Take a stage out of sight in one rename, then delete it."""
        grave = self._draft()
        try:
            self.folder(key).rename(grave / "stage")
        except FileNotFoundError:
            pass  # someone else discarded it
        finally:
            shutil.rmtree(grave, ignore_errors=True)

    @contextmanager
    def claim(
        self, key: str, defer: bool, poll_s: float = 0.2, while_waiting: Callable[[], None] = lambda: None
    ) -> Iterator[float]:
        """Hold a stage's lease while it is computed; yields the seconds waited. With `defer`, raises StageBusy instead.

        After a wait the stage may be finished: look again before computing it.
        """
        lease = self.lease(key)
        begin = time.monotonic()
        waited_s = 0.0
        while not lease.acquire():
            if defer:
                raise StageBusy(key)
            while_waiting()
            time.sleep(poll_s)
            waited_s = time.monotonic() - begin
        try:
            yield waited_s
        finally:
            lease.release()

    def entries(self) -> list[Entry]:
        """All finished stages, the longest unused first."""
        records = [record for path in self._stage_folders() if (record := self.find(path.name))]
        needed: dict[str, int] = {}
        for record in records:
            for holder in {where["key"] for where in record.tensors.values()} - {record.key}:
                needed[holder] = needed.get(holder, 0) + 1
        rows = []
        for record in records:
            folder = self.folder(record.key)
            try:
                size = sum(path.stat().st_size for path in folder.iterdir())
                used = folder.stat().st_mtime
            except FileNotFoundError:
                continue  # dropped by another process meanwhile
            rows.append(Entry(record.key, record.stage, size, record.created, used, record.seconds,
                              needed.get(record.key, 0)))  # fmt: skip
        return sorted(rows, key=lambda entry: entry.used)

    def collect(self, max_bytes: int | None = None, unused_s: float | None = None) -> list[Entry]:
        """Drop stages unused for `unused_s`, then the longest unused until `max_bytes` fit; returns what went.

        A stage that is being computed, that another one is being computed from, or that holds tensors another stage
        refers to, stays.
        """
        dropped: list[Entry] = []
        now = time.time()
        while True:  # stages that only dropped ones rested on can go in the next round
            rows, in_use = self.entries(), self._in_use()
            total = sum(entry.size for entry in rows)
            before = len(dropped)
            for entry in rows:
                too_much = max_bytes is not None and total > max_bytes
                old = unused_s is not None and now - entry.used > unused_s
                if (too_much or old) and not entry.needed_by and entry.key not in in_use:
                    self.discard(entry.key)
                    dropped.append(entry)
                    total -= entry.size
            if len(dropped) == before:
                break
        self._sweep_leftovers(now)
        return dropped

    def _sweep_leftovers(self, now: float, older_s: float = 86_400.0) -> None:
        """Half-written folders and checkpoints whose trial was never taken up again."""
        for kind in ("drafts", "work"):
            folder = self.root / kind
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                if now - path.stat().st_mtime > older_s and not self.lease(path.name).held():
                    shutil.rmtree(path, ignore_errors=True)

    def _in_use(self) -> set[str]:
        """Stages that live processes compute, and those they compute them from."""
        leases = self.root / "leases"
        names = [path.name for path in leases.iterdir()] if leases.is_dir() else []
        held = {name for name in names if not name.startswith(".") and self.lease(name).held()}
        notes = [self.work(name) / PARENT for name in held]
        return held | {note.read_text() for note in notes if note.is_file()}

    def _stage_folders(self) -> list[Path]:
        folder = self.root / "stages"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _held_by(self, parent: str | None) -> dict[str, dict[str, str]]:
        record = self.find(parent) if parent else None
        return {where["digest"]: where for where in record.tensors.values()} if record else {}

    def _draft(self) -> Path:
        draft = self.root / "drafts" / uuid.uuid4().hex
        draft.mkdir(parents=True)
        return draft


def _digest(tensor: Tensor) -> str:
    """Kind, shape and bytes."""
    digest = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # read in place: no copy of the weights
    return digest.hexdigest()[:40]


def _sync(path: Path) -> None:
    """To the disk before the rename that publishes it, or a power cut leaves an empty file under a final name."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
