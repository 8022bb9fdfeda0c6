"""Criteria on equal prefixes: trials that share the network that was pruned, and differ in the criterion alone.

That they share it is told by the key of the stage before `prune`: it names all that the stage read, the seed included.
Whatever else made such a trial good is the same on both sides, so the difference between them is paired.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from plastsearch.analysis.paired import holm, over_seeds
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.spec.methods import CHANGES

AFTER = ("dev_eer_pruned", "dev_eer")  # right after removal, and at the end
# What else the stages from `prune` on read: only trials that agree on all of it are a pair.
SETTINGS = tuple(name for name in CHANGES["remove"].reads if name != "criterion" and "." not in name)
LEVEL = 0.05


@dataclass(frozen=True)
class Duel:
    """One criterion against another over the networks that both pruned: one minus other, points of EER."""

    one: str
    other: str
    prefixes: int
    pruned: float | None  # right after removal
    points: float  # of the final network
    low: float | None  # over prefixes; None for a single one
    high: float | None
    p: float | None
    p_corrected: float | None

    @property
    def finding(self) -> str:
        """What may be said of it."""
        if self.p_corrected is None:
            return "one prefix tells nothing of others"
        if self.p_corrected >= LEVEL:
            return "no difference shown"
        return f"{self.one if self.points < 0 else self.other} is better"


@dataclass(frozen=True)
class Prefixes:
    """How many networks were pruned by several criteria, and what came of it."""

    networks: int  # that anything pruned
    shared: int  # that at least two criteria pruned alike
    duels: tuple[Duel, ...]


def prefixes(results: Results) -> Prefixes:
    """Every pair of criteria that met on at least one network."""
    groups: dict[tuple[object, ...], dict[str, tuple[float, float | None]]] = {}
    networks = set()
    for row in _pruned(results.every):
        key = _before_prune(row)
        eer = row.metrics.get(AFTER[1])
        if key is None or eer is None:
            continue
        networks.add(key)
        plain = row.record.config
        alike = (key, *(repr(plain.get(name)) for name in SETTINGS), repr(plain.get("train")))
        criterion = str(plain.get("criterion"))
        # A repeat of the very same steps comes to the same network and is no second observation.
        groups.setdefault(alike, {}).setdefault(criterion, (eer, row.metrics.get(AFTER[0])))
    met = [by for by in groups.values() if len(by) > 1]
    return Prefixes(len(networks), len(met), tuple(_duels(met)))


def _pruned(rows: Iterable[TrialRow]) -> Iterable[TrialRow]:
    return (row for row in rows if row.record.state == "done" and "criterion" in row.record.config)


def _before_prune(row: TrialRow) -> str | None:
    """The key of the stage before `prune`; None where nothing was pruned, or a journal does not say."""
    stages = row.record.details.get("stages") or []
    names = [stage["stage"] for stage in stages]
    at = names.index("prune") if "prune" in names else 0
    return str(stages[at - 1]["key"]) if at else None


def _duels(met: list[dict[str, tuple[float, float | None]]]) -> list[Duel]:
    names = sorted({name for by in met for name in by})
    found = []
    for one, other in combinations(names, 2):
        both = [(by[one], by[other]) for by in met if one in by and other in by]
        if not both:
            continue
        points = [mine[0] - its[0] for mine, its in both]
        right_after = [mine[1] - its[1] for mine, its in both if mine[1] is not None and its[1] is not None]
        low, high, p = over_seeds(points) or (None, None, None)  # networks stand where seeds do: one value for each
        pruned = fmean(right_after) if right_after else None
        found.append((one, other, len(both), pruned, fmean(points), low, high, p))
    known = iter(holm([p for *_, p in found if p is not None]))
    return [Duel(*values, None if values[-1] is None else next(known)) for values in found]
