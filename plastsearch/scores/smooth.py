"""Metrics of the same order as an EER that move in finer steps, so that fewer seeds tell two networks apart."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from plastsearch.scores.metrics import Floats, checked, curve

_HALVINGS = 60
_ZERO, _ONE = -39.0, 9.0  # beyond, the distribution function is 0 and 1 in double precision


def auc(bona: ArrayLike, spoof: ArrayLike) -> float:
    """Probability that a bona fide clip scores above a spoof; equal scores count half."""
    of = curve(bona, spoof)
    _, at, ties = np.unique(of.scores, return_inverse=True, return_counts=True)
    # Mean rank of equal scores: the last of them minus half their number.
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[at]
    above = float(ranks[of.is_bona].sum()) - of.n_bona * (of.n_bona + 1) / 2
    return above / (of.n_bona * of.n_spoof)


def eer_smooth(bona: ArrayLike, spoof: ArrayLike) -> float:
    """Equal error rate in percent of both classes' scores spread by a narrow Gaussian kernel."""
    # Every clip near the threshold has a say in it, not only the one that happens to lie there.
    of_bona, of_spoof = checked(bona, "bona fide"), checked(spoof, "spoof")
    width_bona, width_spoof = _width(of_bona), _width(of_spoof)
    low = min(of_bona.min() - 8 * width_bona, of_spoof.min() - 8 * width_spoof)
    high = max(of_bona.max() + 8 * width_bona, of_spoof.max() + 8 * width_spoof)
    miss = false_alarm = 0.0
    last = np.nan
    for _ in range(_HALVINGS):
        threshold = (low + high) / 2
        if threshold == last:  # no number lies between: nothing would change any more
            break
        last = threshold
        miss = float(_below((threshold - of_bona) / width_bona).mean())
        false_alarm = float(_below((of_spoof - threshold) / width_spoof).mean())
        low, high = (threshold, high) if miss < false_alarm else (low, threshold)
    return 50.0 * (miss + false_alarm)


def _below(distance: Floats) -> Floats:
    """The normal distribution function, worked out only where it is neither 0 nor 1 to the last digit."""
    found = (distance > 0).astype(np.float64)
    near = np.flatnonzero((distance > _ZERO) & (distance < _ONE))
    found[near] = ndtr(distance[near])
    return found


def _width(values: Floats) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    spread = float(min(values.std(), (high - low) / 1.349) or values.std())
    # Constant scores have no width: one too small to see keeps the division defined.
    # Half of Silverman's width: all of it would raise a rate of 16 % by more than a point.
    return 0.53 * spread * values.size**-0.2 or 1e-9 * max(1.0, float(np.abs(values).max()))
