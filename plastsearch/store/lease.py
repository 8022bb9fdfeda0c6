"""A lease: one holder at a time for a name on a shared file system, given up when its holder dies.

For stages leases save work, and correctness does not rest on them: results are deterministic and published by an atomic
rename, so a lease that is lost by mistake costs a second computation, never a wrong result. Whoever must not write once
somebody else may asks `ours` before (tracking/journal.py).

A lock of the kernel (lock.py) is not enough here. Not every file system that nodes share carries it from one to the
other, and where one does, the lock of a node that has vanished stays until the server gives that node up. So a lease is
a file that names its holder, and a heartbeat on it that anybody can see.
"""

import contextlib
import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

_SKEW_S = 600.0  # by which two clocks are taken to differ at most, where only ours can be read
# It goes on while a machine sleeps, which CLOCK_MONOTONIC does not, nor is it ever corrected.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _boot_id() -> str:
    """What tells two machines (or two containers' process tables) with one host name apart."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process of this machine started, in ticks: a process id alone may have been given away again."""
    try:
        # the name of the program, in brackets, may hold blanks and brackets itself: count from its end
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else fields[19]  # a zombie has ended; its parent has not asked yet


def _now_here() -> float:
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True)
class Holder:
    """What a lease's file says of the process that holds it."""

    token: str | None = None
    host: str | None = None
    boot: str | None = None
    pid: int | None = None
    started: str | None = None
    note: tuple[str, ...] | None = None  # keys of stages
    pod: str | None = None
    since: Annotated[float, Field(ge=0, le=2.5e11)] | None = None  # by its own clock: to be shown, not reckoned with
    hold_s: Annotated[float, Field(gt=0, le=1e9)] | None = None

    def __str__(self) -> str:
        """Who that is, for a message."""
        if self.pid is None:
            return "a process that left no name"
        since = "" if self.since is None else f", since {time.strftime('%F %T', time.gmtime(self.since))} UTC"
        return f"process {self.pid} on host {self.host}{f', Pod {self.pod}' if self.pod else ''}{since}"


_HOLDER = TypeAdapter(Holder)


def _parsed(text: str) -> Holder:
    """Who holds it; nothing of a file that is being written, or was torn by a crash: only its age can tell."""
    try:
        return _HOLDER.validate_json(text, strict=True)
    except ValueError:
        return Holder()


