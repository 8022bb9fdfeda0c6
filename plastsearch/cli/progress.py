"""A preparation's progress on standard error: a bar on a terminal, lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]  # what, done, total
Say = Callable[[str], None]


@contextmanager
def drawing() -> Iterator[tuple[Progress, Say]]:
    """What to call while clips are decoded, and with what to say; for the length of a `with`."""
    from plastsearch.cli.output import console
    from plastsearch.data.progress import progress_lines

    if console(stderr=True).is_terminal:
        with bars() as both:
            yield both
    else:
        lines = progress_lines()
        yield lines, lines.say


@contextmanager
def bars() -> Iterator[tuple[Progress, Say]]:
    """One bar for each piece of work."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from plastsearch.cli.output import console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True)) as shown:
        tasks: dict[str, TaskID] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done)

        yield advance, lambda text: shown.console.print(text, markup=False)
