"""What true values may stand behind noisy means: draws from a hierarchical model, for the place of a whole front.

The true values of rows scatter around what rows of equal cost have; how far is not known either and is drawn, too, else
intervals of a front would hold the truth half as often as they say. (Gelman and others, Bayesian Data Analysis, 5.4.)
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

Floats = NDArray[np.float64]
SPREADS = 40  # values that the spread of rows may take
SCALES = 8  # and the variance of runs, where few runs say how large it is
LEAST = 8  # rows, below which no slope can be told from chance


def truths(means: Floats, lucks: Floats, costs: Floats, draws: int, freedom: int, rng: np.random.Generator) -> Floats:
    """Draws [draws, rows] of true values; `lucks` are the variances of the means, told by `freedom` degrees of freedom.

    `costs` [rows, k] are columns without noise, that true values may go with; freedom 0: the variances are known.
    """
    if not len(means) or not lucks.any():
        return np.broadcast_to(means, (draws, len(means))).copy()
    design = _design(costs)
    found = [_drawn(means, scale * lucks, design, count, rng) for scale, count in _scales(draws, freedom)]
    return np.concatenate(found)[rng.permutation(draws)]


def _scales(draws: int, freedom: int) -> list[tuple[float, int]]:
    """By what a variance may be larger than estimated, and how many draws go by that."""
    if not freedom:
        return [(1.0, draws)]
    tails = (np.arange(SCALES) + 0.5) / SCALES
    counts = [len(part) for part in np.array_split(np.arange(draws), SCALES)]
    return [(float(freedom / chdtri(freedom, tail)), count) for tail, count in zip(tails, counts, strict=True)]


def _design(costs: Floats) -> Floats:
    """A constant and the ranks of costs, which span decades."""
    columns = [np.ones(len(costs))]
    if len(costs) >= LEAST:
        ranks = [np.unique(column, return_inverse=True)[1].astype(np.float64) for column in costs.T]
        columns += [rank / rank.max() for rank in ranks if rank.max() > 0]
    return np.stack(columns, axis=1)


def _drawn(means: Floats, lucks: Floats, design: Floats, draws: int, rng: np.random.Generator) -> Floats:
    lucks = np.maximum(lucks, 1e-9 * lucks.max())
    left = means - design @ np.linalg.lstsq(design, means, rcond=None)[0]
    widest = 3 * max(float(left.std()), float(np.sqrt(lucks.mean())))
    spreads = widest * (np.arange(SPREADS) + 0.5) / SPREADS  # none more likely than others beforehand
    fits = [_fit(means, lucks, design, spread) for spread in spreads]
    likelihoods = np.array([likelihood for likelihood, _, _ in fits])
    chances = np.exp(likelihoods - likelihoods.max())
    found = np.empty((draws, len(means)))
    for n, at in enumerate(rng.choice(SPREADS, size=draws, p=chances / chances.sum())):
        _, slopes, root = fits[at]
        expected = design @ (slopes + root @ rng.standard_normal(design.shape[1]))
        trust = spreads[at] ** 2 / (spreads[at] ** 2 + lucks)
        found[n] = expected + trust * (means - expected) + np.sqrt(trust * lucks) * rng.standard_normal(len(means))
    return found


def _fit(means: Floats, lucks: Floats, design: Floats, spread: float) -> tuple[float, Floats, Floats]:
    """Log likelihood of a spread, and what the slopes are then: estimates, and a root of their covariance."""
    weights = 1 / (spread**2 + lucks)
    precision = design.T @ (weights[:, None] * design) + 1e-12 * np.eye(design.shape[1])
    slopes = np.linalg.solve(precision, design.T @ (weights * means))
    left = means - design @ slopes
    likelihood = np.log(weights).sum() - np.linalg.slogdet(precision)[1] - float((weights * left**2).sum())
    root = np.linalg.inv(np.linalg.cholesky(precision)).T
    return 0.5 * float(likelihood), np.asarray(slopes, dtype=np.float64), np.asarray(root, dtype=np.float64)
