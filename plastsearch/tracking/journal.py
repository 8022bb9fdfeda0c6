"""trials.jsonl, the truth of a sweep: append-only, one writer, one JSON object per line. Their sum: records.py."""

import errno
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, NoReturn, Self, TypeVar

from plastsearch.errors import FolderTakenError, PlastsearchError, StorageError, out_of_room
from plastsearch.files import plain, whole_file
from plastsearch.store.lease import Holder, Lease
from plastsearch.tracking.events import (
    Ended,
    Event,
    Finished,
    Opened,
    Retried,
    SessionBegun,
)
from plastsearch.tracking.reading import Reader, content_of, numbered, shortened

FILE = "trials.jsonl"
LEASE = "driver.lease"
LEASE_S = "PLASTSEARCH_DRIVER_LEASE_S"
HOLD_S = 60.0  # without a heartbeat; a driver on this machine that has ended need not be waited for
_ASK_S = 0.5
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)  # as it will be the next time
# A power cut may cost reports, which only inform, and proposals of the last moment, which follow from the seed and come
# again; never a result, nor anything written before one.
DURABLE = (Opened, Ended, Retried, Finished)
SETTLE_S = 0.5

E = TypeVar("E", bound=Event)


class Journal:
    """The one writer of a sweep folder: holds its lease, mends a torn tail, appends.

    `on_wait` is told of a driver that may be dead, for whose lease to run out is then waited; else it is an error.
    """

    def __init__(self, folder: Path, on_wait: Callable[[str], None] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / FILE
        self._lease = _lease(folder)
        _take(self._lease, folder, on_wait)
        self._unsettled_s = 0.0  # since when something waits for the disk
        self._broken = False  # a write has failed
        try:
            if self._lease.taken_from is not None and self.path.exists():
                # Should its driver only be paused, what it was about to write goes to a file without a name.
                _replace_by_copy(self.path)
            # Before the first append, which would else complete the torn line to one that nobody can read.
            mend(self.path)
            self._file: IO[bytes] = self.path.open("ab")
        except BaseException:
            self._lease.release()
            raise

    def append(self, event: E) -> E:
        """Write one event down and date it; when this returns, a killed driver cannot lose it.

        FolderTakenError: another driver has taken over, and nothing was written.
        """
        durable = isinstance(event, DURABLE)
        self._check(look=durable)
        written = event.model_copy(update={"at": round(time.time(), 6)})
        # Strict: Python would write NaN, which other readers of the file refuse; `plain` makes it null.
        line = json.dumps(plain(written.as_json()), separators=(",", ":"), allow_nan=False)
        # One write and a flush: what the system has, it keeps when the driver is killed; only a power cut takes it.
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            self._unsettled_s = self._unsettled_s or time.monotonic()
            if durable:
                self._sync()
        except OSError as error:
            self._fail(error)
        return written

    def tick(self) -> None:
        """Called now and then: what is not on the disk for half a second is put there."""
        self._check()
        if self._unsettled_s and time.monotonic() - self._unsettled_s > SETTLE_S:
            try:
                self._sync()
            except OSError as error:
                self._fail(error)

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._unsettled_s = 0.0

    def _check(self, *, look: bool = False) -> None:
        """Refuse to go on in a folder that is another driver's now, as after a pause of this process."""
        try:
            ours = self._lease.ours(look=look)
        except OSError as error:
            self._fail(error)
        if not ours:
            holder = self._lease.holder()
            raise FolderTakenError(
                f"{self.folder}: this driver was not heard of for {self._lease.hold_s:g} s and its sweep was taken over"
                f"{f' by {holder}' if holder else ''}; that one goes on, and here nothing more is written"
            )

    def _fail(self, error: OSError) -> NoReturn:
        self._broken = True
        if error.errno == errno.ESTALE:  # the file was replaced: on NFS that is how one learns of a successor
            raise FolderTakenError(
                f"{self.folder}: the file server has another file under the name of what this driver holds: its sweep "
                "was taken over; that driver goes on, and here nothing more is written"
            ) from None
        raise StorageError(
            f"{self.path}: cannot be written ({error.strerror or error}); see to its file system and go on with "
            "--resume: what is in the journal is not lost"
        ) from None

    def clear(self) -> None:
        """Start over: for a sweep that was opened and never ran a trial."""
        self._file.truncate(0)

    def close(self) -> None:
        """Close the file and give the lease back, so that the next driver may write."""
        try:
            self._file.close()
        except OSError:  # it tries once more to write the line that could not be written, of which was told
            if not self._broken:
                raise
        finally:
            self._lease.release()

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


def read(folder: Path, *, configs: bool = False) -> list[Event]:
    """Every event in order; a damaged line is an error that names it.

    With `configs` a trial of a configuration that this program does not understand is one, too.
    """
    path = Path(folder) / FILE
    return events_in(content_of(path), path, configs=configs)


def events_in(content: bytes, path: Path, *, configs: bool = False) -> list[Event]:
    """The same of what that file held."""
    reader = Reader(path, configs)
    return [_taken(reader, line, number) for number, line in numbered(content)]


def seconds_so_far(events: Iterable[Event]) -> float:
    """Wall time of all sessions, each from its opening to its last word."""
    total = 0.0
    last: float | None = None  # of the session that is looked at
    for event in events:
        if isinstance(event, SessionBegun):
            last = event.at
        elif isinstance(event, Retried) and event.reopened:
            continue  # written between two sessions
        elif last is not None:
            # Step by step: a clock that is put back in a session costs the sum one step, not the whole session.
            total += max(0.0, event.at - last)
            last = event.at
    return total


def driver_lives(folder: Path) -> bool:
    """Whether somebody is writing this sweep's journal; readers ask, and need no right to write there."""
    return _lease(Path(folder)).held()


def lease_s(environment: Mapping[str, str] = os.environ) -> float:
    """How long a driver may be silent before another may take its sweep over."""
    text = environment.get(LEASE_S, "").strip()
    try:
        seconds = float(text or HOLD_S)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise PlastsearchError(f"{LEASE_S}={text}: give a number of seconds above 0, such as {HOLD_S:g}")
    return seconds


def _lease(folder: Path) -> Lease:
    return Lease(folder / LEASE, lease_s())


def _take(lease: Lease, folder: Path, on_wait: Callable[[str], None] | None) -> None:
    """Take the lease, or say who has it; with `on_wait` whoever may be dead is given the time to show that he lives."""
    began = time.monotonic()
    told = False
    while not _acquired(lease, folder):
        holder = lease.holder()
        if holder is None:  # given back meanwhile
            time.sleep(_ASK_S / 10)
            continue
        hold_s = holder.hold_s or lease.hold_s
        # Twice: a Pod that is being ended beats on through its grace, and then gives the lease back or leaves it.
        patient = on_wait is not None and not lease.here(holder) and time.monotonic() - began < 2 * hold_s
        if not patient:
            raise FolderTakenError(_in_use(lease, folder, holder, hold_s))
        if on_wait is not None and not told:
            on_wait(
                f"{folder} is held by another driver ({holder}), heard of {lease.silent_s():.0f} s ago; waiting for it "
                f"to end, or for {hold_s:g} s without a word of it"
            )
            told = True
        time.sleep(min(_ASK_S, hold_s / 4))


def _acquired(lease: Lease, folder: Path) -> bool:
    try:
        return lease.acquire()
    except OSError as error:
        if error.errno not in _REFUSED:
            way_out = "make room, then run the same command again" if out_of_room(error) else "try again later"
            raise StorageError(f"{folder}: cannot be used now ({error.strerror or error}); {way_out}") from None
        raise PlastsearchError(
            f"{folder}: cannot be written ({error.strerror or error}); name a folder you may write to with --out"
        ) from None


def _in_use(lease: Lease, folder: Path, holder: Holder, hold_s: float) -> str:
    silent_s = lease.silent_s()
    # On this machine it was seen to live; of others only the heartbeat is known.
    way_out = (
        "" if lease.here(holder) else
        f"; if it is dead, --resume takes over in {max(1.0, hold_s - silent_s):.0f} s, once it was silent for "
        f"{hold_s:g} s"
    )  # fmt: skip
    return (
        f"{folder}: another driver ({holder}) is running this sweep, and was heard of {silent_s:.0f} s ago; "
        f"wait for it, stop it, or choose another folder with --out{way_out}"
    )


def _replace_by_copy(path: Path) -> None:
    """The same lines in a new file under the name."""
    with whole_file(path) as draft:
        shutil.copyfile(path, draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())


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


def _taken(reader: Reader, line: bytes, number: int) -> Event:
    try:
        return reader.take(line, number)
    except ValueError as error:
        folder = reader.path.parent
        raise PlastsearchError(
            f"{reader.path}:{number}: a damaged line ({shortened(str(error))}); restore the file from a copy, or\n"
            f"plastsearch report --skip-bad-lines {shlex.quote(str(folder))}   shows what the other lines say\n"
            f"plastsearch journal repair {shlex.quote(str(folder))}   takes such lines out and says what that loses"
        ) from None
