"""What `model.from` names, by content: two folders with the same files are the same start."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path


def weights_id(source: str | None) -> str:
    """A hash over a folder's files, the hub name itself where there is no such folder, nothing without a source."""
    if source is None:
        return ""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return f"hub:{source}"
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".bin"))
    return _folder_id(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=32)
def _folder_id(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in files:
        path = Path(name)
        with path.open("rb") as file:
            digest.update(json.dumps(path.name).encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]
