"""Methods ranked over many blocks, a block being one attack of one corpus: Friedman, Nemenyi, Wilcoxon with Holm.

Demšar, Statistical comparisons of classifiers over multiple data sets (JMLR 2006); ranks average over ties.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from plastsearch.analysis.paired import holm

LEAST = 5  # blocks, below which ranks say nothing
LEVEL = 0.05


@dataclass(frozen=True)
class Against:
    """Two methods over the blocks: Wilcoxon's signed ranks, corrected over all pairs."""

    one: str
    other: str
    p: float
    p_corrected: float


@dataclass(frozen=True)
class Ranks:
    """Average ranks, 1 is best, and what may be said of their differences."""

    methods: tuple[str, ...]  # the best first
    ranks: tuple[float, ...]
    blocks: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]  # of each block, in the order of methods
    chi2: float
    p: float  # Friedman's: that all are alike
    distance: float  # Nemenyi's critical difference
    pairs: tuple[Against, ...]

    @property
    def cliques(self) -> list[tuple[int, int]]:
        """The longest runs of methods that Nemenyi's test does not tell apart, first and last place of each."""
        found: list[tuple[int, int]] = []
        for start in range(len(self.methods)):
            end = max(n for n in range(start, len(self.methods)) if self.ranks[n] - self.ranks[start] < self.distance)
            if end > start and not any(end <= last for _, last in found):
                found.append((start, end))
        return found


def ranked(table: Mapping[str, Mapping[str, float]]) -> Ranks | None:
    """Block → method → error; methods that every block has. None where fewer than two methods or LEAST blocks are."""
    methods = sorted(set.intersection(*(set(one) for one in table.values()))) if table else []
    if len(methods) < 2 or len(table) < LEAST:
        return None
    blocks = tuple(table)
    values = np.array([[table[block][method] for method in methods] for block in blocks])
    places = np.array([_places(row.tolist()) for row in values])
    means = places.mean(axis=0)
    order = sorted(range(len(methods)), key=lambda at: (means[at], methods[at]))
    chi2, p = _friedman(places)
    count = len(methods)
    return Ranks(
        tuple(methods[at] for at in order), tuple(float(means[at]) for at in order), blocks,
        tuple(tuple(row[order].tolist()) for row in values), chi2, p,
        _critical(count) * math.sqrt(count * (count + 1) / (6 * len(blocks))),
        tuple(_pairs(methods, values)),
    )  # fmt: skip


def _places(values: Sequence[float]) -> list[float]:
    """Rank of each, 1 for the lowest; equal ones share the mean of their places."""
    return [1 + sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2
            for value in values]  # fmt: skip


def _friedman(places: NDArray[np.float64]) -> tuple[float, float]:
    """Friedman's statistic, corrected for ties, and its p-value by chi squared."""
    from scipy.special import chdtrc

    blocks, count = places.shape
    spread = float(((places - (count + 1) / 2) ** 2).sum())
    if spread == 0:  # all equal in every block
        return 0.0, 1.0
    between = float(((places.mean(axis=0) - (count + 1) / 2) ** 2).sum()) * blocks**2
    chi2 = (count - 1) * between / spread
    return chi2, float(chdtrc(count - 1, chi2))


def _critical(count: int) -> float:
    """The studentised range of so many means over √2, at 5 %."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - LEVEL, count, math.inf)) / math.sqrt(2)


def _pairs(methods: Sequence[str], values: NDArray[np.float64]) -> list[Against]:
    from scipy.stats import wilcoxon

    found = []
    for one, other in combinations(range(len(methods)), 2):
        gaps = values[:, one] - values[:, other]
        ties = bool((gaps == 0).any())  # they are split, which leaves an exact test without a table
        how = {"zero_method": "zsplit", "method": "approx" if ties else "auto"}
        p = float(wilcoxon(gaps, **how).pvalue) if gaps.any() else 1.0
        found.append((methods[one], methods[other], p))
    corrected = holm([p for *_, p in found])
    return [Against(*values, better) for values, better in zip(found, corrected, strict=True)]
