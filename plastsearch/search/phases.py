"""What a sweep runs, in order: baseline, search, other controls, finalists. Each phase skips what the journal has."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from plastsearch.search.proposer import Proposer
from plastsearch.spec.config import TrialConfig
from plastsearch.tracking.journal import TrialRecord

Records = Mapping[int, TrialRecord]


@dataclass(frozen=True)
class Plan:
    """A trial about to be proposed."""

    config: TrialConfig
    role: str = "search"  # search | control | finalist
    control: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    origin: str = "sampler"
    reuse_of: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Phase(Protocol):
    """A source of trials; with `barrier`, it starts when all before it have ended; with `alone`, one runs at a time."""

    barrier: bool
    alone: bool

    def plan(self, number: int, records: Records) -> Plan | None:
        """The next trial, to be called `number`; None once there is none left."""


class Search:
    """Whatever the proposer says, until the budget is spent or the space is."""

    barrier = False
    alone = False

    def __init__(self, proposer: Proposer, exhausted: Callable[[Records], str | None]) -> None:
        self._proposer = proposer
        self._exhausted = exhausted
        self.ended_by: str | None = None

    def plan(self, number: int, records: Records) -> Plan | None:
        """Ask the proposer."""
        self.ended_by = self._exhausted(records)
        if self.ended_by is not None:
            return None
        proposal = self._proposer.ask(number)
        if proposal is None:
            self.ended_by = "space"
            return None
        return Plan(config=proposal.config, params=proposal.params, origin=proposal.origin, reuse_of=proposal.reuse_of)


class Listed:
    """Trials that follow from the records, worked out once, when the phase begins."""

    def __init__(
        self, plans: Callable[[Records], Iterable[Plan]], *, barrier: bool = True, alone: bool = False
    ) -> None:
        self._plans = plans
        self._queue: list[Plan] | None = None
        self.barrier = barrier
        self.alone = alone

    def plan(self, number: int, records: Records) -> Plan | None:  # noqa: ARG002
        """The next that the journal does not have yet."""
        if self._queue is None:
            known = {_key(r.role, r.control, r.extra) for r in records.values()}
            self._queue = [p for p in self._plans(records) if _key(p.role, p.control, p.extra) not in known]
        return self._queue.pop(0) if self._queue else None


def _key(role: str, control: str | None, extra: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes two plans the same run: a control of another trial, or of another seed, is another one."""
    return role, control, extra.get("of"), extra.get("seed")
