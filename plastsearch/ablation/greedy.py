"""The greedy path between baseline and trial, either way, as a function of what has been measured so far.

Nothing is remembered: whoever asks again with more results gets the path that goes on from there, so a killed ablation
resumes by asking. Where results are missing, the answer is which configurations have to run next.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from plastsearch.ablation.fields import Chosen, Contrast
from plastsearch.errors import PlastsearchError
from plastsearch.spec.config import TrialConfig

Direction = Literal["forward", "backward"]
Values = Mapping[str, float | None]  # id of a configuration → what it is worth, less is better; None: it failed


class NoPathError(PlastsearchError):
    """An end of the path has no result."""


@dataclass(frozen=True)
class Move:
    """Fields that change together, and where that leads; mostly it is a single one."""

    fields: tuple[str, ...]
    to: Chosen


@dataclass(frozen=True)
class Taken:
    """A step that was taken, what else was in question, and the fields that fell with it since nothing reads them."""

    move: Move
    value: float
    rivals: tuple[tuple[Move, float], ...] = ()
    along: tuple[str, ...] = ()


@dataclass(frozen=True)
class Walk:
    """A path as far as results reach; `wanted`: what must run for it to go on."""

    direction: Direction
    start: Chosen
    steps: tuple[Taken, ...] = ()
    wanted: tuple[TrialConfig, ...] = ()
    left_out: tuple[str, ...] = ()  # why steps were not possible, in words

    @property
    def complete(self) -> bool:
        """Whether it reached its other end."""
        return not self.wanted


@dataclass
class Walker:
    """Walks between the two ends of a contrast."""

    contrast: Contrast
    refuses: Callable[[TrialConfig], None]  # raises where a configuration cannot run
    _moves: dict[tuple[Chosen, Direction], tuple[list[Move], list[str]]] = field(default_factory=dict)

    def walk(self, direction: Direction, values: Values) -> Walk:
        """The path that these results tell."""
        names, nothing = self.contrast.names, frozenset[str]()
        start, goal = (nothing, names) if direction == "forward" else (names, nothing)
        at = start
        steps: list[Taken] = []
        left_out: list[str] = []
        end = self._id(goal)
        if any(values.get(self._id(one), 0.0) is None for one in (start, goal)):
            raise NoPathError("the trial or its baseline failed when run again, so there is no path between them")
        begun = [self.contrast.config(one) for one in (start, goal) if self._id(one) not in values]
        while self._id(at) != end:
            moves, refused = self.moves(at, direction)
            left_out += refused
            lacking = [self.contrast.config(one.to) for one in moves if self._id(one.to) not in values]
            if begun or lacking:
                return Walk(direction, start, tuple(steps), _each_once([*begun, *lacking]), tuple(left_out))
            known = [(one, value) for one in moves if (value := values[self._id(one.to)]) is not None]
            failed = [one for one in moves if values[self._id(one.to)] is None]
            left_out += [f"{' + '.join(one.fields)}: its run failed" for one in failed]
            if not known:  # every single step fails: what is left is taken in one
                known = [(Move(self.contrast.ordered(at ^ goal), goal), values[end] or 0.0)]
            # Among equals the first in the list is added first and removed last, so that ties are no disagreement.
            ranked = known if direction == "forward" else known[::-1]
            best, value = min(ranked, key=lambda one: one[1])
            at = best.to
            along = self.contrast.ordered(at ^ goal) if self._id(at) == end else ()
            steps.append(Taken(best, value, tuple(one for one in known if one[0] is not best), along))
        return Walk(direction, start, tuple(steps), (), tuple(dict.fromkeys(left_out)))

    def moves(self, at: Chosen, direction: Direction) -> tuple[list[Move], list[str]]:
        """Every step possible from here: single fields, and pairs of those that change something only together."""
        key = at, direction
        if key not in self._moves:
            self._moves[key] = self._find(at, direction)
        return self._moves[key]

    def _find(self, at: Chosen, direction: Direction) -> tuple[list[Move], list[str]]:
        goal = self.contrast.names if direction == "forward" else frozenset[str]()
        free = self.contrast.ordered(at ^ goal)
        here = self._id(at)
        single = [(name,) for name in free if self._id(at ^ {name}) != here]
        idle = [name for name in free if (name,) not in single]
        # A site means nothing before the method grows, nor the method without a site: such fields come in pairs.
        pairs = [pair for pair in combinations(idle, 2) if self._id(at ^ set(pair)) != here]
        refused: list[str] = []
        found: dict[str, Move] = {}
        for fields in [*single, *pairs]:
            to = at ^ set(fields)
            reason = self._refused(to)
            if reason is not None:
                refused.append(f"{' + '.join(fields)}: {reason}")
                continue
            one = self._id(to)
            if one not in found:
                found[one] = Move(fields, to)
            else:  # two ways to the same network are one step
                both = found[one].to ^ (set(fields) - set(found[one].fields))
                if self._id(both) == one:
                    found[one] = Move(self.contrast.ordered({*found[one].fields, *fields}), both)
        moves = list(found.values()) or [Move(free, goal)]
        return moves, refused

    def _refused(self, at: Chosen) -> str | None:
        try:
            self.refuses(self.contrast.config(at))
        except PlastsearchError as error:
            return str(error)
        return None

    def _id(self, at: Chosen) -> str:
        return self.contrast.config(at).trial_id()


def most_runs(walker: Walker) -> int:
    """How many configurations both directions need at most, whatever the results are; those of both counted once."""
    count = len(walker.contrast.names)
    nothing, names = frozenset[str](), walker.contrast.names
    forward, _ = walker.moves(nothing, "forward")
    pairs = sum(len(one.fields) > 1 for one in forward)
    single = len(forward) - pairs
    # Until the method has come in, every round asks for all pairs again; after it, one field less each time.
    longest = 0
    for before in range(single + 1 if pairs else 1):
        opening = sum(single - gone + pairs for gone in range(before + 1))
        left = count - before - (2 if pairs else 1)
        longest = max(longest, opening + _triangle(left))
    backward, _ = walker.moves(names, "backward")
    # The last round of each leads to an end that is counted already.
    return 2 + longest + len(backward) + _triangle(count - 1)


def _triangle(count: int) -> int:
    """Rounds of `count`, `count` − 1, … 2 runs: the last field leads to the other end."""
    return max(0, count * (count + 1) // 2 - 1)


def _each_once(configs: list[TrialConfig]) -> tuple[TrialConfig, ...]:
    return tuple({config.trial_id(): config for config in configs}.values())


def orders(walk: Walk) -> Iterator[tuple[str, ...]]:
    """Fields from the first that the baseline gets to the last, those of one step together."""
    steps = [one.move.fields + one.along for one in walk.steps]
    yield from steps if walk.direction == "forward" else reversed(steps)


def conflicts(forward: Walk, backward: Walk) -> list[tuple[str, str]]:
    """Pairs of fields that the two directions put in opposite orders: the first comes first forward."""
    there = {name: at for at, step in enumerate(orders(forward)) for name in step}
    back = {name: at for at, step in enumerate(orders(backward)) for name in step}
    return [
        (one, other)
        for one, other in combinations(sorted(there.keys() & back.keys(), key=there.__getitem__), 2)
        if there[one] < there[other] and back[one] > back[other]
    ]
