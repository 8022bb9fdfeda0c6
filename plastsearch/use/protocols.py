"""Where the clips of a protocol lie."""

from pathlib import Path

from plastsearch.audio import SUFFIXES
from plastsearch.errors import DataError, PlastsearchError
from plastsearch.scores.keys import Key

MOST_MISSING = 5  # clips without audio that a message names


def located(audio: Path, key: Key) -> list[Path]:
    """The file of every clip of a protocol, anywhere below a folder, by its name without the suffix."""
    if not audio.is_dir():
        raise PlastsearchError(f"{audio}: no such folder; --audio names the folder that holds the clips")
    found: dict[str, Path] = {}
    for path in sorted(audio.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.stem, path)
    lost = [name for name in key.ids if Path(name).stem not in found and name not in found]
    if lost:
        named = ", ".join(lost[:MOST_MISSING])
        raise DataError(f"{audio}: no audio of {len(lost):,} of the {len(key.ids):,} clips of {key.source}: {named}")
    return [found[name] if name in found else found[Path(name).stem] for name in key.ids]
