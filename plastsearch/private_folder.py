"""A folder of this user's own in the machine's temporary folder, where others may have prepared anything."""

import os
import stat
import tempfile
from pathlib import Path

from plastsearch.errors import PlastsearchError

_LONGEST = 30  # of the path: sockets lie below it, and their paths may not exceed 107 bytes


def private_folder() -> Path:
    """Made if need be; refused if it is a link, another user's, or open to others."""
    path = Path(tempfile.gettempdir()) / f"ps-{os.geteuid()}"
    if len(str(path)) > _LONGEST:
        path = Path("/tmp") / path.name
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise PlastsearchError(f"{path}: cannot be made ({error.strerror}); name a folder for it in TMPDIR") from None
    trouble = _trouble(path)
    if trouble is not None:
        raise PlastsearchError(
            f"{path} {trouble}, so that others could reach what runs here through it; "
            "remove it, or name another temporary folder in TMPDIR"
        )
    return path


def _trouble(path: Path) -> str | None:
    """What is wrong with it, if anything. In a sticky folder nobody can replace what passes."""
    facts = path.lstat()
    if stat.S_ISLNK(facts.st_mode):
        return "is a link"
    if not stat.S_ISDIR(facts.st_mode):
        return "is no folder"
    if facts.st_uid != os.geteuid():
        return f"belongs to another user (uid {facts.st_uid})"
    if facts.st_mode & 0o077:
        return f"is open to other users (mode {stat.S_IMODE(facts.st_mode):o})"
    return None
