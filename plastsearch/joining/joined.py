"""Several sweeps side by side, as data: what each is, the same configurations and methods in all, means over sweeps.

Nothing is chosen here by evaluation scores: each sweep's arms were chosen by its own search-dev results, and
configurations are ordered by those. Sweeps that ask something else are set apart, in words.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

from plastsearch.analysis.columns import configuration, corpus, device
from plastsearch.analysis.figure import main_settings
from plastsearch.analysis.paired import Estimate
from plastsearch.analysis.paper import Arm, PaperTable, paper_table
from plastsearch.analysis.ranks import Ranks, ranked
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.errors import PlastsearchError
from plastsearch.joining.likeness import clips_key, differences
from plastsearch.joining.meta import Pooled, pooled
from plastsearch.joining.sweeps import Sweep, parts_of, same_sweeps
from plastsearch.report.methods import hosts_of
from plastsearch.report.paper_section import blocks_by_attack
from plastsearch.tracking.journal import read


@dataclass(frozen=True)
class Member:
    """One sweep of those that are joined."""

    sweep: Sweep
    table: PaperTable

    @property
    def label(self) -> str:
        """What columns call it."""
        return self.sweep.label

    @property
    def results(self) -> Results:
        """The sweep as a table."""
        return self.sweep.results

    @cached_property
    def corpus(self) -> str:
        """The corpus it learnt from."""
        return next((found for row in self.results.rows if (found := corpus(row.record.config))), "not known")

    @cached_property
    def clips(self) -> str:
        """A name for its clips."""
        return next((clips_key(row.record.config) for row in self.results.rows), "")

    @property
    def machines(self) -> str:
        """Drivers' hosts, and what trials were timed on."""
        devices = dict.fromkeys(found for row in self.results.every if (found := device(row)))
        return " · ".join([*hosts_of(self.results), *devices]) or "not recorded"


@dataclass(frozen=True)
class Shared:
    """A configuration that several sweeps ran."""

    key: str
    words: str
    values: tuple[Estimate | None, ...]  # of each sweep, by the first objective
    mean: Pooled


@dataclass(frozen=True)
class MethodLine:
    """A method in each sweep; `less`: percent below that sweep's own baseline, and the mean of that over sweeps."""

    name: str
    arms: tuple[Arm | None, ...]
    less: Pooled | None
    eval_less: Pooled | None


@dataclass(frozen=True)
class Joined:
    """Everything that is told of the sweeps together."""

    members: tuple[Member, ...]
    apart: tuple[str, ...]  # sweeps that ask something else, and why, in sentences
    notes: tuple[str, ...]
    configurations: tuple[Shared, ...]
    alone: int  # configurations that one sweep alone ran
    methods: tuple[MethodLine, ...]
    blocks: int  # corpora × attacks
    ranks: Ranks | None

    def plain(self) -> dict[str, object]:
        """For programs."""

        def numbers(one: Estimate | Pooled | None) -> dict[str, object] | None:
            return None if one is None else asdict(one)

        return {
            "sweeps": [
                {"label": one.label, "folder": str(one.sweep.folder), "corpus": one.corpus, "machines": one.machines,
                 "status": one.results.status}
                for one in self.members
            ],
            "apart": list(self.apart), "notes": list(self.notes),
            "methods": [
                {"method": line.name, "trials": [None if arm is None else arm.row.number for arm in line.arms],
                 "dev_eer": [None if arm is None else numbers(arm.dev) for arm in line.arms],
                 "eval_eer": [None if arm is None else numbers(arm.evaluation) for arm in line.arms],
                 "reduction": numbers(line.less), "eval_reduction": numbers(line.eval_less)}
                for line in self.methods
            ],
            "configurations": [
                {"configuration": one.key, "settings": one.words, "values": [numbers(value) for value in one.values],
                 "mean": numbers(one.mean)}
                for one in self.configurations
            ],
            "ranks": None if self.ranks is None else asdict(self.ranks),
        }  # fmt: skip

    @property
    def corpora(self) -> int:
        """How many corpora there are, by their clips."""
        return len({one.clips for one in self.members})


