"""Files and folders that appear whole or not at all, and JSON that every parser reads."""

import math
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plastsearch.errors import PlastsearchError

PART = ".part"  # how a draft ends; `drafts_of` finds what a killed process left of it


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A draft beside the path; it takes the path's name in one rename when the block ends, and goes if that fails."""
    draft = _draft(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


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
