"""One entry of the activation cache: its files, and the lock on its values that says who writes or reads them.

The kernel drops the lock with the process. Which entries are kept: prefix.py.
"""

import contextlib
import json
import mmap
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastsearch.files import whole_file
from plastsearch.lock import try_lock, try_share
from plastsearch.spec.config import content_id

Rows = NDArray[np.int64]
TYPES: dict[str, tuple[np.dtype[np.float32 | np.float16], torch.dtype]] = {
    "float32": (np.dtype(np.float32), torch.float32),
    "float16": (np.dtype(np.float16), torch.float16),
}
VALUES = "values.bin"
SHAPE = "shape.json"
WORTH = "worth"


@dataclass(frozen=True)
class PrefixOf:
    """What activations depend on: all of it is in their key."""

    weights: str  # key of the stage whose frozen weights compute them
    cut: str
    clips: str  # the clips' fingerprint
    length_samples: int
    crops: int
    type: str  # float32 | float16
    precision: str  # float32 | bf16 autocast while computing

    @property
    def key(self) -> str:
        return content_id(vars(self), 24)


class CachedActivations:
    """A memory-mapped array [crops × clips, …]; reading copies only the rows asked for."""

    def __init__(self, folder: Path) -> None:
        shape = json.loads((folder / SHAPE).read_text())
        self.seconds = float(shape["seconds"])
        self._clips = int(shape["count"])
        kind = TYPES[shape["type"]][0]
        dims = tuple(shape["shape"])
        with (folder / VALUES).open("rb") as file:
            if not try_share(file.fileno()):  # the map keeps the file open, and so the lock
                raise BlockingIOError(file.name)
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError(file.name)  # dropped between opening and locking
            held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._values: NDArray[np.float32 | np.float16] = np.frombuffer(held, kind, int(np.prod(dims))).reshape(dims)
        self.gb = self._values.nbytes / 1e9

    def read(self, rows: Rows, crops: Rows | int = 0) -> Tensor:
        """Activations of these clips in float32."""
        return torch.from_numpy(self._values[rows + self._clips * np.asarray(crops)].astype(np.float32, copy=False))


@dataclass(frozen=True)
class Draft:
    """A folder that only we write to, and the open file that says so."""

    folder: Path
    file: int


class Refused(Exception):
    """No room, and why."""


def reserve(folder: Path, size: int) -> Draft:
    """A draft as large as it will be, held by this process."""
    folder.mkdir()
    file = os.open(folder / VALUES, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        if not try_lock(file):  # the file is new, and who clears drafts away holds the cache's own lock, as we do
            raise BlockingIOError(str(folder / VALUES))
        # the full size at once, without a byte on the disk yet: that is the reservation which others count
        os.ftruncate(file, size)
    except OSError:
        os.close(file)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Draft(folder, file)


def append(file: int, part: Tensor, kind: torch.dtype) -> int:
    """Write a part; the bytes it took."""
    stored = part.to(kind)
    if kind == torch.float16 and not torch.isfinite(stored).all():
        raise OverflowError("an activation is too large for half precision")
    left = stored.cpu().contiguous().numpy().data.cast("B")
    size = len(left)
    try:
        while left:
            left = left[os.write(file, left) :]  # one call takes 2 GiB at most
    except OSError as error:
        raise Refused(str(error)) from error
    return size


def hold(path: Path, locks: contextlib.ExitStack) -> bool:
    """Whether nobody reads or writes these values; then nobody can until `locks` is closed."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return False
    if not try_lock(file.fileno()):
        file.close()
        return False
    locks.enter_context(file)
    return True


def sizes(path: Path) -> tuple[int, int]:
    """Length of a file, and how much of it is on the disk."""
    found = path.stat()
    return found.st_size, min(found.st_size, 512 * found.st_blocks)  # a draft is a hole until it is written


def read_number(path: Path) -> float:
    try:
        return float(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0.0


def write_number(path: Path, value: float) -> None:
    """A number in one rename; where there is no room even for that, nothing but an order of dropping is lost."""
    with contextlib.suppress(OSError), whole_file(path) as draft:
        draft.write_text(f"{value!r}\n")
