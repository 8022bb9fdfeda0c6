"""Folders: can be written, have room, keep locks and hard links; tried out where sweeps would be kept."""

import contextlib
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from plastsearch.doctor.finding import Finding, fault, note, ok
from plastsearch.files import refused
from plastsearch.lock import try_lock
from plastsearch.words import shown, sized

LEAST_ROOM = 1e9  # of a tiny sweep with its store and cache
FEW_ROOM = 10e9
ELSEWHERE = "name another folder with --out"
SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED = 150e6  # Ray keeps 100 MB there


def folder(out: Path) -> list[Finding]:
    """The root of all sweeps: all that is asked of it, or only why it cannot be written."""
    above, name = nearest(out), "--out"
    if not above.is_dir():
        return [fault(name, f"{shown(above)} is a file", ELSEWHERE)]
    try:
        with _probe(above) as probe:
            made = "" if above == out else f"; {shown(out)} will be made in it"
            return [ok(name, f"{shown(above)} can be written{made}"), room(above), locks(probe), links(probe)]
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return [fault(name, f"{shown(above)}: {error.strerror}", f"make room, or {ELSEWHERE}")]
        why = error.strerror or str(error)
        return [fault(name, f"{shown(above)} cannot be written: {why}", f"ask its owner, or {ELSEWHERE}")]


def nearest(path: Path) -> Path:
    """The path, or the innermost of its folders that is there."""
    return next((one for one in (path, *path.absolute().parents) if one.exists()), Path("/"))


def unwritable(path: Path) -> str | None:
    """Why nothing can be written at that path or where it would be made, None if it can."""
    above = nearest(path)
    try:  # whoever may do all is told by no mode
        with _probe(above if above.is_dir() else above.parent):
            return None
    except OSError as error:
        return error.strerror or str(error)


@contextlib.contextmanager
def _probe(above: Path) -> Iterator[Path]:
    """A file of ours there, with something in it, for a moment."""
    path = above / f".plastsearch-doctor-{uuid.uuid4().hex}"
    try:
        with path.open("x") as file:
            file.write("may this be kept?")
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def room(above: Path) -> Finding:
    """Free disk."""
    name = "disk"
    free = shutil.disk_usage(above).free
    said = f"{sized(free)} free at {shown(above)}"
    if free < LEAST_ROOM:
        return fault(name, said, f"make room (`plastsearch store gc` drops stages), or {ELSEWHERE}")
    if free < FEW_ROOM:
        return note(name, said, "limit what is kept: sweep --store-max-gb, --cache-max-gb")
    return ok(name, said)


def locks(probe: Path, lock: Callable[[int], bool] = try_lock) -> Finding:
    """Whether a lock taken here keeps a second one out."""
    name = "file locks"
    try:
        with probe.open("a+") as first, probe.open("a+") as second:
            taken, again = lock(first.fileno()), lock(second.fileno())
    except OSError as error:
        return fault(name, f"none can be had: {error.strerror}", f"a local or NFS disk has them; {ELSEWHERE}")
    if not taken or again:
        said = "two at once are given" if again else "a new file counts as locked"
        return fault(
            name, f"{said}: several drivers would write into one journal", f"mount it with locks, or {ELSEWHERE}"
        )
    return ok(name, "kept")


def links(probe: Path, link: Callable[[Path, Path], None] = os.link) -> Finding:
    """Whether files have second names, by which leases are taken in one step."""
    name = "hard links"
    second = probe.with_name(f"{probe.name}.link")
    try:
        link(probe, second)
        same = second.stat().st_ino == probe.stat().st_ino
    except OSError as error:
        return fault(
            name, f"none: {error.strerror}; two nodes may take one lease and compute a stage twice",
            f"on one machine that is harmless; for several {ELSEWHERE}, on NFS or a local disk",
        )  # fmt: skip
    finally:
        with contextlib.suppress(OSError):
            second.unlink(missing_ok=True)
    if not same:
        return fault(name, "a link is a copy here", f"for several machines {ELSEWHERE}, on NFS or a local disk")
    return ok(name, "kept")


def temporary(shared: Path = SHARED_MEMORY) -> Finding:
    """The temporary folder, where sockets lie, and the shared memory that Ray puts its objects into."""
    name = "temporary folder"
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"may this be kept?")
            file.flush()
        where = tempfile.gettempdir()
        free = shutil.disk_usage(where).free
    except OSError as error:
        return fault(name, refused(error), "set TMPDIR to a folder on a local disk that you may write to")
    if free < LEAST_ROOM:
        return fault(
            name, f"{sized(free)} free at {where}", "make room, or set TMPDIR to a folder on another local disk"
        )
    if shared.is_dir() and shutil.disk_usage(shared).free < LEAST_SHARED:
        left = sized(shutil.disk_usage(shared).free)
        return note(name, f"{left} free at {shared}, where Ray keeps objects", "docker run --shm-size 1g")
    return ok(name, f"{where}, {sized(free)} free")
