"""Files and folders that appear whole or not at all, are opened up to a limit, and JSON that every parser reads."""

import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from plastsearch.errors import PlastsearchError

PART = ".part"  # how a draft ends; `drafts_of` finds what a killed process left of it


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A draft beside the path; it takes the path's name in one rename when the block ends, and goes if that fails.

    A pipe or a device (`/dev/stdout`) is not replaced: what the block wrote flows into it.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with TemporaryDirectory() as place:
            draft = Path(place) / path.name
            yield draft
            _pour(draft, path)
        return
    draft = _draft(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _pour(draft: Path, path: Path) -> None:
    """A pipe that nobody reads is an error, and no wait."""
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(handle, True)
    try:
        with draft.open("rb") as file, os.fdopen(handle, "wb") as out:
            shutil.copyfileobj(file, out)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # of a handle nobody knows the name


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder, which the block makes; under its name there may be nothing yet, or an empty folder."""
    draft = _draft(path)
    try:
        yield draft
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Within, what the file system refuses is told in a sentence with the place and the reason."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise PlastsearchError(
            f"{where}: cannot be written ({error.strerror or error}); name another folder, or make that one writable"
        ) from None


def new_folder(path: Path) -> None:
    """Refuses, before hours of work, a place where no folder of that name can be written at their end."""
    with told(path):
        if path.is_dir() and any(path.iterdir()):
            raise PlastsearchError(f"{path} exists and is not empty: name a new folder")
        if path.exists() and not path.is_dir():
            raise PlastsearchError(f"{path} is a file: name a new folder")
        above = next((one for one in path.absolute().parents if one.exists()), path)
        draft = above / _draft(path).name  # a longer name than its own: may there be such a folder?
        try:
            draft.mkdir()
            draft.rmdir()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None  # the draft's name says nothing


def drafts_of(folder: Path, name: str = "*") -> list[Path]:
    """The drafts of a file or folder of that name (of all: `*`) that lie in a folder."""
    return list(folder.glob(f".{name}.*{PART}"))


def plain(value: object) -> object:
    """What JSON can say of a value: it knows no NaN and no infinity, so such a number becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _draft(path: Path) -> Path:
    if not path.name:  # `.` or `/`: nothing can be written beside it that would take its place
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # not by process id: containers that share a disk hand out the same ones
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")


def typed_path(text: str) -> Path:
    """A path as a person typed it, `~` included; what can be no path is a mistake of theirs, told in a sentence."""
    try:
        path = Path(text).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError, RuntimeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PlastsearchError(f"{text[:200]!r}: cannot be used as a path: {why}") from None
    return path


def recordable(path: Path | None) -> Path | None:
    """A place whose name a journal can hold: in JSON and in databases there is no name that is no UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise PlastsearchError(
            f"{str(path)!r}: the name is not in UTF-8, so no record can hold it; rename it"
        ) from None
    return path


def folder_name(name: str | None) -> str | None:
    """A folder's name as a person typed it, which must stay one below the folder that was named for it."""
    if name is None or (name == Path(name).name and not name.startswith((".", "-")) and name.isprintable()):
        return name
    raise PlastsearchError(
        f"--name {name[:200]!r}: the name of a folder, without '/', control characters, or '.' or '-' before it; "
        "where that folder lies says --out"
    )


def opened(path: Path) -> BinaryIO:
    """A file to read. A pipe that nobody writes to is empty, and no wait; one with a writer is read to its end."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    os.set_blocking(file.fileno(), True)
    return file


def text_of(path: Path, most_bytes: int, what: str = "it should be a text in UTF-8") -> str:
    """The text of a file that somebody else may have written, up to a limit; one that is missing stays an OSError."""
    try:
        if path.is_dir():
            raise PlastsearchError(f"{path}: is a folder; name the file")
        with opened(path) as file:
            found = file.read(most_bytes + 1)
        if len(found) > most_bytes:
            raise PlastsearchError(f"{path}: longer than {most_bytes >> 20} MB; is that the right file?")
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlastsearchError(f"{path}: not text ({error.reason} at byte {error.start}); {what}") from None
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # the path may hold a null
        raise PlastsearchError(f"{path}: cannot be read ({_reason(error)})") from None


def json_of(path: Path, most_bytes: int) -> object:
    """What a JSON file says; FileNotFoundError where there is none."""
    text = text_of(path, most_bytes)
    try:
        return json.loads(text)
    except RecursionError:
        raise PlastsearchError(f"{path}: not JSON that can be read: values stand too deep in each other") from None
    except ValueError as error:  # of whole numbers with thousands of digits, too
        raise PlastsearchError(f"{path}: not JSON ({str(error).splitlines()[0]})") from None


def refused(error: OSError) -> str:
    """What the operating system refuses, as a sentence: the place, the reason, the way out."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    place = f"{' → '.join(names)}: " if names else ""
    hint = _WAYS_OUT.get(error.errno or 0)
    return f"{place}{_reason(error)}{f'; {hint}' if hint else ''}"


_PLACE = "choose another place, or ask its owner"
_WAYS_OUT = {
    errno.ENOSPC: "the disk is full: make room, then run the same command again",
    errno.EDQUOT: "your share of the disk is full: make room, then run the same command again",
    errno.EROFS: "it lies on a file system that only can be read; choose another place",
    errno.EACCES: _PLACE,
    errno.EPERM: _PLACE,
    errno.EMFILE: "allow this process more of them: `ulimit -n 4096`",
    errno.ENFILE: "this machine has no more of them; end other programs",
    errno.EFBIG: "allow larger files (`ulimit -f`), or choose another file system",
    errno.ENOMEM: "end other programs, or ask for less",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead round in a circle; name the folder or file itself",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.EISDIR: "a folder stands where a file should be",
    errno.EEXIST: "something else stands there; choose another name",
}


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
