"""One line of a sweep's table: a trial as its report sees it, and a member of the front run again as a finalist."""

import math
from dataclasses import dataclass
from functools import cached_property

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import CONTROLS
from plastsearch.tracking.journal import TrialRecord


@dataclass(frozen=True)
class TrialRow:
    """One trial of the table; `allowed` says whether it meets the constraints, None if it has no result.

    `superseded`: a control of a trial that was the best once, before the sweep went on.
    """

    record: TrialRecord
    values: tuple[float, ...]  # objectives, NaN where missing
    allowed: bool | None = None
    in_front: bool = False
    superseded: bool = False

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
        return TrialConfig.model_validate(self.record.config)

    @property
    def label(self) -> str:
        """What to call it in a table or figure."""
        record = self.record
        if record.role == "finalist":
            return f"finalist {self.number} (again {record.of})"
        if record.control:
            # A journal may come from a version with other controls; its name then has to do.
            known = CONTROLS.get(record.control)  # type: ignore[call-overload]
            name = known.label if known is not None else record.control
            return f"{name} (of trial {record.of})" if self.superseded else name
        return f"trial {self.number}"

    @property
    def complete(self) -> bool:
        """Whether every objective was measured."""
        return all(math.isfinite(value) for value in self.values)

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Its confidence interval, for metrics that have one."""
        low, high = self.metrics.get(f"{metric}_low"), self.metrics.get(f"{metric}_high")
        return None if low is None or high is None else (low, high)


@dataclass(frozen=True)
class Finalist:
    """A member of the front run again with other seeds; the only place where evaluation scores stand."""

    of: int
    rows: tuple[TrialRow, ...]

    def values(self, metric: str) -> list[float]:
        """One value for each seed that reported it."""
        return [row.metrics[metric] for row in self.rows if row.record.state == "done" and metric in row.metrics]
