"""What is seen while a sweep runs: a live table on a terminal, else a line per start and end, or JSON lines."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from plastsearch.search.standing import Standing
from plastsearch.tracking.journal import Event, TrialRecord, plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_SHOWN = 8  # rows of the front, and of running trials
_EVERY_S = 30.0  # between two summaries where there is no table


@dataclass
class View:
    """The numbers every display draws from."""

    records: Mapping[int, TrialRecord]
    standing: Standing
    trials: int | None  # planned
    slots: int = 1
    wall_s: float = 0.0  # spent by earlier sessions
    began: float = 0.0
    awaits: dict[int, int] = field(default_factory=dict)  # trial → the one that computes what it begins with
    drawn: bool = False  # by a live table
    last_hint: str = ""
    _known: tuple[int, list[TrialRecord], float | None] | None = None

    def note(self, event: Event) -> None:
        """Keep what the records do not."""
        if event["event"] == "start":
            self.awaits.pop(event["trial"], None)
            if event.get("awaits") is not None:
                self.awaits[event["trial"]] = event["awaits"]

    def hint(self, text: str) -> None:
        """For signal handlers: neither waits for anything nor writes into a table that is being drawn."""
        self.last_hint = text
        if not self.drawn:
            os.write(2, f"\n{text}\n".encode())

    def awaited(self, record: TrialRecord) -> TrialRecord | None:
        """The trial it still waits for."""
        other = self.records.get(self.awaits.get(record.number, -1))
        waits = other is not None and other.state == "running" and other.stage in {None, "train"}
        return other if waits and record.state == "running" and record.stage is None else None

    def standings(self) -> tuple[list[TrialRecord], float | None]:
        """The front and its volume, worked out anew only when a trial has ended."""
        records = list(self.records.values())
        ended = sum(record.ended for record in records)
        if self._known is None or self._known[0] != ended:
            self._known = ended, self.standing.front(records), self.standing.hypervolume(records)
        return self._known[1:]

    def counts(self) -> Counter[str]:
        """State → how many."""
        return Counter(record.state for record in list(self.records.values()))

    def summary(self) -> str:
        """The footer."""
        records, counts = list(self.records.values()), self.counts()
        names = ("done", "running", "halted", "failed", "reused")
        parts = [" ".join(f"{counts[name]} {name}" for name in names if counts[name] or name in {"done", "running"})]
        volume = self.standings()[1]
        if volume:
            parts.append(f"hypervolume {volume:.4g}")
        gpu = sum(record.gpu_seconds for record in records)
        spent = sum(record.seconds for record in records)
        parts.append(f"cost {gpu / 3600:.2f} GPU-h" if gpu else f"cost {_span(spent)} of trials")
        parts.append(f"elapsed {_span(self.wall_s + time.time() - self.began)}")
        left = self.left_s(records)
        if left is not None:
            parts.append(f"left about {_span(left)}")
        return " · ".join(parts)

    def left_s(self, records: list[TrialRecord]) -> float | None:
        """Trials to come × their mean time ÷ slots."""
        took = [
            record.seconds - record.metrics.get("waited_seconds", 0.0)
            for record in records
            if record.state == "done" and record.role == "search"
        ]
        if self.trials is None or not took:
            return None
        to_come = self.trials - sum(record.ended for record in records if record.role == "search")
        return to_come * sum(took) / len(took) / self.slots if to_come > 0 else None

    def best(self) -> str:
        """The front's first member, by the first objective."""
        members = self.standings()[0]
        return f"best so far: trial {title(members[0])}{numbers(members[0].metrics)}" if members else "no result yet"


def note(text: str) -> Event:
    """Something to tell that is no part of the journal."""
    return {"event": "note", "at": round(time.time(), 6), "text": text}


