"""What true values may stand behind noisy means, and how likely each row then is on the front, or the best. No trials.

Of many rows the one that looks best is also the luckiest. So true values are drawn from a hierarchical model: they
scatter around what rows of equal cost have, and how far is not known either and is drawn, too, else intervals of a
front would hold the truth half as often as they say. (Gelman and others, Bayesian Data Analysis, 5.4.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plastsearch.pareto.front import Goal, front

CERTAIN = 0.9
DRAWS = 400
FAR = 4.0  # standard deviations
SPREADS = 40  # values that the spread of rows may take
SCALES = 8  # and the variance of runs, where few runs say how large it is
LEAST = 8  # rows, below which no slope can be told from chance
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Shares(NamedTuple):
    """In which share of possible truths each row is on the front, and in which it is the best by the first goal."""

    front: Floats
    best: Floats


def truths(means: Floats, lucks: Floats, costs: Floats, draws: int, freedom: int, rng: np.random.Generator) -> Floats:
    """Draws [draws, rows] of true values; `lucks` are the variances of the means, told by `freedom` degrees of freedom.

    `costs` [rows, k] are columns without noise, that true values may go with; freedom 0: the variances are known.
    """
    return _drawn(_beliefs(means, lucks, costs, draws, freedom), np.ones(len(means), dtype=np.bool_), rng)


def shares(
    values: ArrayLike,
    variances: Sequence[float],
    runs: Sequence[int],
    goals: Sequence[Goal],
    *,
    freedoms: Sequence[int] | None = None,
    candidates: Sequence[bool] | None = None,
    seed: int = 0,
) -> Shares:
    """How likely each row is on the front of the true values; `variances` of a single run and `freedoms` by column.

    Only `candidates` can be the best; all are where none are named.
    """
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(goals))
    points = points * np.array([-1.0 if goal == "max" else 1.0 for goal in goals])
    lucks = np.maximum(np.array(variances), 0.0) / np.asarray(runs, dtype=np.float64).reshape(-1, 1)
    if not len(points):
        return Shares(np.zeros(0), np.zeros(0))
    able = np.ones(len(points), dtype=np.bool_) if candidates is None else np.asarray(candidates, dtype=np.bool_)
    costs = points[:, ~lucks.any(axis=0)]
    known = [0] * len(goals) if freedoms is None else freedoms
    beliefs = [
        _beliefs(points[:, at], lucks[:, at], costs, DRAWS if lucks.any() else 1, known[at]) for at in range(len(goals))
    ]
    open_ = ~_hopeless(beliefs, able)
    rng = np.random.default_rng(seed)
    drawn = np.stack([_drawn(one, open_, rng) for one in beliefs], axis=2)
    inside, best = np.zeros(len(points)), np.zeros(len(points))
    rows, fit = np.flatnonzero(open_), np.flatnonzero(open_ & able)
    for truth in drawn:
        inside[rows] += front(truth, ["min"] * len(goals))
    if len(fit):
        first = drawn[:, able[open_], 0].argmin(axis=1)
        best[fit] = np.bincount(first, minlength=len(fit))
    return Shares(inside / len(drawn), best / len(drawn))


@dataclass(frozen=True)
class _Belief:
    """What is believed of one column if its means' variances are these, and how many draws go by that."""

    means: Floats
    lucks: Floats
    design: Floats
    count: int

    @cached_property
    def spreads(self) -> Floats:
        left = self.means - self.design @ np.linalg.lstsq(self.design, self.means, rcond=None)[0]
        widest = 3 * max(float(left.std()), float(np.sqrt(self.lucks.mean())))
        return np.asarray(widest * (np.arange(SPREADS) + 0.5) / SPREADS)  # none more likely than others beforehand

    @cached_property
    def fits(self) -> tuple[Floats, Floats, Floats]:
        """How likely each spread is, and what the slopes are then: estimates, and a root of their covariance."""
        weights = 1 / (self.spreads[:, None] ** 2 + self.lucks)
        weighed = weights[:, None, :] * self.design.T
        precision = weighed @ self.design + 1e-12 * np.eye(self.design.shape[1])
        slopes = np.linalg.solve(precision, (weighed @ self.means)[:, :, None])[:, :, 0]
        left = self.means - slopes @ self.design.T
        sizes = np.linalg.slogdet(precision)[1]
        likelihoods = 0.5 * (np.log(weights).sum(axis=1) - sizes - (weights * left**2).sum(axis=1))
        chances = np.exp(likelihoods - likelihoods.max())
        roots = np.linalg.inv(np.linalg.cholesky(precision)).transpose(0, 2, 1)
        return np.asarray(chances / chances.sum()), np.asarray(slopes), np.asarray(roots)

    def draw(self, rows: Mask, rng: np.random.Generator) -> Floats:
        """True values of these rows [count, rows]."""
        means, lucks, design = self.means[rows], self.lucks[rows], self.design[rows]
        if not lucks.any():
            return np.broadcast_to(means, (self.count, len(means))).copy()
        chances, slopes, roots = self.fits
        at = rng.choice(SPREADS, size=self.count, p=chances)
        drawn = slopes[at] + np.einsum("gpq,gq->gp", roots[at], rng.standard_normal((self.count, design.shape[1])))
        expected = drawn @ design.T
        trust = self.spreads[at, None] ** 2 / (self.spreads[at, None] ** 2 + lucks)
        luck = np.sqrt(trust * lucks) * rng.standard_normal(expected.shape)
        return np.asarray(expected + trust * (means - expected) + luck)

    def reach(self) -> tuple[Floats, Floats]:
        """How low and how high the true values may well be, by any spread that is not out of the question."""
        if not self.lucks.any():
            return self.means, self.means
        chances, slopes, _ = self.fits
        likely = chances > 1e-3
        expected = slopes[likely] @ self.design.T
        trust = self.spreads[likely, None] ** 2 / (self.spreads[likely, None] ** 2 + self.lucks)
        centre, error = expected + trust * (self.means - expected), np.sqrt(trust * self.lucks)
        return (centre - FAR * error).min(axis=0), (centre + FAR * error).max(axis=0)


