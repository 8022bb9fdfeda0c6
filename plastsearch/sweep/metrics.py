"""A sweep's numbers as Prometheus asks for them: what runs, ended, is best, lags behind, or fills the store.

Told from a thread of its own: a store on a slow file server, or metrics that hang, cost the driver nothing.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import get_args

from plastsearch.execute.executor import Meters
from plastsearch.execute.plain_metrics import PlainMeters
from plastsearch.store.records import StageRecords
from plastsearch.store.room import size
from plastsearch.sweep.options import Options
from plastsearch.sweep.view import LIKELY, SweepView
from plastsearch.tracking.events import EndState, Event, note
from plastsearch.tracking.records import TrialRecord

STATES = ("proposed", "running", *get_args(EndState))
EVERY_S = 5.0
STORE_EVERY_S = 60.0
_PATIENCE_S = 5.0  # at the end
_SHARE = 0.02  # of the time, at most, is spent on looking: a front of 20,000 trials is not free


class Exporter:
    """Tells meters where the sweep stands, every few seconds and once more at its end."""

    def __init__(
        self,
        meters: Meters,
        sweep: str,
        view: SweepView,
        store: Path,
        store_max_gb: float | None,
        tell: Callable[[Event], None],
        every_s: float = EVERY_S,
        cache: Path | None = None,
    ) -> None:
        self._meters = meters
        self._tags = {"sweep": sweep}
        self._view = view
        self._store, self._store_max_gb = StageRecords(store), store_max_gb
        self._tell = tell
        self._every_s = every_s
        self._cache = cache
        self._store_due_s, self._store_bytes, self._cache_bytes = 0.0, 0, 0
        self._said = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._thread.start()

    def feed(self, event: Event) -> None:
        """Nothing: the records are looked at instead."""

    def close(self) -> str | None:
        """Tell the last numbers; what hangs is left behind."""
        self._over.set()
        self._thread.join(_PATIENCE_S)
        return None

    def _work(self) -> None:
        pause_s = 0.0
        while not self._over.wait(pause_s):  # and once more when it is set
            began_s = time.monotonic()
            self._export()
            pause_s = max(self._every_s, (time.monotonic() - began_s) / _SHARE)
        self._export()

    def _export(self) -> None:
        try:
            self._trials()
            began_s = time.monotonic()
            if began_s >= self._store_due_s:
                self._store_bytes = size(self._store)  # the measure that its limit goes by
                self._cache_bytes = 0 if self._cache is None else _bytes_below(self._cache)
                now_s = time.monotonic()
                self._store_due_s = now_s + max(STORE_EVERY_S, (now_s - began_s) / _SHARE)
            self._set("store_bytes", "bytes in the store of stages", self._store_bytes)
            if self._cache is not None:
                self._set("cache_bytes", "bytes in this machine's cache of clips and activations", self._cache_bytes)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with them, metrics are no reason to end a sweep
            if not self._said:
                self._said = True
                self._tell(note(f"metrics cannot be exported ({type(error).__name__}: {error}); the sweep goes on"))

    def _trials(self) -> None:
        counts = self._view.counts()
        for state in ("done", "failed", "halted", "reused"):
            text = "trials that ended, by how they did"
            self._meters.count("plastsearch_trials_ended_total", text, counts[state], {**self._tags, "status": state})
        for state in STATES:
            self._meters.set("plastsearch_trials", "trials by state", counts[state], {**self._tags, "state": state})
        self._costs()
        ends = [record.ended_at for record in list(self._view.records.values()) if record.ended_at is not None]
        self._set("trials_running", "trials at work", counts["running"])
        self._set("slots", "trials that may be at work at a time", self._view.slots)
        if ends:
            self._set("last_trial_ended_seconds", "when a trial last ended, in seconds since 1970", max(ends))
        self._set("tracker_lag_events", "events that MLflow has not got yet", self._view.lag())
        if self._store_max_gb is not None:
            self._set("store_limit_bytes", "bytes that the store may take", 1e9 * self._store_max_gb)
        members = self._view.front()
        self._set("front_size", "trials on the front", len(members))
        volume = self._view.ranking.hypervolume(list(self._view.records.values()))
        if volume is not None:
            self._set("hypervolume", "volume that the search dominates, in the units of the objectives", volume)
        for at, one in enumerate(self._view.ranking.objectives if members else ()):
            values = [self._view.ranking.values(record)[at] for record in members]
            best = max(values) if one.goal == "max" else min(values)
            self._meters.set("plastsearch_best", "best value on the front", best, {**self._tags, "metric": one.metric})
        gain = self._view.gain()
        if gain is not None:
            text = "volume that the search dominates beyond the baseline, as a share of all that it leaves"
            self._set("gain", text, gain)
        if self._view.likely_gain is not None:
            for (name, text), value in zip(LIKELY.items(), self._view.likely_gain, strict=True):
                self._set(name, f"the gain allowing for luck, when figures were last drawn: {text}", value)

    def _costs(self) -> None:
        """What trials took, and what they did not take since others had done it: on a machine without GPUs of both."""
        records = list(self._view.records.values())
        spent = {
            "gpu_seconds_total": ("GPU-seconds that trials used", sum(one.gpu_seconds for one in records)),
            "trial_seconds_total": ("seconds that trials took", sum(one.seconds for one in records)),
            "gpu_seconds_saved_total": ("GPU-seconds that sharing saved", _sum(records, "reused_gpu_seconds")),
            "trial_seconds_saved_total": ("seconds that sharing saved", _sum(records, "reused_seconds")),
        }
        for name, (text, total) in spent.items():
            self._meters.count(f"plastsearch_{name}", text, total, self._tags)

    def _set(self, name: str, text: str, value: float) -> None:
        self._meters.set(f"plastsearch_{name}", text, value, self._tags)


def metrics_page(options: Options, say: Callable[[str], None]) -> AbstractContextManager[PlainMeters | None]:
    """A page for Prometheus, where somebody asked for one."""
    if options.metrics_port is None:
        return nullcontext()
    page = PlainMeters(options.metrics_port, options.metrics_host)
    say(f"metrics for Prometheus: {page.address}")
    return page


def _sum(records: Iterable[TrialRecord], metric: str) -> float:
    return sum(one.metrics.get(metric, 0.0) for one in records if one.state == "done")


def _bytes_below(folder: Path) -> int:
    """Of all files in a folder that others write into meanwhile; what a link leads to is not in it."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # gone meanwhile
                total += (Path(root) / name).lstat().st_size
    return total
