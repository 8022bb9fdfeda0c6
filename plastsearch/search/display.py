"""What a person or a pipe sees while a sweep runs: a live table on a terminal, else a line per event, or JSON lines."""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from plastsearch.search.standing import Standing
from plastsearch.tracking.journal import Event, TrialRecord, plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_SHOWN = 8  # rows of the front


@dataclass
class View:
    """The numbers every display draws from."""

    records: Mapping[int, TrialRecord]
    standing: Standing
    trials: int | None  # planned
    slots: int = 1
    wall_s: float = 0.0  # spent by earlier sessions
    began: float = 0.0

    def counts(self) -> Counter[str]:
        """State → how many."""
        return Counter(record.state for record in list(self.records.values()))

    def summary(self) -> str:
        """The footer."""
        records, counts = list(self.records.values()), self.counts()
        names = ("done", "running", "halted", "failed", "reused")
        parts = [" ".join(f"{counts[name]} {name}" for name in names if counts[name] or name in {"done", "running"})]
        volume = self.standing.hypervolume(records)
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
        took = [record.seconds for record in records if record.state == "done" and record.role == "search"]
        if self.trials is None or not took:
            return None
        to_come = self.trials - sum(record.ended for record in records if record.role == "search")
        return max(0, to_come) * sum(took) / len(took) / self.slots


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
    """One plain line per event, for logs and pipes."""

    def __init__(self, view: View, stream: IO[str] | None = None) -> None:
        self._view, self._stream = view, stream or sys.stderr

    def feed(self, event: Event) -> None:
        """Say what happened, if a person cares."""
        text = self._text(event)
        if text is not None:
            clock = time.strftime("%H:%M:%S", time.localtime(event["at"]))
            self._stream.write(f"{clock} {text}\n")
            self._stream.flush()

    def close(self) -> None:
        """The last word."""
        self._stream.write(self._view.summary() + "\n")

    def _text(self, event: Event) -> str | None:
        kind = event["event"]
        if kind == "finish":
            return f"sweep {event['status']}"
        if "trial" not in event or kind == "propose":
            return None
        record = self._view.records[event["trial"]]
        if kind == "start":
            again = f" (attempt {event['attempt']})" if event["attempt"] > 1 else ""
            return f"{title(record)} started{again}: {describe(record)}"
        if kind == "report":
            scores = numbers(event["metrics"])
            return f"{title(record)} {event['stage']} {event['step']}/{event['steps_total']}{scores}"
        if kind == "retry":
            return f"{title(record)} will run again: {event['reason']}"
        outcome = f": {event['reason']}" if event.get("reason") else numbers(event["metrics"])
        return f"{title(record)} {event['state']}{outcome} · {self._progress()}"

    def _progress(self) -> str:
        ended = sum(r.ended for r in self._view.records.values() if r.role == "search")
        return f"{ended}/{self._view.trials} trials" if self._view.trials else f"{ended} trials"


class Live:
    """A table that redraws itself in place."""

    def __init__(self, view: View, console: "Console") -> None:
        from rich.live import Live as RichLive

        self._view = view
        self._live = RichLive(
            console=console, get_renderable=self._draw, refresh_per_second=2, redirect_stdout=False, transient=True
        )
        self._live.start()

    def feed(self, event: Event) -> None:
        """The next redraw shows it."""

    def close(self) -> None:
        """Clear the table: the report comes next."""
        self._live.stop()

    def _draw(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        records = list(self._view.records.values())
        return Group(self._running(records), self._front(records), Text(self._view.summary()))

    def _running(self, records: list[TrialRecord]) -> "RenderableType":
        from rich.table import Table

        table = Table(title="running", title_justify="left", box=None, pad_edge=False)
        for name in ("trial", "what", "stage", "step", "dev EER", "ratio", "parameters", "age"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for record in (r for r in records if r.state == "running"):
            step = f"{record.step}/{record.steps_total}" if record.steps_total else ""
            age = _span(time.time() - (record.started_at or time.time()))
            table.add_row(title(record), describe(record), record.stage or "", step, *scores(record.metrics), age)
        return table

    def _front(self, records: list[TrialRecord]) -> "RenderableType":
        from rich.table import Table

        members = self._view.standing.front(records)
        table = Table(title=f"front ({len(members)})", title_justify="left", box=None, pad_edge=False)
        for name in ("trial", "what", "dev EER", "ratio", "parameters"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for record in members[:_SHOWN]:
            table.add_row(title(record), describe(record), *scores(record.metrics))
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
