"""Numbers in words: durations and sizes; and words from files, made fit for a terminal."""

import shlex
from collections.abc import Iterable


def duration(seconds: float, units_from: float = 1.0) -> str:
    """A duration in two units; minutes and hours are used from so many of them on."""
    whole = round(seconds)
    if whole < 60 * units_from:
        return f"{whole} s"
    if whole < 3600 * units_from:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def roughly(seconds: float) -> str:
    """A duration that was estimated: no more digits than it deserves."""
    if seconds < 100:
        return f"{5 * max(1, round(seconds / 5))} s"
    minutes = round(seconds / 60) if seconds < 5400 else 5 * round(seconds / 300)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def sized(size: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= power:
            return f"{size / power:,.0f} {unit}" if size >= 100 * power else f"{size / power:.3g} {unit}"
    return f"{size:.0f} B"


def halved(text: str) -> bool:
    """Whether it holds half a character (a surrogate without its partner), which no file and no database takes."""
    return not text.isascii() and any("\ud800" <= mark <= "\udfff" for mark in text)


def typed_again(words: Iterable[str]) -> str:
    """A command line that a shell takes back as these words, without what a terminal would obey."""
    return " ".join(shlex.quote(word) if word.isprintable() else _ansi_c(word) for word in words)


def _ansi_c(word: str) -> str:
    """The word in `$'…'`: whatever cannot be shown by the numbers of its bytes."""
    shown = []
    for mark in word:
        if mark in "\\'":
            shown.append(f"\\{mark}")
        elif mark.isprintable():
            shown.append(mark)
        else:
            shown += [f"\\x{byte:02x}" for byte in mark.encode("utf-8", "surrogateescape")]
    return f"$'{''.join(shown)}'"


def printable(text: str) -> str:
    """Text that a terminal shows and does not obey: what is in a file may hold its control characters."""
    if text.isprintable():
        return text
    return "".join(
        mark if mark.isprintable() or mark in "\n\t\u00a0" else mark.encode("unicode_escape").decode() for mark in text
    )


def shown(name: object) -> str:
    """A name on one line of a terminal: as printable, line ends and tabs by their escapes, too."""
    return printable(str(name)).replace("\n", "\\n").replace("\t", "\\t")
