"""Scores as log-likelihood ratios: the affine map that is learnt, the optimum that no increasing map can pass, bins.

Everything weighs both classes alike, whatever their numbers, as Cllr does. Natural logarithms, costs in bits.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

from plastsearch.errors import DataError
from plastsearch.scores.metrics import Floats, checked, cllr

LEAST = 10  # clips of each class: two numbers learnt from fewer say nothing
FOLDS = 5
BINS = 10
SURE = 40.0  # natural log: where PAV finds no error it would say infinity


@dataclass(frozen=True)
class Affine:
    """Log-likelihood ratio = slope × score + offset."""

    slope: float
    offset: float
    separable: bool = False  # no score lies on the wrong side of another: the slope rests on a prior, not on the clips

    def of(self, scores: ArrayLike) -> Floats:
        """Ratios of scores."""
        found: Floats = self.slope * np.asarray(scores, dtype=np.float64) + self.offset
        return found


def fit_affine(bona: ArrayLike, spoof: ArrayLike) -> Affine:
    """The affine map of least Cllr: logistic regression with both classes of equal weight.

    Classes without overlap have no such map, for the cost falls as long as the slope grows. There Platt's targets stand
    in, which take each class for as sure as its number of clips allows.
    """
    high, low = checked(bona, "bona fide"), checked(spoof, "spoof")
    for values, what in ((high, "bona fide"), (low, "spoofed")):
        if values.size < LEAST:
            raise DataError(f"{values.size} {what} clips are too few to calibrate with; {LEAST} or more are needed")
    found = _fitted(high, low)
    if found.slope <= 0:
        raise DataError(
            "bona fide clips have no higher scores than spoofed ones: no calibration can mend that; "
            "are labels swapped, or are these another model's clips?"
        )
    return found


def _fitted(high: Floats, low: Floats) -> Affine:
    """The map of least cost, whichever way it points."""
    both = np.concatenate([high, low])
    middle, spread = float(np.median(both)), float(both.std())
    if spread == 0:
        raise DataError("all scores are equal: no calibration can make them tell anything")
    separable = bool(high.min() > low.max())
    sure = (1 - 1 / (high.size + 2), 1 / (low.size + 2)) if separable else (1.0, 0.0)
    targets = np.concatenate([np.full(high.size, sure[0]), np.full(low.size, sure[1])])
    weights = np.concatenate([np.full(high.size, 0.5 / high.size), np.full(low.size, 0.5 / low.size)])
    scaled = (both - middle) / spread  # so that one tolerance fits the scores of any network

    def cost(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        ratio = at[0] * scaled + at[1]
        value = weights @ (targets * np.logaddexp(0, -ratio) + (1 - targets) * np.logaddexp(0, ratio))
        pull = weights * (expit(ratio) - targets)
        return float(value), np.array([pull @ scaled, pull.sum()])

    found = minimize(cost, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 1000})
    slope, offset = float(found.x[0]) / spread, float(found.x[1])
    return Affine(slope, offset - slope * middle, separable)


def pav(bona: ArrayLike, spoof: ArrayLike) -> tuple[Floats, Floats]:
    """Different scores in order, and the log-likelihood ratio that pool-adjacent-violators gives each of them."""
    high, low = checked(bona, "bona fide"), checked(spoof, "spoof")
    scores, where = np.unique(np.concatenate([high, low]), return_inverse=True)
    of_bona = np.bincount(where[: high.size], minlength=scores.size) / high.size
    of_spoof = np.bincount(where[high.size :], minlength=scores.size) / low.size
    weight = of_bona + of_spoof
    share = isotonic_regression(of_bona / weight, weights=weight).x
    with np.errstate(divide="ignore"):
        ratio = np.log(share) - np.log1p(-share)
    return scores, ratio


def min_cllr(bona: ArrayLike, spoof: ArrayLike) -> float:
    """Cllr of the best increasing map of the scores, chosen with the labels in hand."""
    scores, ratio = pav(bona, spoof)
    finite = np.clip(ratio, -SURE, SURE)  # costs of sure and right answers are 0 to the last digit
    high, low = (finite[np.searchsorted(scores, np.asarray(values, dtype=np.float64))] for values in (bona, spoof))
    return cllr(high, low)


def cross_cllr(bona: ArrayLike, spoof: ArrayLike, seed: int = 0, folds: int = FOLDS) -> float:
    """Cllr of clips of which the affine map knew nothing: learnt on the other folds of each class."""
    rng = np.random.default_rng(seed)
    sets = []
    for values in (checked(bona, "bona fide"), checked(spoof, "spoof")):
        sets.append((values, rng.permutation(np.arange(values.size) % folds)))
    ratios: tuple[list[Floats], list[Floats]] = ([], [])
    for fold in range(folds):
        (high, of_high), (low, of_low) = sets
        affine = _fitted(high[of_high != fold], low[of_low != fold])
        for into, (values, of) in zip(ratios, sets, strict=True):
            into.append(affine.of(values[of == fold]))
    return cllr(np.concatenate(ratios[0]), np.concatenate(ratios[1]))


@dataclass(frozen=True)
class Bin:
    """Clips with alike probabilities: what was said of them on average, and how it was, with a 95 % interval."""

    said: float
    seen: float
    low: float
    high: float
    clips: int


def reliability(bona: ArrayLike, spoof: ArrayLike, bins: int = BINS) -> list[Bin]:
    """Ratios as probabilities at even odds against shares of bona fide clips; bins hold equal numbers of clips."""
    high, low = checked(bona, "bona fide"), checked(spoof, "spoof")
    said = expit(np.concatenate([high, low]))
    is_bona = np.arange(said.size) < high.size
    weights = np.where(is_bona, 0.5 / high.size, 0.5 / low.size)
    order = np.argsort(said, kind="stable")
    found = []
    for rows in np.array_split(order, min(bins, said.size)):
        of, weight = is_bona[rows], weights[rows]
        seen = float(weight[of].sum() / weight.sum())
        n = weight.sum() ** 2 / (weight**2).sum()  # as many clips of equal weight would say as much
        found.append(Bin(float(np.average(said[rows], weights=weight)), seen, *_wilson(seen, n), len(rows)))
    return found


def _wilson(share: float, n: float) -> tuple[float, float]:
    """95 % of a share that n clips show."""
    z = 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(share, centre - reach)), min(1.0, max(share, centre + reach))
