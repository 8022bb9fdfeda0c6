"""Trials in line for a slot: to run again after a loss or a resume, or when the stage they wait for may be finished."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deferred:
    """Since when a trial waits, and how many trials had ended by then."""

    ended: int
    since_s: float


class Lineup:
    """First come, first served; a trial taken from it may be deferred once more, or must wait in its own slot."""

    def __init__(self) -> None:
        self._again: list[int] = []
        self._deferred: dict[int, Deferred] = {}
        self._waited_s: dict[int, float] = {}

    def __bool__(self) -> bool:
        return bool(self._again or self._deferred)

    def again(self, number: int) -> None:
        """Run it as soon as there is a slot."""
        self._again.append(number)

    def defer(self, number: int, ended: int) -> None:
        """Another process computes what it needs next: give its slot to others."""
        self._deferred[number] = Deferred(ended, time.monotonic())

    def ready(self, ended: int, slots: int) -> tuple[int, bool] | None:
        """A trial to run now, before any new one, and whether it may be deferred again."""
        if self._again:
            return self._again.pop(0), True
        for number, deferred in self._deferred.items():
            if deferred.ended < ended:  # some trial has ended since
                return self._leave(number), True
        return self.longest() if len(self._deferred) >= slots else None

    def longest(self) -> tuple[int, bool] | None:
        """The longest deferred trial, this time to wait in its own slot."""
        return (self._leave(next(iter(self._deferred))), False) if self._deferred else None

    def waited_s(self, number: int) -> float | None:
        """How long it has been deferred in all; told once."""
        return self._waited_s.pop(number, None)

    def _leave(self, number: int) -> int:
        waited_s = time.monotonic() - self._deferred.pop(number).since_s
        self._waited_s[number] = self._waited_s.get(number, 0.0) + waited_s
        return number
