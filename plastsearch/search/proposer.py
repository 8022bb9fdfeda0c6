"""What the driver needs of whoever proposes trials; search/study.py is the real one, tests bring their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.domains import Params
from plastsearch.tracking.records import TrialRecord


@dataclass(frozen=True)
class Proposal:
    """One configuration to run, or to take over from the earlier trial `reuse_of`."""

    params: Params
    config: TrialConfig
    origin: str = "sampler"  # anchor | sampler | try_first | warm_start
    reuse_of: int | None = None


class Proposer(Protocol):
    """Ask for a trial, tell how it went; opened from the journal's records, so that a resume forgets nothing."""

    def ask(self, number: int) -> Proposal | None:
        """Propose the trial that the journal will call `number`; None when the space is exhausted."""

    def tell(self, record: TrialRecord) -> None:
        """Learn from a search trial that ended: done, reused, failed or halted."""

    def revise(self, record: TrialRecord, values: Sequence[float], runs: int) -> None:
        """Learn that a finished trial was repeated: the means of its objectives, in order, over so many runs."""


class Nobody:
    """Proposes nothing and learns nothing: for sessions that run trials of another plan than a search."""

    rebuilt = False

    def ask(self, number: int) -> Proposal | None:  # noqa: ARG002
        """Nothing."""
        return None

    def tell(self, record: TrialRecord) -> None:
        """Nobody learns from it."""

    def revise(self, record: TrialRecord, values: Sequence[float], runs: int) -> None:
        """Nor from its repeats."""
