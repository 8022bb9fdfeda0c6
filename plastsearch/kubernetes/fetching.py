"""`k8s fetch`: a sweep's folder as an archive out of a Pod, unpacked whole or not at all, and nowhere else."""

import select
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from plastsearch.errors import PlastsearchError
from plastsearch.files import told, whole_folder
from plastsearch.kubernetes import kubectl
from plastsearch.kubernetes.running import Place
from plastsearch.tracking.journal import FILE

STALLED_S = 120.0
_CHANGED = 1  # tar's status where a file grew while it was read: a running sweep's journal does
_GRACE_S = 5.0
_END = 1024  # zero bytes that end every archive


class CutError(PlastsearchError):
    """The archive did not come whole."""


@dataclass(frozen=True)
class Fetched:
    """What came."""

    files: int
    bytes: int
    left_out: int  # links and the like


def fetch(place: Place, folder: PurePosixPath, target: Path) -> Fetched:
    """Copy a sweep's folder to `target`, which must not hold anything yet."""
    with told(target):
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise PlastsearchError(f"{target}: is there already; name a folder that is not, or remove it")
        target.parent.mkdir(parents=True, exist_ok=True)
    with told(target), whole_folder(target) as draft:
        draft.mkdir()
        with _archive(place, folder) as archive:
            fetched = unpack(archive, draft)
        if not (draft / FILE).is_file():
            raise PlastsearchError(f"{folder} in Pod {place.pod}: no sweep there ({FILE} is missing); look with --out")
    return fetched


def unpack(archive: "Readable", target: Path) -> Fetched:
    """Files and folders of an archive, each looked at before it is written."""
    files = size = left_out = 0
    ending = _Ending(archive)
    try:
        with tarfile.open(fileobj=cast(IO[bytes], ending), mode="r|") as members:  # it asks for `read` alone
            for member in members:
                path = target / _inside(member.name)
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                elif member.isfile():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _write(members.extractfile(member), path, member.size)
                    files, size = files + 1, size + member.size
                else:
                    left_out += 1  # a link may lead anywhere, and a sweep's folder needs none
    except OSError as error:
        raise PlastsearchError(f"{error.filename or target}: cannot be written ({error.strerror})") from None
    except tarfile.TarError as error:
        raise CutError(f"the archive is broken ({error}); nothing was kept, try again") from None
    if not ending.whole():
        raise CutError("the archive ended early: the connection was cut; nothing was kept, try again")
    return Fetched(files, size, left_out)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise PlastsearchError(f"the archive names {name!r}, outside of its folder; nothing was kept: do not trust it")
    return path


def _write(source: IO[bytes] | None, path: Path, size: int) -> None:
    if source is None:
        raise PlastsearchError(f"the archive holds no content of {path.name}; nothing was kept, try again")
    left = size
    with path.open("xb") as file:  # an archive that names a file twice does not overwrite what it wrote
        while left:
            block = source.read(min(left, 1 << 20))
            if not block:
                raise CutError("the archive ended early: the connection was cut; nothing was kept, try again")
            file.write(block)
            left -= len(block)


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """The next bytes; none at the end."""
        ...


class _Ending:
    """A stream that remembers its last bytes: a cut archive may look whole to who only reads its members."""

    def __init__(self, stream: "Readable") -> None:
        self._stream = stream
        self._last = b""

    def read(self, size: int) -> bytes:
        """The next bytes."""
        block = self._stream.read(size)
        self._last = (self._last + block)[-_END:]
        return block

    def whole(self) -> bool:
        """Whether the stream, read to its end, ends as an archive does."""
        while self.read(1 << 16):
            pass
        return len(self._last) == _END and not any(self._last)


@contextmanager
def _archive(place: Place, folder: PurePosixPath) -> Iterator["_Patient"]:
    words = place.words("tar", "--create", "--file=-", f"--directory={folder}", ".")
    command = [kubectl.program(), "--namespace", place.namespace, *words]
    with tempfile.TemporaryFile() as said:
        # Unbuffered: what lies in a buffer of Python's, `select` does not see.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, bufsize=0
        )  # fmt: skip
        assert process.stdout is not None
        cut: CutError | None = None
        try:
            yield _Patient(process.stdout)
        except CutError as error:
            cut = error
        finally:
            process.stdout.close()
            try:
                process.wait(timeout=_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        said.seek(0)
        told = said.read().decode(errors="replace")
        if process.returncode not in (0, _CHANGED) or (process.returncode == _CHANGED and "changed" not in told):
            raise cut if cut and not told.strip() else kubectl.complaint(told, words, place.namespace)
        if cut is not None:
            raise cut


class _Patient:
    """A pipe that raises where nothing has come for two minutes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def read(self, size: int) -> bytes:
        """The next bytes, not always as many as asked for; none at the end."""
        ready, _, _ = select.select([self._pipe], [], [], STALLED_S)
        if not ready:
            raise CutError(f"nothing came for {STALLED_S:g} s; nothing was kept, try again")
        return self._pipe.read(size)
