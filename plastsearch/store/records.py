"""What a stage store holds on its disk, without the weights: folders, records, who may drop what. Imports no torch.

Below its root:

stages/<key>/stage.json            what it is, what it read, its metrics, a digest of every tensor
stages/<key>/weights.safetensors   the tensors that its parent stage does not already hold
drafts/<token>/                    a stage that is being written
work/<key>/                        checkpoints of a stage that is being computed
leases/<key>                       who is computing it
uses/<token>                       what a running trial rests on
scores/                            scores of finalists; nothing of it is ever dropped here

The weights, and the claims on stages: stages.py. How room is made again: room.py.
"""

import errno
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypedDict

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plastsearch.errors import StorageError
from plastsearch.store.lease import Lease

FORMAT = 1  # a record of another format is no stage: it is computed again and replaced
GONE = ".gone-"  # beside the stages: out of sight, not yet deleted


class StoredTensor(TypedDict):
    """Where a tensor of a stage lies, as the record's JSON says it."""

    digest: str
    key: str  # of the stage whose file holds it: this one, or one before it
    name: str  # in that file


@dataclass
class StageRecord:
    """What the store knows of a finished stage, beside its weights."""

    key: str
    stage: str
    parent: str | None
    reads: dict[str, Any]  # JSON: the part of the configuration that the stage depends on
    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)  # JSON: what the stage says of itself
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    created: float = 0.0
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    format: int = FORMAT


class _Tensor(BaseModel):
    model_config = ConfigDict(strict=True)
    digest: str
    key: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")  # a folder's name, and no way out of the store
    name: str


class _Record(BaseModel):
    """A record's file, as it must be to be believed."""

    model_config = ConfigDict(strict=True)
    key: str
    stage: str
    parent: str | None
    reads: dict[str, Any]
    metrics: dict[str, float | None] = {}
    details: dict[str, Any] = {}
    seconds: float = Field(0.0, ge=-1e12, le=1e12)  # below zero: measured while a clock was put back
    gpu_seconds: float = Field(0.0, ge=-1e12, le=1e12)
    created: float = Field(0.0, ge=0, le=2.5e11)
    tensors: dict[str, _Tensor] = {}


def record_of(key: str, content: bytes) -> StageRecord | None:
    """The record that a stage's file holds; None if it is of another format, ValueError if it is damaged."""
    try:
        plain = json.loads(content.decode())
        if not isinstance(plain, dict):
            raise ValueError("no object")
        if plain.get("format") != FORMAT:
            return None
        _Record.model_validate(plain)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if plain["key"] != key:
        raise ValueError(f"it is the record of stage {plain['key']}")
    # What a later version says more is left out.
    return StageRecord(**{one.name: plain[one.name] for one in fields(StageRecord) if one.name in plain})


class StageRecords:
    """The folder of finished stages as far as records go; every method is safe to call from many processes at once."""

    def __init__(self, root: Path, lease_s: float = 60.0, max_bytes: float | None = None) -> None:
        self.root = root
        self.lease_s = lease_s
        self.max_bytes = max_bytes

    def folder(self, key: str) -> Path:
        return self.root / "stages" / key

    def work(self, key: str) -> Path:
        """Where the one who computes a stage keeps its checkpoints."""
        return self.root / "work" / key

    def lease(self, key: str) -> Lease:
        return Lease(self.root / "leases" / key, self.lease_s)

    @contextmanager
    def register(self, while_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """The moment in which trials say what they rest on, or a collector chooses what nobody rests on.

        It is held in the folder it is about: a network file system then lists that folder afresh.
        """
        lease = Lease(self.root / "uses" / "register", self.lease_s)
        while not lease.acquire():
            while_waiting()
            time.sleep(0.05)
        try:
            yield
        finally:
            lease.release()

    def find(self, key: str) -> StageRecord | None:
        """The record of a finished stage, without its weights; what is damaged there is dropped."""
        try:
            return self.look(key)
        except ValueError:
            self.discard(key)
            return None

    def look(self, key: str) -> StageRecord | None:
        """The same, and nothing is dropped: ValueError says what is wrong."""
        path = self.folder(key) / "stage.json"
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise ValueError("stage.json is a folder") from None
        except OSError as error:
            # a file server that is away for a moment must not cost the stages it keeps: only bad content is dropped
            if error.errno == errno.ELOOP:
                raise ValueError("stage.json is a link to itself") from None
            raise StorageError(f"{path}: cannot be read now ({error}); nothing was deleted") from error
        return record_of(key, content)

    def discard(self, key: str) -> None:
        """Take a stage out of sight in one rename, then delete it; somebody else may have done so."""
        hidden = self.hide(key)
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)

    def hide(self, key: str) -> Path | None:
        """Out of sight, not yet deleted; beside the stages, for on a full disk not even a folder can be made."""
        hidden = self.folder(f"{GONE}{uuid.uuid4().hex}")
        try:
            self.folder(key).rename(hidden)
        except FileNotFoundError:
            return None
        return hidden
