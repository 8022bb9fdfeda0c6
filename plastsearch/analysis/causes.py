"""Texts that differ in their numbers alone, as one: `timings vary by 12…31 %` for a hundred trials that said so."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Names made of hex digits (keys, ids) say nothing side by side; numbers are told by their range.
_PARTS = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
NAMED = 12  # trials that are told by their numbers


@dataclass(frozen=True)
class Cause:
    """One text for all that say the same: how often, by which trials."""

    words: str
    count: int
    trials: tuple[int, ...]

    @property
    def which(self) -> str:
        """The trials in words: all, or the first of them."""
        more = len(self.trials) - NAMED
        return ", ".join(map(str, self.trials[:NAMED])) + (f" and {more} more" if more > 0 else "")


def causes(said: Iterable[tuple[str, int]]) -> list[Cause]:
    """Text and trial → the texts without doubles, the most frequent first."""
    groups: dict[str, list[tuple[list[str], int]]] = {}
    for text, trial in said:
        groups.setdefault(_PARTS.sub("\0", text), []).append((_PARTS.findall(text), trial))
    found = [
        Cause(_filled(form, [parts for parts, _ in group]), len(group), tuple(dict.fromkeys(n for _, n in group)))
        for form, group in groups.items()
    ]
    return sorted(found, key=lambda one: -one.count)


def _filled(form: str, parts: list[list[str]]) -> str:
    ranges = iter([_range(list(values)) for values in zip(*parts, strict=True)])
    return re.sub("\0", lambda _: next(ranges, ""), form)


def _range(values: list[str]) -> str:
    if len(set(values)) == 1:
        return values[0]
    try:
        ordered = sorted(values, key=float)
    except ValueError:
        return "…"
    return f"{ordered[0]}…{ordered[-1]}"
