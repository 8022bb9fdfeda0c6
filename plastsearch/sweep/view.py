"""The numbers and words that every display draws from: who runs, what waits for what, the front, the footer.

A live table asks from a thread of its own while the driver adds records: whatever goes through them copies the list
first, since a dictionary that grows meanwhile raises.
"""

import math
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean
from typing import Protocol, runtime_checkable

from plastsearch.execute.own_figures import GPU_USE
from plastsearch.pareto.foretelling import words as halting_words
from plastsearch.pareto.noise import Noise, words
from plastsearch.spec.methods import UNTOUCHED, Runs, facts, for_newborns, reads
from plastsearch.spec.sweep import Halt
from plastsearch.sweep.expected import Expected, expected
from plastsearch.sweep.waiting import FirstStages
from plastsearch.tracking.early import Foretold, foretold
from plastsearch.tracking.events import ENDED
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord, known
from plastsearch.tracking.replicates import noise_of
from plastsearch.words import duration, roughly

LEAST_FREEDOM = 4  # repeats below this say next to nothing of how far runs scatter
# As MLflow names them, and what they are.
LIKELY = {"gain_likely": "median", "gain_low": "lower end of 95 %", "gain_high": "upper end of 95 %"}
_LOOKS = 5
_TODAY_S = 20 * 3600  # beyond, a time of day alone would mislead
_NUMBER = re.compile(r"\d+")
_STATE, _SECONDS, _GPU_SECONDS = attrgetter("state"), attrgetter("seconds"), attrgetter("gpu_seconds")


@runtime_checkable
class Lagging(Protocol):
    """A listener that mirrors the journal later than it is written."""

    @property
    def lag(self) -> int:
        """Events that the mirror does not have yet."""