class Silent:
    """--quiet and --json."""

    def feed(self, event: Event) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Nothing was drawn."""


class JsonLines:
    """Every event of the journal, as it is written."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout

    def feed(self, event: Event) -> None:
        """One object per line, flushed, for machines."""
        self._stream.write(json.dumps(plain(event), allow_nan=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Lines need no end."""


class Lines:
    """A plain line for every start and end, and a summary now and then, for logs and pipes."""

    def __init__(self, view: View, stream: IO[str] | None = None) -> None:
        self._view, self._stream = view, stream or sys.stderr
        self._said = time.monotonic()

    def feed(self, event: Event) -> None:
        """Say what happened, if a person cares."""
        self._view.note(event)
        text = self._text(event)
        if text is not None:
            self._say(text, event["at"])
        self.tick()

    def tick(self) -> None:
        """Say where the sweep stands, every half a minute."""
        if time.monotonic() - self._said < _EVERY_S:
            return
        self._said = time.monotonic()
        if any(record.state == "running" for record in list(self._view.records.values())):
            self._say(f"… {self._view.summary()} · {self._view.best()}", time.time())

    def _say(self, text: str, at: float) -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(at))
        self._stream.write(f"{clock} {text}\n")
        self._stream.flush()

    def close(self) -> None:
        """The last word."""
        self._stream.write(self._view.summary() + "\n")

    def _text(self, event: Event) -> str | None:
        kind = event["event"]
        if kind in {"finish", "note"}:
            return event["text"] if kind == "note" else f"sweep {event['status']}"
        if kind not in {"start", "retry", "end"}:
            return None
        record = self._view.records[event["trial"]]
        if kind == "start":
            again = f" (attempt {event['attempt']})" if event["attempt"] > 1 else ""
            return f"{title(record)} started{again}: {describe(record)}{self._waits(record)}"
        if kind == "retry":
            if event.get("waits"):
                return f"{title(record)} waits for a stage that another trial computes"
            return f"{title(record)} will run again: {event['reason']}"
        outcome = f": {event['reason']}" if event.get("reason") else numbers(event["metrics"])
        return f"{title(record)} {event['state']}{outcome} · {self._progress()}"

    def _waits(self, record: TrialRecord) -> str:
        other = self._view.awaited(record)
        if other is None:
            return ""
        what = "baseline" if other.control == "baseline" else "start"
        return f"; waits for the {what} that trial {other.number} trains"

    def _progress(self) -> str:
        ended = sum(r.ended for r in self._view.records.values() if r.role == "search")
        return f"{ended}/{self._view.trials} trials" if self._view.trials else f"{ended} trials"


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
        self._view.note(event)
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
            age = _span(time.time() - (record.started_at or time.time()))
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


def title(record: TrialRecord) -> str:
    """How a trial is called."""
    if record.role == "finalist":
        return f"{record.number} (finalist, again {record.extra.get('of')})"
    return f"{record.number} ({record.control})" if record.control else str(record.number)


def describe(record: TrialRecord) -> str:
    """Sites, widths and criterion in a few words."""
    config = record.config
    if config.get("method") == "baseline":
        return "train only"
    neurons = config.get("neurons") or 0
    if isinstance(neurons, dict):
        where = ", ".join(f"{site}+{n}" for site, n in neurons.items() if n)
    else:
        where = f"{', '.join(config.get('layers') or ())} +{neurons}"
    words = [str(config.get("method")), where, str(config.get("regime"))]
    if config.get("method") == "plasticity":
        words.append(str(config.get("criterion")))
    return " ".join(words)


def scores(metrics: Mapping[str, float]) -> tuple[str, str, str]:
    """EER in percent, backward ratio, parameters; empty where not known yet."""
    eer, ratio, size = (metrics.get(name) for name in ("dev_eer", "backward_ratio", "params_total"))
    return (
        f"{eer:.2f} %" if eer is not None else "",
        f"{ratio:.3f}" if ratio is not None else "",
        f"{size:,.0f}" if size is not None else "",
    )


def numbers(metrics: Mapping[str, Any]) -> str:
    """The three scores in a line."""
    known = {name: value for name, value in metrics.items() if value is not None}
    words = zip(("EER", "ratio", "parameters"), scores(known), strict=True)
    text = ", ".join(f"{name} {value}" for name, value in words if value)
    return f": {text}" if text else ""


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
