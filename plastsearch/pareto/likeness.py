"""How alike two sweeps are: does what one measured foretell how the other's trials rank? Numbers only, no trials.

The idea of weighing earlier tasks by how alike they rank: Watanabe et al., IJCAI 2023, "Speeding up multi-objective
hyperparameter optimization by task similarity-based meta-learning for the tree-structured Parzen estimator". There the
overlap of the best trials' densities is the measure; here the rank correlation of each objective with what a linear
model of the earlier sweep foretells, since overlap of the best is not seen before some of the best are found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 8  # trials of either sweep, below which nothing is said
HALF = 30  # own results with which an earlier sweep counts half: what is measured here needs no foretelling
_RIDGE = 8.0  # as if so many trials had shown that nothing matters; more and less were no better on recorded tables


@dataclass(frozen=True)
class Column:
    """What the numbers in one column of parameters mean: places of labels, or numbers of a range."""

    labels: int = 0
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def features(self, values: Floats) -> list[Floats]:
        """The column as columns that a linear model can read; a parameter that does not count adds nothing."""
        counts = ~np.isnan(values)
        if self.labels:
            return [(values == at).astype(np.float64) for at in range(1 if self.labels == 2 else 0, self.labels)]
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        known = np.where(counts, values, self.low)
        at = np.where(counts, ((np.log(known) if self.log else known) - low) / ((high - low) or 1.0), 0.5)
        return [at, at**2, counts.astype(np.float64)]


class Foretelling:
    """A linear model of every objective (less is better) over the trials of one sweep."""

    def __init__(self, columns: Sequence[Column], rows: Floats, losses: Floats) -> None:
        self._columns = columns
        self.count = len(rows)
        design = self._design(rows)
        self._centre, spread = design.mean(axis=0), design.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        design = (design - self._centre) / self._scale
        self._level = losses.mean(axis=0)
        inverse = np.linalg.inv(design.T @ design + _RIDGE * np.eye(design.shape[1]))
        self._slopes = inverse @ design.T @ (losses - self._level)
        self.own: list[float | None] = [None] * losses.shape[1]
        if self.count < LEAST:
            return
        # What the model says of a trial when that one is left out: in closed form, without a fit for each.
        pull = np.einsum("ij,jk,ik->i", design, inverse, design) + 1.0 / len(rows)
        left_out = losses - (losses - self._level - design @ self._slopes) / (1.0 - pull)[:, None]
        pairs = zip(left_out.T, losses.T, strict=True)
        # How well it ranks its own trials: as well as that is all that can be asked of it elsewhere.
        self.own = [concordance(told, found) for told, found in pairs]

    def of(self, rows: Floats) -> Floats:
        """What it foretells of other trials."""
        centred = (self._design(rows) - self._centre) / self._scale
        return np.asarray(self._level + centred @ self._slopes)

    def weight(self, foretold: Floats, losses: Floats) -> float:
        """How much the earlier sweep's trials count beside this one's: 0 to 1, by the objective it foretells worst.

        0 while too little is known to tell a likeness from chance, and where there is none; less with every own result.
        """
        if min(self.count, len(losses)) < LEAST:
            return 0.0
        shares = []
        for own, told, found in zip(self.own, foretold.T, losses.T, strict=True):
            if own is None:  # all alike over there: it has no opinion
                continue
            chance, own_chance = spread(len(losses)), spread(self.count)
            alike = (concordance(told, found) or 0.0) - chance
            shares.append(alike / own if own > own_chance else 0.0)
        return float(min(max(min(shares, default=0.0), 0.0), 1.0)) * HALF / (HALF + len(losses))

    def _design(self, rows: Floats) -> Floats:
        return np.column_stack([one for at, column in enumerate(self._columns) for one in column.features(rows[:, at])])


def concordance(one: Floats, other: Floats) -> float | None:
    """Kendall's rank correlation, ties counted as neither (tau-b); None where one of them does not differ."""
    first, second = (np.sign(values[:, None] - values[None, :]) for values in (one, other))
    pairs = math.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return float((first * second).sum()) / pairs if pairs else None


def spread(count: int) -> float:
    """The standard deviation of Kendall's correlation between two orders that have nothing to do with each other."""
    return math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)))
