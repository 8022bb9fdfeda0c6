"""One line of a sweep's table: a trial as its report sees it, and a member of the front run again as a finalist."""

import math
from dataclasses import dataclass
from functools import cached_property

from plastsearch.pareto.truths import CERTAIN
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import CONTROLS
from plastsearch.tracking.records import TrialRecord


@dataclass(frozen=True)
class TrialRow:
    """One trial of the table; `allowed` says whether it meets the constraints, None if it has no result.

    `superseded`: a control of a trial that was the best once, before the sweep went on.
    """

    record: TrialRecord
    values: tuple[float, ...]  # objectives, means over its seeds where it ran with several, NaN where missing
    allowed: bool | None = None
    in_front: bool = False
    superseded: bool = False
    again: tuple["TrialRow", ...] = ()  # finished runs with further seeds
    lost: tuple["TrialRow", ...] = ()  # and those that failed, or still run
    membership: float | None = None  # how likely it belongs to the front; None while nothing has run twice

    @property
    def runs(self) -> tuple["TrialRow", ...]:
        """Itself and its runs with further seeds."""
        return (self, *self.again)

    @property
    def certain(self) -> bool:
        """Whether it is a member beyond doubt: of a single run being the best and being lucky are the same event."""
        return self.in_front and len(self.runs) > 1 and self.membership is not None and self.membership >= CERTAIN

    @property
    def number(self) -> int:
        """The sweep's own count of its trials."""
        return self.record.number

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return self.record.metrics

    @cached_property
    def config(self) -> TrialConfig:
        """What was run."""
        return TrialConfig.recorded(self.record.config)

    @property
    def label(self) -> str:
        """What to call it in a table or figure."""
        record = self.record
        if record.role == "finalist":
            return f"finalist {self.number} (again {record.of})"
        name = f"trial {record.of if record.role == 'replicate' else self.number}"
        if record.control:
            # A journal may come from a version with other controls; its name then has to do.
            known = CONTROLS.get(record.control)  # type: ignore[call-overload]
            name = known.label if known is not None else record.control
        if record.role == "replicate":
            return f"seed {record.seed} of {name}"
        return f"{name} (of trial {record.of})" if self.superseded else name

    @property
    def complete(self) -> bool:
        """Whether every objective was measured."""
        return all(math.isfinite(value) for value in self.values)

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The confidence interval of this one run, over clips, for metrics that have one."""
        low, high = self.metrics.get(f"{metric}_low"), self.metrics.get(f"{metric}_high")
        return None if low is None or high is None else (low, high)


@dataclass(frozen=True)
class Finalist:
    """A member of the front run again with other seeds; the only place where evaluation scores stand."""

    of: int
    rows: tuple[TrialRow, ...]

    @property
    def asked(self) -> int:
        """With how many seeds it was to run; a run that a merge found to be another's counts once."""
        return sum(row.record.state != "reused" for row in self.rows)

    def values(self, metric: str) -> list[float]:
        """One value for each seed that reported it."""
        return [row.metrics[metric] for row in self.rows if row.record.state == "done" and metric in row.metrics]
