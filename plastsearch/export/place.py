"""The folder of an export: whole or not at all, and never over what somebody else put there."""

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plastsearch.errors import PlastsearchError
from plastsearch.files import PART, told, whole_file, whole_folder

SUMS = "SHA256SUMS"  # `sha256sum -c SHA256SUMS` compares
_BLOCK = 1 << 20


@contextmanager
def whole_export(folder: Path, force: bool) -> Iterator[Path]:
    """A draft that takes the folder's place when the block ends, with the checksums of its files."""
    with told(folder):
        folder = folder.resolve()
        replaced = _replaceable(folder, force)
        folder.parent.mkdir(parents=True, exist_ok=True)
        target = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{PART}") if replaced else folder
        with whole_folder(target) as draft:
            draft.mkdir()
            yield draft
            write_sums(draft)
        if replaced:
            _swap(target, folder)


def write_sums(folder: Path) -> None:
    """The checksum of every file, as sha256sum writes them."""
    lines = [f"{checksum(folder / name)}  {name}\n" for name in files_in(folder) if name != SUMS]
    with whole_file(folder / SUMS) as draft:
        draft.write_text("".join(lines), encoding="utf-8")


def files_in(folder: Path) -> list[str]:
    """Every file below a folder, by its path within, but for what an import of `detector.py` leaves."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return sorted(path.as_posix() for path in found if "__pycache__" not in path.parts)


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def sums_in(folder: Path) -> dict[str, str]:
    """What an export wrote into a folder, and with which checksums; nothing where none did."""
    path = folder / SUMS
    if not path.is_file():
        return {}
    pairs = (line.partition("  ") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {name: digest for digest, _, name in pairs}


def _replaceable(folder: Path, force: bool) -> bool:
    """Whether an earlier export stands there that may go; what else stands there is an error."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise PlastsearchError(f"{folder}: is a file; name a folder")
    found = files_in(folder)
    if not found:
        if next(folder.iterdir(), None) is not None:
            raise PlastsearchError(f"{folder}: holds other folders; name one that is new or empty")
        return False
    known = sums_in(folder)
    foreign = [name for name in found if name not in known and name != SUMS]
    if foreign:
        raise PlastsearchError(
            f"{folder}: holds {foreign[0]}, which no export wrote; name a folder that is new or empty"
        )
    if not force:
        raise PlastsearchError(f"{folder}: holds an export already; --force replaces it")
    changed = next(
        (name for name, digest in known.items() if name in found and checksum(folder / name) != digest), None
    )
    if changed is not None:
        raise PlastsearchError(
            f"{folder}: {changed} was changed since it was exported; keep it elsewhere, or name another folder"
        )
    return True


def _swap(new: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{PART}")
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