def join(folders: Sequence[Path]) -> Joined:
    """The sweeps in these folders; a merged one is taken apart again."""
    return joined([Sweep(folder, folder.name, tuple(read(folder, configs=True))) for folder in folders])


def joined(given: Sequence[Sweep]) -> Joined:
    """The same of sweeps that were read."""
    sweeps, notes = same_sweeps(given)
    parts = [part for sweep in sweeps for part in parts_of(sweep)]
    if len(parts) < 2:
        raise PlastsearchError("\n".join(["there is nothing to join: it takes two different sweeps", *notes]))
    first = parts[0]
    why = {part.label: differences(first.head.spec, part.head.spec) for part in parts}
    alike = [part for part in parts if not why[part.label]]
    apart = tuple(
        f"{part.label} ({part.folder}) is set apart: it asks something else than {first.label}: "
        f"{'; '.join(why[part.label])}."
        for part in parts
        if why[part.label]
    )
    if len(alike) < 2:
        raise PlastsearchError("\n".join(["no two of these sweeps ask the same, so nothing can be joined", *apart]))
    members = tuple(Member(part, paper_table(part.results)) for part in alike)
    shared, alone = _configurations(members)
    blocks = _blocks(members)
    return Joined(members, apart, tuple(notes), tuple(shared), alone, tuple(_methods(members)), len(blocks),
                  ranked(blocks))  # fmt: skip


def _configurations(members: Sequence[Member]) -> tuple[list[Shared], int]:
    found: dict[str, list[list[TrialRow]]] = {}
    for at, member in enumerate(members):
        for row in member.results.plotted:
            places = found.setdefault(configuration(row.record.config), [[] for _ in members])
            places[at].append(row)
    shared = []
    for key, places in found.items():
        values = [_value(member, rows) for member, rows in zip(members, places, strict=True)]
        known = [value for value in values if value is not None]
        mean = pooled(known)
        if len(known) > 1 and mean is not None:
            row = next(row for rows in places for row in rows)
            words = ", ".join(f"{name} {value}" for name, value in main_settings(row).items())
            shared.append(Shared(key, words, tuple(values), mean))
    sign = -1 if members[0].results.objectives[0].goal == "max" else 1
    shared.sort(key=lambda one: (-sum(value is not None for value in one.values), sign * one.mean.value))
    return shared, len(found) - len(shared)


def _value(member: Member, rows: Sequence[TrialRow]) -> Estimate | None:
    """By the first objective; several trials of one configuration (with searched seeds) count by their mean."""
    values = [row.values[0] for row in rows if math.isfinite(row.values[0])]
    if not values:
        return None
    within = member.results.interval(rows[0], 0) if len(rows) == 1 else None
    return Estimate(fmean(values), *(within or (None, None)))


def _methods(members: Sequence[Member]) -> Iterator[MethodLine]:
    names = dict.fromkeys(arm.name for member in members for arm in member.table.arms)
    for name in names:
        arms = [next((arm for arm in member.table.arms if arm.name == name), None) for member in members]
        less = [arm.less for arm in arms if arm is not None and arm.less is not None]
        eval_less = [arm.eval_less for arm in arms if arm is not None and arm.eval_less is not None]
        yield MethodLine(name, tuple(arms), pooled(less), pooled(eval_less))


def _blocks(members: Sequence[Member]) -> dict[str, dict[str, float]]:
    """Each attack of each corpus once: sweeps on the same clips count by their mean, for they are no two blocks."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.clips, []).append(member)
    names = [group[0].corpus for group in groups.values()]
    found: dict[str, dict[str, float]] = {}
    for group in groups.values():
        called = group[0].corpus if names.count(group[0].corpus) == 1 else f"{group[0].corpus} of {group[0].label}"
        values: dict[str, dict[str, list[float]]] = {}
        for member in group:
            for block, arms in blocks_by_attack(member.results):
                for name, eer in arms.items():
                    values.setdefault(block, {}).setdefault(name, []).append(eer)
        for block, arms_of in values.items():
            found[f"{called} {block}"] = {name: fmean(eers) for name, eers in arms_of.items()}
    return found
