"""What training-time changes are called, and the folders some of them read. The changes themselves: changes.py.

Apart from the changes, so that a search space's names and folders are checked without importing torch.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from plastsearch.audio import SUFFIXES
from plastsearch.errors import DataError
from plastsearch.files import typed_path

CHANGES = (
    *(f"rawboost{k}" for k in range(1, 9)), "spec_masks", "time_masks", "band_masks", "band_limit", "codec",
    "lossy_codec",
)  # fmt: skip
FOLDERS = ("noise", "reverb")  # written noise:FOLDER, reverb:FOLDER


def split_name(name: str) -> tuple[str, str]:
    """A name and the folder it gives (or nothing); raises DataError for a name that is not known."""
    kind, _, folder = name.partition(":")
    if (kind in CHANGES and not folder) or (kind in FOLDERS and folder):
        return kind, folder
    known = [*CHANGES, *(f"{kind}:FOLDER" for kind in FOLDERS)]
    raise DataError(f"unknown augmentation {name!r}; known: {', '.join(known)}")


def place(folder: str, root: Path | None) -> Path:
    """Where a folder of recordings lies: a relative one below the corpus."""
    return (root or Path()) / typed_path(folder)


def recordings(folder: Path) -> list[Path]:
    """Every recording below a folder, in order of names."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of recordings for augmentation")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"{folder}: no audio files ({', '.join(sorted(SUFFIXES))}) for augmentation")
    return found


def recordings_of(names: Sequence[str], root: Path | None = None) -> str:
    """A hash over names, sizes and times of change of all recordings that these changes read; nothing if none does.

    Raises DataError for unknown names and for folders without recordings.
    """
    folders = [place(folder, root) for _, folder in map(split_name, names) if folder]
    if not folders:
        return ""
    digest = hashlib.sha256()
    for folder in folders:
        for path in recordings(folder):
            found = path.stat()
            digest.update(f"{path.relative_to(folder)}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()[:24]