@dataclass
class SweepView:
    """The numbers every display draws from."""

    records: Mapping[int, TrialRecord]
    ranking: Ranking
    runs: Runs | None = None  # planned
    slots: int = 1
    wall_s: float = 0.0  # spent by earlier sessions
    began: float = 0.0  # by the monotonic clock
    first_stages: FirstStages | None = None
    halt: Halt | None = None
    drawn: bool = False  # by a live table
    last_hint: str = ""
    likely_gain: tuple[float, float, float] | None = None  # and its interval, as of the last drawing
    drawn_gain: float | None = None  # as measured, of the same drawing
    mirrors: Sequence[Lagging] = ()
    _known: tuple[int, list[TrialRecord], float | None] | None = None
    _noise: tuple[int, Noise | None] | None = None
    _early: tuple[int, list[Foretold]] | None = None
    _expected: tuple[int, Expected] | None = None

    def hint(self, text: str) -> None:
        """For signal handlers: neither waits for anything nor writes into a table that is being drawn."""
        self.last_hint = text
        if not self.drawn:
            # Past Python's buffered streams: a handler that interrupts a write to one of them may not write to it.
            os.write(2, f"\n{text}\n".encode())

    def awaited(self, record: TrialRecord) -> TrialRecord | None:
        """The trial it still waits for."""
        return self.first_stages.awaited(record) if self.first_stages is not None else None

    def front(self) -> list[TrialRecord]:
        """The front, worked out anew only when a trial has ended."""
        return self._standing()[1]

    def gain(self) -> float | None:
        """What the front dominates beyond the baseline, as a share of all that it leaves."""
        return self._standing()[2]

    def drawn_with(self, summary: Mapping[str, float]) -> None:
        """Learn what the process that draws figures has worked out: the gain, allowing for luck, with its interval."""
        # 400 possible fronts, and clips drawn again for sixty files of scores, take seconds: too long for a driver,
        # and a process apart does it for the mirror anyway.
        found = [summary[name] for name in LIKELY if name in summary]
        self.likely_gain = (found[0], found[1], found[2]) if len(found) == len(LIKELY) else None
        self.drawn_gain = summary.get("gain")

    def _standing(self) -> tuple[int, list[TrialRecord], float | None]:
        # A table redraws twice a second, and a hypervolume over hundreds of trials is not free.
        records = list(self.records.values())
        ended = _ended(records)
        if self._known is None or self._known[0] != ended:
            self._known = ended, self.ranking.front(records), self.ranking.gain(records)
        return self._known

    def noise(self) -> Noise | None:
        """How far the first objective's ranking can be trusted, if that is known; anew when a trial has ended."""
        records = list(self.records.values())
        ended = _ended(records)
        if self._noise is None or self._noise[0] != ended:
            self._noise = ended, noise_of(records, self.ranking.objectives[0].metric)
        return self._noise[1]

    def early(self) -> list[Foretold]:
        """What the rungs of a halting rule foretell; anew when a trial has ended."""
        if self.halt is None or self.halt.kind == "none":
            return []
        records = list(self.records.values())
        ended = _ended(records)
        if self._early is None or self._early[0] != ended:
            self._early = ended, foretold(records, self.halt.metric, self.halt.rungs)
        return self._early[1]

    def counts(self) -> Counter[str]:
        """State → how many."""
        return _states(list(self.records.values()))

    def summary(self, *, over: bool = False) -> str:
        """The footer; once it is over, mirrors are given time to catch up and say themselves what they lack."""
        records = list(self.records.values())
        counts = self.counts()
        progress = self.progress()
        names = ("done", "running", "halted", "failed", "reused")
        states = " ".join(f"{counts[name]} {name}" for name in names if counts[name] or name in {"done", "running"})
        parts = [progress, states] if progress else [states]
        gain = self.gain()
        if gain is not None:
            parts.append(f"gain {100 * gain:.1f} %{self._likely(gain)}")
        known_noise = self.noise()
        if known_noise is not None:
            parts.append(reliability(known_noise, self.ranking.objectives[0].metric))
        if self.early():
            parts.append(foretelling(self.early()))
        gpu_s = sum(map(_GPU_SECONDS, records))
        trials_s = sum(map(_SECONDS, records))
        parts.append(f"cost {gpu_s / 3600:.2f} GPU-h" if gpu_s else f"cost {duration(trials_s)} of trials")
        busy = self.gpu_use(records)
        if busy is not None:
            parts.append(f"GPUs {busy:.0f} % busy")
        parts.append(f"elapsed {duration(self.wall_s + time.monotonic() - self.began)}")
        left = self.left_s()
        if left is not None:
            parts.append(f"left about {roughly(left)}, until {_time_of_day(left)}")
        if self.mirrors and not over:
            lag = self.lag()
            parts.append(f"MLflow {lag} events behind" if lag else "MLflow level")
        return " · ".join(parts)

    def gpu_use(self, records: Sequence[TrialRecord]) -> float | None:
        """How busy the GPUs of running trials are, in percent, as their last reports saw it."""
        # One look is a moment, and a trial reports where an evaluation ends: some of each are nearer to the truth.
        seen = [
            use
            for record in records
            if record.state == "running"
            for report in record.history[-_LOOKS:]
            if (use := report.system.get(GPU_USE)) is not None
        ]
        return fmean(seen) if seen else None

    def lag(self) -> int:
        """Events of the journal that MLflow has not got yet."""
        return sum(one.lag for one in self.mirrors)

    def _likely(self, gain: float) -> str:
        """Of the same front, or nothing: an interval beside a gain that has moved on would contradict it."""
        if self.likely_gain is None or self.drawn_gain is None or not math.isclose(self.drawn_gain, gain, abs_tol=5e-4):
            return ""
        middle, low, high = (f"{100 * value:.1f}" for value in self.likely_gain)
        return f", likely {middle} [{low}, {high}]"

    def expected(self) -> Expected | None:
        """What is still to run, if that is known; anew when a trial has ended."""
        if self.runs is None:
            return None
        records = list(self.records.values())
        ended = _ended(records)
        if self._expected is None or self._expected[0] != ended:
            self._expected = ended, expected(records, self.runs)
        return self._expected[1]

    def left_s(self) -> float | None:
        """Seconds until all is over, controls and finalists, too."""
        found = self.expected()
        if found is None:
            return None
        running = [record for record in list(self.records.values()) if record.state == "running"]
        return found.left_s(running, self.slots, time.time()) or None

    def progress(self) -> str:
        """How far each part is, in a few words; the parts that have not begun are named, too."""
        found = self.expected()
        return " · ".join(part.words for part in found.parts) if found is not None else ""

    def best(self) -> str:
        """The front's first member, by the first objective."""
        members = self.front()
        return f"best so far: trial {title(members[0])}{numbers(members[0].metrics)}" if members else "no result yet"


def _states(records: Sequence[TrialRecord]) -> Counter[str]:
    return Counter(map(_STATE, records))


def _ended(records: Sequence[TrialRecord]) -> int:
    # Counted without a step of Python for each: a table asks several times for every drawing, of 20,000 trials, too.
    counts = _states(records)
    return sum(counts[state] for state in ENDED)


