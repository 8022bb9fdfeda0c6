"""A lease: one holder at a time for a name on a shared file system, given up when its holder dies.

Leases save work; they are not what correctness rests on: results are deterministic and published by an atomic rename,
so a lease that is lost by mistake costs a second computation, never a wrong result.
"""

import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self


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
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else fields[19]


class Lease:
    """Held by at most one process; `hold_s` without a heartbeat, or a dead holder on this machine, frees it."""

    def __init__(self, path: Path, hold_s: float = 60.0) -> None:
        self.path = path
        self.hold_s = hold_s
        self._token = uuid.uuid4().hex
        self._file: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> bool:
        """Take the lease if it is free or its holder is dead; never waits."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._create():
            return True
        holder = self.holder()
        if holder is not None and not self._dead(holder):
            return False
        return self._bury(holder) and self._create()

    def held(self) -> bool:
        """Someone alive holds it."""
        holder = self.holder()
        return holder is not None and not self._dead(holder)

    def holder(self) -> dict[str, Any] | None:
        """Who holds it; None if nobody does."""
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return None
        try:
            return dict(json.loads(text))
        except ValueError:  # being written, or torn by a crash: only its age can tell
            return {}

    def release(self) -> None:
        """Give the lease back; nothing happens if it is not held."""
        if self._file is None:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        os.close(self._file)
        self._file = None
        holder = self.holder()
        if holder is not None and holder.get("token") == self._token:
            self.path.unlink(missing_ok=True)

    def _create(self) -> bool:
        """Create the file whole: written aside, then linked, which fails if the name is taken."""
        draft = self.path.with_name(f".{self.path.name}.{self._token}")
        pid = os.getpid()
        who = {"token": self._token, "host": socket.gethostname(), "boot": _boot_id(), "pid": pid}
        draft.write_text(json.dumps(who | {"started": _started(pid)}))
        try:
            os.link(draft, self.path)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        self._file = os.open(self.path, os.O_RDONLY)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(self._file, self._stop), daemon=True)
        self._thread.start()
        return True

    def _beat(self, file: int, stop: threading.Event) -> None:
        """Touch the inode, not the path: a lease that was taken over is left alone."""
        while not stop.wait(self.hold_s / 4):
            os.utime(file)

    def _dead(self, holder: dict[str, Any]) -> bool:
        if holder.get("host") == socket.gethostname() and holder.get("boot") == _boot_id():
            return bool(_started(int(holder["pid"])) != holder.get("started"))
        try:
            return self._now() - self.path.stat().st_mtime > self.hold_s
        except FileNotFoundError:
            return True

    def _now(self) -> float:
        """The file server's clock, so that the clocks of two nodes need not agree."""
        probe = self.path.with_name(f".{self._token}.now")
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
        return now

    def _bury(self, holder: dict[str, Any] | None) -> bool:
        """Move a dead holder's file away; only one of several heirs succeeds."""
        grave = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.dead")
        try:
            self.path.rename(grave)
        except FileNotFoundError:
            return True
        buried = json.loads(grave.read_text() or "{}") if holder else {}
        if holder and buried.get("token") != holder.get("token"):  # another heir was quicker: put its lease back
            try:
                os.link(grave, self.path)
            except FileExistsError:
                pass  # a third one holds it now; either way it is not ours
            finally:
                grave.unlink()
            return False
        grave.unlink()
        return True

    def __enter__(self) -> Self:
        """Wait until the lease is held."""
        while not self.acquire():
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
