"""Files of kept activations that say by a lock who writes or reads them; the kernel drops it with the process."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from plastsearch.files import whole_file
from plastsearch.lock import try_lock

VALUES = "values.bin"


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
        try_lock(file)  # the file is new: nobody else can have it
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
            left = left[os.write(file, left) :]
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
    return found.st_size, min(found.st_size, 512 * found.st_blocks)


def read_number(path: Path) -> float:
    try:
        return float(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0.0


def write_number(path: Path, value: float) -> None:
    """A number in one rename; where there is no room even for that, nothing but an order of dropping is lost."""
    with contextlib.suppress(OSError), whole_file(path) as draft:
        draft.write_text(f"{value!r}\n")
