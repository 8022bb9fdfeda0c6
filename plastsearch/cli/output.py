"""How commands speak: results on standard output, everything else on standard error, no colour into a pipe."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from plastsearch.documents import Block, Code, Heading, Points, Table, Text
from plastsearch.files import plain
from plastsearch.words import printable

if TYPE_CHECKING:  # rich takes 70 ms, and many a command prints one line of JSON
    from rich.console import Console

Progress = Callable[[str, int, int], None]  # what, done, total
Say = Callable[[str], None]


def console(*, stderr: bool = False) -> "Console":
    """A console that wraps only on a terminal, so that a pipe gets whole lines without colour."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()

    # Without a terminal rich takes 80 columns for granted and would cut tables that a file has room for.
    class Printing(Console):
        """Shows what words say of a terminal's commands, and lets none of them through."""

        def print(self, *objects: object, **how: Any) -> None:
            super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **how)

    return Printing(
        file=stream, no_color=not terminal, width=None if terminal else 160, highlight=False, soft_wrap=not terminal
    )


# What JSON may hold unescaped and a terminal obeys: C1 controls, marks that turn the direction of writing, line ends.
_OBEYED = re.compile("[\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def print_json(document: object) -> None:
    """One JSON document on standard output; NaN and infinity become null, which every parser reads."""
    text = json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(_OBEYED.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text) + "\n")
    sys.stdout.flush()


def print_error(message: str) -> None:
    """The message of a user's mistake; what follows its first line is set under it."""
    first, *rest = printable(message).split("\n")
    sys.stderr.write("\n".join([f"error: {first}", *(f"       {line}" for line in rest)]) + "\n")


def print_blocks(out: "Console", blocks: Sequence[Block]) -> None:
    """Write blocks of a report as plain terminal text; nothing in them is read as markup."""
    for block in blocks:
        match block:
            case Heading(text):
                out.print(f"\n{printable(text)}", style="bold", markup=False)
            case Text(text):
                out.print(printable(text), markup=False)
            case Points(items):
                for item in items:
                    out.print(f"- {printable(item)}", markup=False)
            case Code(text):
                for line in printable(text).split("\n"):
                    out.print(f"  {line}", markup=False, soft_wrap=True)
            case Table() if block.rows:  # a head alone says nothing
                print_table(out, block)


def print_table(out: "Console", table: Table) -> None:
    """Columns of words to the left, numbers to the right."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text as Cell

    drawn = Drawn(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in table.columns:
        words = name in table.left
        drawn.add_column(
            Cell(printable(name)), justify="left" if words else "right", no_wrap=not words, overflow="fold"
        )
    for row in table.rows:
        drawn.add_row(*(Cell(printable(cell)) for cell in row))
    out.print(drawn)


def print_listing(table: Table, title: str | None = None) -> None:
    """Columns as in print_table under a title, without a rule or a limit on the width of words."""
    from rich.table import Table as Drawn

    drawn = Drawn(title=title, title_justify="left", box=None, pad_edge=False)
    for name in table.columns:
        drawn.add_column(printable(name), justify="left" if name in table.left else "right")
    for row in table.rows:
        drawn.add_row(*(printable(cell) for cell in row))
    console().print(drawn)


@contextmanager
def drawing() -> Iterator[tuple[Progress, Say]]:
    """What to call while clips are decoded, and with what to say; a bar on a terminal, lines elsewhere."""
    from plastsearch.data.preparing import progress_lines

    if console(stderr=True).is_terminal:
        with _bars() as both:
            yield both
    else:
        lines = progress_lines()
        yield lines, lines.say


@contextmanager
def _bars() -> Iterator[tuple[Progress, Say]]:
    """One bar for each piece of work."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True)) as shown:
        tasks: dict[str, TaskID] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done)

        yield advance, lambda text: shown.console.print(text, markup=False)
