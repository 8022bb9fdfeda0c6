"""How alike two sweeps are: does what one measured foretell how the other's trials rank? Numbers only, no trials.

The idea of weighing earlier tasks by how alike they rank: Watanabe et al., IJCAI 2023, "Speeding up multi-objective
hyperparameter optimization by task similarity-based meta-learning for the tree-structured Parzen estimator". There the
overlap of the best trials' densities is the measure; here the rank correlation of each objective with what a smooth
model of the earlier sweep foretells, since overlap of the best is not seen before some of the best are found.
"""

import math
from collections.abc import Sequence

import numpy as np

from plastsearch.pareto.surface import Column, Floats, Smooth, heard

LEAST = 8  # trials of either sweep, below which nothing is said
HALF = 30  # own results with which an earlier sweep counts half: what is measured here needs no foretelling


class Foretelling:
    """A model of every objective (less is better) over the trials of one sweep."""

    def __init__(self, columns: Sequence[Column], rows: Floats, losses: Floats) -> None:
        places = heard(losses)
        rows, losses = rows[places], losses[places]
        self.count = len(rows)
        self._models = [Smooth(columns, rows, column) for column in losses.T]
        self.own: list[float | None] = [None] * losses.shape[1]
        if self.count >= LEAST:
            # How well it ranks its own trials: as well as that is all that can be asked of it elsewhere.
            pairs = zip(self._models, losses.T, strict=True)
            self.own = [concordance(model.left_out(), found) for model, found in pairs]

    def of(self, rows: Floats) -> Floats:
        """What it foretells of other trials."""
        return np.column_stack([model.of(rows) for model in self._models])

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


def concordance(one: Floats, other: Floats) -> float | None:
    """Kendall's rank correlation, ties counted as neither (tau-b); None where one of them does not differ."""
    first, second = (np.sign(values[:, None] - values[None, :]) for values in (one, other))
    pairs = math.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return float((first * second).sum()) / pairs if pairs else None


def spread(count: int) -> float:
    """The standard deviation of Kendall's correlation between two orders that have nothing to do with each other."""
    return math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)))
