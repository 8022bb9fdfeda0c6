"""How commands speak: results on standard output, everything else on standard error, no colour into a pipe."""

import json
import sys
from typing import TYPE_CHECKING

from plastsearch.files import plain

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> "Console":
    """A console that wraps only on a terminal, so that a pipe gets whole lines without colour."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream, no_color=not terminal, width=None if terminal else 160, highlight=False, soft_wrap=not terminal
    )


def print_json(document: object) -> None:
    """One JSON document on standard output; NaN and infinity become null, which every parser reads."""
    sys.stdout.write(json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_error(message: str) -> None:
    """The message of a user's mistake; what follows its first line is set under it."""
    first, *rest = message.splitlines() or [""]
    sys.stderr.write("\n".join([f"error: {first}", *(f"       {line}" for line in rest)]) + "\n")
