"""A damaged journal, read without its damaged lines, or rid of them for good."""

import os
from pathlib import Path

from plastsearch.errors import StorageError
from plastsearch.files import whole_file
from plastsearch.tracking.events import Event
from plastsearch.tracking.journal import FILE, Journal
from plastsearch.tracking.reading import LeftOut, Reader, content_of, numbered, sound

LEFT_OUT = "trials.left-out.jsonl"  # lines that were taken out, kept beside the journal


def read_around(folder: Path) -> tuple[list[Event], list[LeftOut]]:
    """The events of all lines that can be used, and the lines that cannot."""
    path = Path(folder) / FILE
    kept, left_out = sound(numbered(content_of(path)), Reader(path, configs=True))
    return [event for _, event in kept], left_out


def repair(folder: Path) -> list[LeftOut]:
    """Take damaged lines out of a journal that nobody writes, into a file beside it; which these were."""
    path = Path(folder) / FILE
    if not sound(numbered(content_of(path)), Reader(path, configs=True))[1]:
        return []
    with Journal(Path(folder)):  # nobody else writes, and a torn tail is cut
        lines = list(numbered(path.read_bytes()))
        kept, left_out = sound(lines, Reader(path, configs=True))
        out = {one.number for one in left_out}
        try:
            # First beside, then away: whatever happens in between, each line is in one file at least.
            with (Path(folder) / LEFT_OUT).open("ab") as file:
                file.writelines(line + b"\n" for number, line in lines if number in out)
                file.flush()
                os.fsync(file.fileno())
            with whole_file(path) as draft, draft.open("wb") as file:
                file.writelines(line + b"\n" for line, _ in kept)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be repaired here ({error.strerror or error}); it is as it was: make room, or copy the "
                "sweep's folder to where you may write"
            ) from None
    return left_out