def _beliefs(means: Floats, lucks: Floats, costs: Floats, draws: int, freedom: int) -> list[_Belief]:
    """One for each value that the variance of a run may well have."""
    from scipy.special import chdtri  # loads in 0.2 s, with which no command need begin

    if not freedom or not lucks.any():
        scales = [(1.0, draws)]
    else:
        tails = (np.arange(SCALES) + 0.5) / SCALES
        counts = [len(part) for part in np.array_split(np.arange(draws), SCALES)]
        scales = [(float(freedom / chdtri(freedom, tail)), count) for tail, count in zip(tails, counts, strict=True)]
    least = 1e-9 * lucks.max(initial=0.0)  # beside noisy rows one that is exact, which no weight can be infinite for
    return [_Belief(means, scale * np.maximum(lucks, least), _design(costs), count) for scale, count in scales]


def _drawn(beliefs: Sequence[_Belief], rows: Mask, rng: np.random.Generator) -> Floats:
    found = np.concatenate([one.draw(rows, rng) for one in beliefs])
    return found[rng.permutation(len(found))]


def _hopeless(beliefs: Sequence[Sequence[_Belief]], able: Mask) -> Mask:
    """Rows that some other beats even if it has bad luck and they have good: of thousands, most."""
    reaches = [[one.reach() for one in column] for column in beliefs]
    best = np.stack([np.min([low for low, _ in column], axis=0) for column in reaches], axis=1)
    worst = np.stack([np.max([high for _, high in column], axis=0) for column in reaches], axis=1)
    beaten = np.zeros(len(best), dtype=np.bool_)
    for row in worst[front(worst, ["min"] * worst.shape[1])]:
        beaten |= (row <= best).all(axis=1) & (row < best).any(axis=1)
    if able.any():  # who may be the best stays, whoever else beats it
        beaten &= ~(able & (best[:, 0] <= worst[able, 0].min()))
    return beaten


def _design(costs: Floats) -> Floats:
    """A constant and the ranks of costs, which span decades."""
    columns = [np.ones(len(costs))]
    if len(costs) >= LEAST:
        ranks = [np.unique(column, return_inverse=True)[1].astype(np.float64) for column in costs.T]
        columns += [rank / rank.max() for rank in ranks if rank.max() > 0]
    return np.stack(columns, axis=1)
