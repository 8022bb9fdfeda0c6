"""Where growth went and what it came to: EER by dropin site, and by site and number of neurons; data, not drawings.

These are means over the trials that a search chose to run: where it liked to look, cells hold more and better trials.
So they describe the search; whether a site matters is told by importances, or by an ablation.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from plastsearch.analysis.importance import natural
from plastsearch.analysis.paired import Estimate, student_reach
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.spec.methods import METHODS, YARDSTICK

METRIC = "dev_eer"
MOST_SITES = 60  # rows of the map and places of the figure; the most used ones
MOST_COUNTS = 12  # columns of the map; more numbers of neurons are put into ranges


@dataclass(frozen=True)
class SiteMean:
    """Trials that grew at one site, whatever else they grew."""

    site: str
    trials: int
    mean: float
    low: float | None
    high: float | None
    best: float
    alone: tuple[float, ...]  # of those that grew there and nowhere else


@dataclass(frozen=True)
class ByLayer:
    """All sites in order of depth, and what they are to be held against."""

    sites: tuple[SiteMean, ...]
    baseline: Estimate | None
    left_out: int = 0  # sites beyond MOST_SITES


@dataclass(frozen=True)
class Cell:
    """Trials with so many neurons at a site."""

    mean: float
    trials: int


@dataclass(frozen=True)
class Grid:
    """Sites × numbers of neurons; a pair that no trial ran has no cell."""

    sites: tuple[str, ...]
    counts: tuple[str, ...]
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    @property
    def empty(self) -> int:
        """How many pairs nobody ran."""
        return len(self.sites) * len(self.counts) - len(self.cells)


@dataclass(frozen=True)
class Grown:
    """One trial: its EER, and the neurons it added at each site."""

    eer: float
    neurons: dict[str, int]
    rings: bool = False  # these are taps of kernels, then


def dev_eer(results: Results, row: TrialRow) -> float:
    """A trial's EER on search-dev, a mean over its seeds where the search counts it so; NaN if it has none."""
    at = next((n for n, one in enumerate(results.objectives) if one.metric == METRIC), None)
    return row.metrics.get(METRIC, math.nan) if at is None else row.values[at]


def dev_interval(results: Results, row: TrialRow) -> tuple[float, float] | None:
    """Its 95 % interval, as tables show it."""
    at = next((n for n, one in enumerate(results.objectives) if one.metric == METRIC), None)
    return row.interval(METRIC) if at is None else results.interval(row, at)


def grown(results: Results) -> list[Grown]:
    """Every finished trial of the search that grew something."""
    found = []
    for row in results.plotted:
        eer = dev_eer(results, row)
        if row.record.role != "search" or not METHODS[row.config.method].grows or not math.isfinite(eer):
            continue
        neurons = row.record.placed or row.config.growth()
        if neurons:
            found.append(Grown(eer, neurons, row.config.rings()))
    return found


def by_layer(results: Results) -> ByLayer | None:
    """EER by site; None where nothing that grew has finished."""
    trials = grown(results)
    sites, left_out = _sites(trials)
    if not sites:
        return None
    found = []
    for site in sites:
        there = [one for one in trials if site in one.neurons]
        eers = [one.eer for one in there]
        mean = fmean(eers)
        reach = None if len(eers) < 2 else student_reach(len(eers) - 1) * stdev(eers) / math.sqrt(len(eers))
        low, high = (None, None) if reach is None else (max(0.0, mean - reach), min(100.0, mean + reach))
        alone = tuple(one.eer for one in there if len(one.neurons) == 1)
        found.append(SiteMean(site, len(eers), mean, low, high, min(eers), alone))
    control = results.control(YARDSTICK)
    baseline = None
    if control is not None and math.isfinite(value := dev_eer(results, control)):
        baseline = Estimate(value, *(dev_interval(results, control) or (None, None)))
    return ByLayer(tuple(found), baseline, left_out)


def grid(results: Results) -> Grid | None:
    """Mean EER by site and neurons; None where nothing that grew has finished."""
    trials = [one for one in grown(results) if not one.rings]
    sites, _ = _sites(trials)
    if not sites:
        return None
    label = _labels([count for one in trials for count in one.neurons.values()])
    values: dict[tuple[str, str], list[float]] = {}
    for one in trials:
        for site, count in one.neurons.items():
            values.setdefault((site, label[count]), []).append(one.eer)
    kept = set(sites)
    cells = {place: Cell(fmean(eers), len(eers)) for place, eers in values.items() if place[0] in kept}
    return Grid(sites, tuple(dict.fromkeys(label[count] for count in sorted(label))), cells)


def _sites(trials: Sequence[Grown]) -> tuple[tuple[str, ...], int]:
    """In order of depth; of very many the most used."""
    used = Counter(site for one in trials for site in one.neurons)
    kept = sorted((site for site, _ in used.most_common(MOST_SITES)), key=natural)
    return tuple(kept), len(used) - len(kept)


def _labels(counts: Sequence[int]) -> dict[int, str]:
    """Each number of neurons by the column it belongs to: itself, or a range of about as many trials as the others."""
    distinct = sorted(set(counts))
    if len(distinct) <= MOST_COUNTS:
        return {count: str(count) for count in distinct}
    ordered = sorted(counts)
    edges = sorted({ordered[n * len(ordered) // MOST_COUNTS] for n in range(MOST_COUNTS)})
    found: dict[int, str] = {}
    for at, low in enumerate(edges):
        inside = [n for n in distinct if n >= low and (at + 1 == len(edges) or n < edges[at + 1])]
        name = str(inside[0]) if len(inside) == 1 else f"{inside[0]} – {inside[-1]}"
        found |= dict.fromkeys(inside, name)
    return found