class Lease:
    """Held by at most one process; `hold_s` without a heartbeat, or a dead holder on this machine, frees it.

    `note` is written beside the holder, for whoever asks what is held.
    """

    def __init__(self, path: Path, hold_s: float = 60.0, note: Collection[str] | None = None) -> None:
        self.path = path
        self.hold_s = hold_s
        self.note = None if note is None else tuple(note)
        self.taken_from: Holder | None = None  # whose lease it was, if it was not given back
        self._token = uuid.uuid4().hex
        self._beaten_at = 0.0
        self._lost = False
        self._file: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> bool:
        """Take the lease if it is free or its holder is dead; never waits."""
        if self.mine:
            return False  # not counted: two threads of one process must not compute the same stage
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._create():
            return True
        holder = self.holder()
        if holder is None:  # given up between our two looks
            return self._create()
        if self._dead(holder) and self._take_away(holder) and self._create():
            self.taken_from = holder
            return True
        return False

    @property
    def mine(self) -> bool:
        """We hold it."""
        return self._file is not None

    def ours(self, *, look: bool = False) -> bool:
        """It is still ours, not only by our own account: nobody can have taken it over after a pause of this process.

        The file is asked only where that is not plain from the last heartbeat, or to `look`. OSError: no answer.
        """
        if self._file is None:
            return False
        if look or _now_here() - self._beaten_at > self.hold_s / 2:
            self._renew(self._file)
        return not self._lost

    def held(self) -> bool:
        """Someone alive holds it."""
        holder = self.holder()
        return holder is not None and not self._dead(holder)

    def holder(self) -> Holder | None:
        """Who holds it; None if nobody does."""
        try:
            return _parsed(self.path.read_text(errors="replace"))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ESTALE:  # another node took it away between our opening and reading
                return None
            raise

    def silent_s(self) -> float:
        """How long nothing was heard of the holder; 0 if there is none."""
        try:
            return max(0.0, self._now() - self.path.stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def here(self, holder: Holder) -> bool:
        """The holder is a process of this machine, where it can be seen to live or to have ended."""
        return holder.host == socket.gethostname() and holder.boot == _boot_id() and holder.pid is not None

    def release(self) -> None:
        """Give the lease back; nothing happens if it is not held."""
        if self._file is None:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        os.close(self._file)
        self._file = None
        if self._mine():  # a successor who took us for dead has his own file under this name
            self.path.unlink(missing_ok=True)

    def _mine(self) -> bool:
        """The file is ours, whatever the file server answered when it was made."""
        holder = self.holder()
        return holder is not None and holder.token == self._token

    def _create(self) -> bool:
        """Take the name if it is free, and begin to beat."""
        pid = os.getpid()
        who = Holder(
            self._token, socket.gethostname(), _boot_id(), pid, _started(pid), self.note,
            os.environ.get("POD_NAME"), time.time(), self.hold_s,
        )  # fmt: skip
        began = _now_here()
        if not self._place(json.dumps(asdict(who))):
            return False
        self._beaten_at, self._lost = began, False
        try:
            self._file = os.open(self.path, os.O_RDONLY)  # for the heartbeat, which must not reach a successor's file
        except OSError:
            self.path.unlink(missing_ok=True)  # or it would be held by nobody, in a process that lives on
            raise
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(self._file, self._stop), daemon=True)
        self._thread.start()
        return True

    def _place(self, text: str) -> bool:
        """The file whole under its name: written aside, then linked, which fails if the name is taken.

        A file server may carry out a link and lose its answer; asked again, it says that the name is taken: by us.
        """
        draft = self.path.with_name(f".{self.path.name}.{self._token}")
        try:
            draft.write_text(text)
            os.link(draft, self.path)
        except FileExistsError:
            return self._mine()
        except OSError:  # no hard links here, or an answer lost
            return self._mine() or self._place_exclusively(text)
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _place_exclusively(self, text: str) -> bool:
        """Without hard links the name is taken first and filled then; whoever reads in between finds it torn."""
        try:
            file = self.path.open("x")
        except FileExistsError:
            return self._mine()
        try:
            with file:
                file.write(text)
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        return True

    def _beat(self, file: int, stop: threading.Event) -> None:
        """Touch the inode, not the path: a lease that was taken over is left alone."""
        while not self._lost and not stop.wait(self.hold_s / 4):  # three beats in a row may get lost
            with contextlib.suppress(OSError):  # a file server that does not answer now may do so at the next beat
                self._renew(file)

    def _renew(self, file: int) -> None:
        """One beat, and a look afterwards: an inode that was taken away can be touched as well."""
        began = _now_here()
        os.utime(file)
        if self._mine():
            self._beaten_at = began
        else:
            self._lost = True

    def _dead(self, holder: Holder, path: Path | None = None) -> bool:
        """Its process has ended, or its heart is silent: a process may outlive the object that held a lease."""
        hold_s = holder.hold_s or self.hold_s  # whoever holds it beats at his own pace
        try:
            beat = (path or self.path).stat().st_mtime
            if self.here(holder):
                assert holder.pid is not None
                if _started(holder.pid) != holder.started:
                    return True
                if 0 <= time.time() - beat <= hold_s:  # one machine, one clock: no need to ask the file server's
                    return False
            return self._now() - beat > hold_s
        except FileNotFoundError:
            return True

    def _now(self) -> float:
        """The file server's clock, so that the clocks of two nodes need not agree."""
        # no file system says what time it is, but all stamp a new file
        probe = self.path.with_name(f".{self._token}.now")
        try:
            probe.touch()
        except OSError:  # a reader may have no right to write here: in doubt the holder lives
            return time.time() - _SKEW_S
        now = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
        return now

    def _take_away(self, holder: Holder) -> bool:
        """Move a dead holder's file away; only one of several successors does so."""
        aside = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.dead")
        # Read once it is out of the way, where nobody changes it any more: it may be a successor's by then.
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return True
        # Another successor was quicker, or the holder is back, who was only paused.
        if _parsed(aside.read_text()).token != holder.token or not self._dead(holder, aside):
            self._put_back(aside)
            return False
        aside.unlink()
        return True

    def _put_back(self, aside: Path) -> None:
        """A successor's lease under its name again, unless a third one holds that now; either way it is not ours."""
        try:
            os.link(aside, self.path)
        except FileExistsError:
            pass
        except OSError:  # no hard links here: looking and renaming are two steps, which may cost a second computation
            if not self.path.exists():
                aside.rename(self.path)
        finally:
            aside.unlink(missing_ok=True)
