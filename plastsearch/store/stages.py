"""The weights of finished stages: computed once, shared by all trials that agree on what a stage reads.

Where they lie, and their records: records.py. How room is made again: room.py.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from plastsearch.errors import StageBusyError, StorageError, TrialError
from plastsearch.store.lease import Lease
from plastsearch.store.records import StageRecord, StageRecords, StoredTensor
from plastsearch.store.room import make_room


class DamagedStageError(TrialError):
    """A stored stage whose content does not match its digest, or whose parent is gone."""

    def __init__(self, key: str, why: str) -> None:
        self.key = key
        super().__init__(f"stored stage {key} cannot be used: {why}; it is dropped and computed again")


class StageStore(StageRecords):
    """A folder of finished stages; every method is safe to call from many processes at once."""

    @contextmanager
    def rest_on(self, keys: Collection[str], while_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Say which stages a trial is made of, so that nobody drops one of them while it runs."""
        lease = Lease(self.root / "uses" / uuid.uuid4().hex, self.lease_s, keys)
        try:
            with self.register(while_waiting):
                lease.acquire()
        except OSError as error:
            raise StorageError(
                f"{self.root}: the store cannot be written now ({error}); is the disk full? make room "
                "(`plastsearch store gc`)"
            ) from error
        try:
            yield
        finally:
            lease.release()

    def save(self, record: StageRecord, tensors: dict[str, Tensor]) -> StageRecord:
        """Publish a stage in one rename; tensors that the parent holds bit for bit are referred to, not written."""
        known = self._held_by(record.parent)
        record.tensors = {}
        fresh = {}
        for name, tensor in tensors.items():
            plain = tensor.detach().cpu().contiguous()
            digest = _digest(plain)
            if digest in known:
                record.tensors[name] = known[digest]  # where it truly lies, never a chain of references
            else:
                record.tensors[name] = {"digest": digest, "key": record.key, "name": name}
                fresh[name] = plain.clone()  # safetensors refuses tensors that share memory, as tied weights do
        record.created = time.time()
        if self.max_bytes is not None:  # before writing: a disk that is full by then would cost the stage
            make_room(self, self.max_bytes - sum(tensor.nbytes for tensor in fresh.values()))
        draft = self._write(record, fresh)
        try:
            self._publish(draft, record.key)
        except OSError as error:
            raise self._not_stored(record, error) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(self.work(record.key), ignore_errors=True)  # last: until it is published they are all there is
        return record

    def _write(self, record: StageRecord, fresh: dict[str, Tensor]) -> Path:
        """A stage beside its final place, on the disk; nothing is left of it if that fails."""
        # Not files.whole_folder: drafts have a folder of their own, so that they count and are swept up, and whoever
        # publishes second must find that the stage is there rather than fail.
        draft = self.root / "drafts" / uuid.uuid4().hex
        try:
            draft.mkdir(parents=True)
            save_file(fresh, draft / "weights.safetensors")
            (draft / "stage.json").write_text(json.dumps(asdict(record), sort_keys=True, indent=1))
            for path in (*draft.iterdir(), draft):
                _sync(path)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise self._not_stored(record, error) from error
        return draft

    def _publish(self, draft: Path, key: str) -> None:
        """One rename. Published already, by whoever took over a lease or with a lost answer, it is the same stage."""
        place = self.folder(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.rename(place)
        except OSError as error:
            if self.find(key) is not None:  # the same bytes, for results are deterministic
                return
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self.discard(key)  # no stage: ruins, or another format's
            draft.rename(place)
        _sync(place.parent)

    def _not_stored(self, record: StageRecord, error: Exception) -> TrialError:
        return TrialError(
            f"{self.root}: stage {record.stage} could not be stored ({error}); is the disk full? What was stored "
            "before is whole: make room (`plastsearch store gc`), and the trial goes on from there"
        )

    def load(self, key: str) -> dict[str, Tensor]:
        """The weights of a stage on the CPU, each checked against its digest."""
        record = self.find(key)
        if record is None:
            raise DamagedStageError(key, "it is gone")
        loaded: dict[str, Tensor] = {}
        for holder in sorted({where["key"] for where in record.tensors.values()}):
            names = {name: where["name"] for name, where in record.tensors.items() if where["key"] == holder}
            loaded |= self._read(key, self.folder(holder) / "weights.safetensors", names)
            self._note_use(holder)  # it is worth as much as what rests on it
        for name, tensor in loaded.items():
            if _digest(tensor) != record.tensors[name]["digest"]:
                raise DamagedStageError(key, f"the checksum of {name} is wrong")
        self._note_use(key)
        return {name: loaded[name] for name in record.tensors}

    def _read(self, key: str, path: Path, names: dict[str, str]) -> dict[str, Tensor]:
        """Tensors of one file. Damage is a file that is gone or makes no sense, not one that cannot be read now."""
        try:
            with path.open("rb"), safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(there) for name, there in names.items()}
        except SafetensorError as error:
            raise DamagedStageError(key, f"{path}: {error}") from error
        except OSError as error:  # safetensors calls whatever it could not open missing
            if isinstance(error, FileNotFoundError) and not path.exists():
                raise DamagedStageError(key, f"{path} is gone") from error
            raise StorageError(f"{path}: a stored stage cannot be read now ({error}); nothing was deleted") from error

    def _note_use(self, key: str) -> None:
        with contextlib.suppress(OSError):  # read-only, or dropped meanwhile; only the order of dropping rests on it
            os.utime(self.folder(key))

    @contextmanager
    def claim(
        self, key: str, defer: bool, poll_s: float = 0.2, while_waiting: Callable[[], None] = lambda: None
    ) -> Iterator[float]:
        """Hold a stage's lease while it is computed; yields the seconds waited. `defer`: raises StageBusyError instead.

        After a wait the stage may be finished: look again before computing it.
        """
        lease = self.lease(key)
        begin = time.monotonic()
        waited_s = 0.0
        while not lease.acquire():
            if defer:
                raise StageBusyError(key)
            while_waiting()
            time.sleep(poll_s)
            waited_s = time.monotonic() - begin
        try:
            yield waited_s
        finally:
            lease.release()

    def _held_by(self, parent: str | None) -> dict[str, StoredTensor]:
        record = self.find(parent) if parent else None
        return {where["digest"]: where for where in record.tensors.values()} if record else {}


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
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems sync files, but no folders
            raise
    finally:
        os.close(handle)
