"""What `model.from` names, by content: two folders with the same files are the same start."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from plastsearch.models.catalog import local_folder

KINDS = (".json", ".safetensors", ".bin")


def weights_id(source: str | None) -> str:
    """A hash over the files of a folder, or of a hub name's download; the name itself until it is on this machine.

    A download is known by its files rather than by its commit: another revision is another start, and the same files in
    a folder of one's own are the same one.
    """
    if source is None:
        return ""
    folder = local_folder(source)
    if folder is None:
        return f"hub:{source}"
    files = sorted(path for path in folder.iterdir() if path.suffix in KINDS)
    return _folder_id(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=32)
def _folder_id(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in files:
        path = Path(name)
        with path.open("rb") as file:
            digest.update(json.dumps(path.name).encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]
