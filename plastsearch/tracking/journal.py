"""trials.jsonl, the truth of a sweep: append-only, one writer, one JSON object per line. Their sum: records.py."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Self, TypeVar

from plastsearch.errors import PlastsearchError
from plastsearch.files import plain
from plastsearch.lock import take
from plastsearch.tracking.events import (
    Ended,
    Event,
    Finished,
    Opened,
    Retried,
    SessionBegun,
    parse,
)

FILE = "trials.jsonl"
LOCK = "driver.lock"
VERSION = 1
# A power cut may cost reports, which only inform, and proposals of the last moment, which follow from the seed and come
# again; never a result, nor anything written before one.
DURABLE = (Opened, Ended, Retried, Finished)
SETTLE_S = 0.5

E = TypeVar("E", bound=Event)


class Journal:
    """The one writer of a sweep folder: holds its lock, mends a torn tail, appends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / FILE
        self._lock = _lock(folder)
        self._unsettled_s = 0.0  # since when something waits for the disk
        try:
            # Before the first append, which would else complete the torn line to one that nobody can read.
            mend(self.path)
            self._file: IO[bytes] = self.path.open("ab")
        except BaseException:
            self._lock.close()
            raise

    def append(self, event: E) -> E:
        """Write one event down and date it; when this returns, a killed driver cannot lose it."""
        written = event.model_copy(update={"at": round(time.time(), 6)})
        # Strict: Python would write NaN, which other readers of the file refuse; `plain` makes it null.
        line = json.dumps(plain(written.as_json()), separators=(",", ":"), allow_nan=False)
        # One write and a flush: what the system has, it keeps when the driver is killed; only a power cut takes it.
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        self._unsettled_s = self._unsettled_s or time.monotonic()
        if isinstance(event, DURABLE):
            self._sync()
        return written

    def tick(self) -> None:
        """Called now and then: what is not on the disk for half a second is put there."""
        if self._unsettled_s and time.monotonic() - self._unsettled_s > SETTLE_S:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._unsettled_s = 0.0

    def clear(self) -> None:
        """Start over: for a sweep that was opened and never ran a trial."""
        self._file.truncate(0)

    def close(self) -> None:
        """Close the file and drop the lock, so that the next driver may write."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mend(path: Path) -> int:
    """Cut a line that a killed writer left unfinished, and say how many bytes that were."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        whole = _end_of_last_line(file, end)
        if whole < end:
            file.truncate(whole)
            file.flush()
            os.fsync(file.fileno())
        return end - whole


def read(folder: Path) -> list[Event]:
    """Every event in order; an unfinished last line, still being written or torn, is left out."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise PlastsearchError(f"{folder}: no sweep here ({FILE} is missing)")
    lines = path.read_bytes().split(b"\n")[:-1]
    # A file system that was cut off may leave a run of zero bytes at the end.
    return [_parse(line, path, number) for number, line in enumerate(lines, 1) if line.strip(b"\0 \r")]


def seconds_so_far(events: Iterable[Event]) -> float:
    """Wall time of all sessions, each from its opening to its last word."""
    total = 0.0
    opened: float | None = None
    last = 0.0
    for event in events:
        if isinstance(event, SessionBegun):
            total += last - opened if opened is not None else 0.0
            opened = event.at
        last = event.at
    return total + (last - opened if opened is not None else 0.0)


def _lock(folder: Path) -> IO[str]:
    # "a+" leaves the holder's number in the file until the lock is ours; "w" would empty it for the message below.
    file = (folder / LOCK).open("a+")
    if not take(file.fileno(), folder / LOCK):
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise PlastsearchError(
            f"{folder}: another driver (process {holder}) is running this sweep; "
            "wait for it, stop it, or choose another folder with --out"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _end_of_last_line(file: IO[bytes], end: int) -> int:
    """The offset after the last newline, looked for backwards in blocks."""
    # Backwards, for a journal may have many MB and its last line has a few kB.
    position = end
    while position > 0:
        size = min(65_536, position)
        position -= size
        file.seek(position)
        found = file.read(size).rfind(b"\n")
        if found >= 0:
            return position + found + 1
    return 0


def _parse(line: bytes, path: Path, number: int) -> Event:
    try:
        return parse(line)
    except ValueError as error:
        raise PlastsearchError(
            f"{path}:{number}: not a journal line ({error}); restore the file from a copy or remove that line"
        ) from None
