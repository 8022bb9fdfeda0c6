"""A live table on a terminal: running trials, the front, a footer; whatever must stay is printed above it."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plastsearch.sweep.view import SweepView, brief, clock, scores, short_title, title
from plastsearch.tracking.events import Ended, Event, Note, Retried
from plastsearch.tracking.records import TrialRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_SHOWN = 8  # rows of the front, and of running trials, at most
_WIDEST, _NARROW, _NARROWEST = 120, 100, 72  # columns of the terminal
_LEAST = {"trial": 12, "stage": 12, "step": 9, "age": 7}
_LEAST_NARROW = {"stage": 11, "step": 7}
_AROUND = 9  # lines beside the rows of both tables and the footer


class Live:
    """A table that redraws itself in place."""

    def __init__(self, view: SweepView, console: "Console") -> None:
        from rich.live import Live as RichLive

        self._view = view
        self._console = console
        # Redrawn by rich's own thread, so that ages go on while the driver waits. Standard output is left alone, for
        # it may be a pipe; transient, since the report that follows says all of it better.
        self._live = RichLive(
            console=console, get_renderable=self._draw, refresh_per_second=2, redirect_stdout=False, transient=True
        )
        self._live.start()
        view.drawn = True

    def feed(self, event: Event) -> None:
        """The next redraw shows it; what will not be seen in the table is said above it, and stays."""
        match event:
            case Note():
                self._print(event.text)
            case Ended(state="failed"):
                self._print(f"{title(self._view.records[event.trial])} failed: {event.reason}")
            case Retried(waits=False):
                self._print(f"{title(self._view.records[event.trial])} will run again: {event.reason}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Clear the table: the report comes next."""
        self._view.drawn = False
        self._live.stop()

    def _draw(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        records = list(self._view.records.values())
        running = [record for record in records if record.state == "running"]
        footer = Text(self._view.summary(), style="dim")
        if self._view.last_hint:
            footer.append(f"\n{self._view.last_hint}", style="bold not dim")
        # Of each table, so that the footer stays in sight however often it wraps.
        lines = len(footer.wrap(self._console, self._console.width))
        rows = max(2, min(_SHOWN, (self._console.height - _AROUND - lines) // 2))
        return Group(*(self._running(running, rows) if running else []), *self._front(rows), footer)

    def _running(self, running: list[TrialRecord], rows: int) -> "list[RenderableType]":
        from rich.text import Text

        columns = ("trial", "what", "stage", "step", "dev EER", "ratio", "parameters", "age")
        narrowest = self._console.width < _NARROWEST  # what is known of a trial only at its end gives way to what runs
        table = self._table("running", tuple(c for c in columns if not narrowest or c not in {"ratio", "parameters"}))
        for record in running[:rows]:
            step = self._step(record, share=narrowest)
            age = clock(max(0.0, time.time() - (record.started_at or time.time())))
            found = self._scores(record)
            table.add_row(*self._who(record), self._stage(record), step, *(found[:1] if narrowest else found), age)
        if len(running) > rows:
            table.add_row("", f"and {len(running) - rows} more")
        return [table, Text()]

    def _step(self, record: TrialRecord, *, share: bool) -> str:
        if not record.steps_total:
            return ""
        return f"{record.step / record.steps_total:.0%}" if share else f"{record.step}/{record.steps_total}"

    def _who(self, record: TrialRecord) -> tuple[str, str]:
        narrow = self._console.width < _NARROW
        return short_title(record) if narrow else title(record).replace("finalist, ", ""), brief(record)

    def _scores(self, record: TrialRecord) -> tuple[str, str, str]:
        return scores(record.metrics, short=self._console.width < _NARROW)

    def _stage(self, record: TrialRecord) -> str:
        other = self._view.awaited(record)
        return f"waits for {other.number}" if other is not None else record.stage or "starts"

    def _front(self, rows: int) -> "list[RenderableType]":
        from rich.text import Text

        members = self._view.front()
        if not members:
            return []
        table = self._table(f"front ({len(members)})", ("trial", "what", "dev EER", "ratio", "parameters"))
        for record in members[:rows]:
            table.add_row(*self._who(record), *self._scores(record))
        if len(members) > rows:
            table.add_row("", f"and {len(members) - rows} more")
        return [table, Text()]

    def _table(self, name: str, columns: Sequence[str]) -> "Table":
        """Without lines; numbers to the right and always whole: only what a trial is gives way and is cut short."""
        from rich.table import Table

        width = min(self._console.width, _WIDEST)
        narrow = self._console.width < _NARROW
        table = Table(title=name, title_justify="left", title_style="bold", box=None, pad_edge=False,
                      header_style="dim", width=width, padding=(0, 1 if narrow else 2, 0, 0))  # fmt: skip
        for column in columns:
            if column == "what":
                table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=1)
                continue
            right = column in {"step", "dev EER", "ratio", "parameters", "age"}
            least = _LEAST.get(column) if not narrow else _LEAST_NARROW.get(column)  # nothing jumps between redraws
            if column == "step" and self._console.width < _NARROWEST:
                least = 4
            name_shown = "size" if narrow and column == "parameters" else column
            table.add_column(name_shown, justify="right" if right else "left", no_wrap=True, min_width=least)
        return table
