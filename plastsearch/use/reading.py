"""Files that somebody else may have written: read up to a limit, and what is wrong told in a sentence."""

from pathlib import Path

from plastsearch.errors import PlastsearchError


def text_of(path: Path, most_bytes: int) -> str:
    """The text of a small file."""
    try:
        with path.open("rb") as file:
            found = file.read(most_bytes + 1)
        if len(found) > most_bytes:
            raise PlastsearchError(f"{path}: longer than {most_bytes >> 20} MB; is that the right file?")
        return found.decode("utf-8")
    except OSError as error:
        raise PlastsearchError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise PlastsearchError(f"{path}: no text ({error.reason} at byte {error.start})") from None