def _time_of_day(left_s: float) -> str:
    at = time.localtime(time.time() + left_s)
    return time.strftime("%H:%M" if left_s < _TODAY_S else "%a %H:%M", at)


def short_title(record: TrialRecord) -> str:
    """How a trial is called where there is little room."""
    if record.role == "finalist":
        return f"{record.number} (of {record.of})"
    return f"{record.number} ({record.of} again)" if record.role == "replicate" else title(record)


def title(record: TrialRecord) -> str:
    """How a trial is called."""
    if record.role == "finalist":
        return f"{record.number} (finalist, again {record.of})"
    if record.role == "replicate":
        return f"{record.number} ({record.control or f'trial {record.of}'} again, seed {record.seed})"
    return f"{record.number} ({record.control})" if record.control else str(record.number)


def reliability(found: Noise, metric: str) -> str:
    """How far a ranking can be trusted, in a few words."""
    # Not `words` alone: whoever reads 0.4 [0, 0.8] should see that little is known yet.
    says = words(found.reliability) if found.freedom >= LEAST_FREEDOM else "too few repeats to tell yet"
    within = f"[{found.low:.2f}, {found.high:.2f}]"
    return f"reliability of {metric} {found.reliability:.2f} {within}: {says}"


def foretelling(found: list[Foretold]) -> str:
    """How early results rank trials as their last ones do, in a few words."""
    each = ", ".join(f"{one.correlation:.2f} at {one.share:.0%}" for one in found)
    return f"early and last rank alike by {each}: {halting_words(min(one.correlation for one in found))}"


def describe(record: TrialRecord) -> str:
    """Sites, widths and criterion in a few words."""
    config = record.trial_config
    if config.method == UNTOUCHED:
        return "train only"
    words: list[str] = [config.method]
    if record.placed:
        words.append(f"{added(record.placed)} of {len(config.growth())} sites")
    elif facts(config.method).seeks:
        words.append(f"{sum(config.growth().values())} neurons among {', '.join(config.growth())}")
    elif facts(config.method).placed:
        if config.rings():
            words.append(f"{', '.join(config.layers)} kernel {config.kernel}")
        elif isinstance(config.neurons, dict):
            words.append(added(config.growth()))
        else:
            words.append(f"{', '.join(config.layers)} +{config.neurons}")
    names = ("regime", "criterion", "rank", "lora_share", "last_k", "truncate_to")
    unread = ("criterion",) if config.rings() else ()
    shown = (getattr(config, name) for name in names if reads(config.method, name) and name not in unread)
    words += [str(value) for value in shown if value is not None]
    return " ".join(words + for_newborns(config))


def added(growth: Mapping[str, int]) -> str:
    """Neurons by site."""
    return ", ".join(f"{site}+{neurons}" for site, neurons in growth.items())


def brief(record: TrialRecord) -> str:
    """As `describe`, for a column: sites that differ in a number only are named once, the usual method not at all."""
    words = describe(record).removeprefix("plasticity ")
    layers = record.trial_config.layers
    # encoder.3.ffn, encoder.7.ffn → encoder.{3,7}.ffn
    parts = [_NUMBER.split(site, maxsplit=1) for site in layers]
    numbers = [number.group() for site in layers if (number := _NUMBER.search(site))]
    alike = len(numbers) == len(layers) > 1 and all(part == parts[0] for part in parts)
    if not alike:
        return words
    together = f"{{{','.join(numbers)}}}".join(parts[0])
    return words.replace(", ".join(layers), together)


def scores(metrics: Mapping[str, float], *, short: bool = False) -> tuple[str, str, str]:
    """EER in percent, backward ratio, parameters; empty where not known yet."""
    eer = metrics.get("dev_eer")
    ratio = metrics.get("backward_ratio")
    size = metrics.get("params_total")
    if size is None:
        parameters = ""
    else:
        parameters = _rounded(size) if short else f"{size:,.0f}"
    return (
        f"{eer:.2f} %" if eer is not None else "",
        f"{ratio:.3f}" if ratio is not None else "",
        parameters,
    )


def _rounded(size: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{size / unit:.3g}{name}"
    return f"{size:.3g}"


def clock(seconds: float) -> str:
    """A duration as a clock shows it."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def numbers(metrics: Mapping[str, float | None]) -> str:
    """The three scores in a line."""
    words = zip(("EER", "ratio", "parameters"), scores(known(metrics)), strict=True)
    text = ", ".join(f"{name} {value}" for name, value in words if value)
    return f": {text}" if text else ""
