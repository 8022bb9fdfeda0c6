"""A live table on a terminal: running trials, the front, a footer; whatever must stay is printed above it."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plastsearch.search.view import View, describe, scores, span, title
from plastsearch.tracking.journal import Event, TrialRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_SHOWN = 8  # rows of the front, and of running trials


class Live:
    """A table that redraws itself in place."""

    def __init__(self, view: View, console: "Console") -> None:
        from rich.live import Live as RichLive

        self._view, self._console = view, console
        self._live = RichLive(
            console=console, get_renderable=self._draw, refresh_per_second=2, redirect_stdout=False, transient=True
        )
        self._live.start()
        view.drawn = True

    def feed(self, event: Event) -> None:
        """The next redraw shows it; what will not be seen in the table is said above it, and stays."""
        kind = event["event"]
        if kind == "note":
            self._console.print(event["text"], markup=False, highlight=False)
        elif (kind == "end" and event["state"] == "failed") or (kind == "retry" and event.get("failure")):
            record = self._view.records[event["trial"]]
            outcome = "failed" if kind == "end" else "will run again"
            self._console.print(f"{title(record)} {outcome}: {event['reason']}", markup=False, highlight=False)

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
        return Group(*(self._running(running) if running else []), *self._front(), footer)

    def _running(self, running: list[TrialRecord]) -> "list[RenderableType]":
        from rich.text import Text

        table = _table("running", ("trial", "what", "stage", "step", "dev EER", "ratio", "parameters", "age"))
        for record in running[:_SHOWN]:
            step = f"{record.step}/{record.steps_total}" if record.steps_total else ""
            age = span(time.time() - (record.started_at or time.time()))
            table.add_row(title(record), describe(record), self._stage(record), step, *scores(record.metrics), age)
        if len(running) > _SHOWN:
            table.add_row("", f"and {len(running) - _SHOWN} more")
        return [table, Text()]

    def _stage(self, record: TrialRecord) -> str:
        other = self._view.awaited(record)
        return f"waits for {other.number}" if other is not None else record.stage or "starts"

    def _front(self) -> "list[RenderableType]":
        from rich.text import Text

        members, _ = self._view.standings()
        if not members:
            return []
        table = _table(f"front ({len(members)})", ("trial", "what", "dev EER", "ratio", "parameters"))
        for record in members[:_SHOWN]:
            table.add_row(title(record), describe(record), *scores(record.metrics))
        if len(members) > _SHOWN:
            table.add_row("", f"and {len(members) - _SHOWN} more")
        return [table, Text()]


def _table(name: str, columns: Sequence[str]) -> "Table":
    """Without lines; numbers to the right, and only descriptions cut short."""
    from rich.table import Table

    table = Table(title=name, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        right = column in {"step", "dev EER", "ratio", "parameters", "age"}
        width = 12 if column in {"trial", "stage"} and name == "running" else None  # nothing jumps between redraws
        table.add_column(
            column, justify="right" if right else "left", no_wrap=True, overflow="ellipsis", min_width=width
        )
    return table
