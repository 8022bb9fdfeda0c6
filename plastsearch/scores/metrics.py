"""Detection metrics by the ASVspoof conventions, from scores alone: higher means bona fide. t-DCF is in tdcf.py.

Numpy only. Scores are logit differences, never softmax probabilities: those tie at 1.0 and move the EER.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plastsearch.errors import DataError

Floats = NDArray[np.float64]

SPOOF_PRIOR, MISS_COST, FALSE_ALARM_COST = 0.05, 1.0, 10.0  # ASVspoof 5, track 1
AT_ONCE = 1 << 15  # numbers resampled together: as many as fit a cache
LEAST_SPEAKERS = 8  # fewer clusters than this say nothing about the spread between speakers


@dataclass(frozen=True)
class Curve:
    """All trials in ascending order of score, bona fide first among equal scores: one operating point after each."""

    scores: Floats
    is_bona: NDArray[np.bool_]
    n_bona: int
    n_spoof: int

    @property
    def miss(self) -> Floats:
        """Share of bona fide among the k lowest, k = 0 … n."""
        return np.concatenate(([0.0], np.cumsum(self.is_bona) / self.n_bona))

    @property
    def false_alarm(self) -> Floats:
        """Share of spoof above the k lowest, k = 0 … n."""
        return np.concatenate(([1.0], (self.n_spoof - np.cumsum(~self.is_bona)) / self.n_spoof))

    def threshold(self, point: int) -> float:
        """The score at operating point `point`; the point before all trials lies 0.001 below the lowest."""
        return float(self.scores[0] - 0.001 if point == 0 else self.scores[point - 1])


def checked(scores: ArrayLike, what: str) -> Floats:
    """Scores of one class as float64; none, NaN and infinity are errors, since a lost score is no score."""
    values = np.asarray(scores, dtype=np.float64).ravel()
    if values.size == 0:
        raise DataError(f"no {what} scores: an error rate needs clips of both classes, bona fide and spoof")
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(f"{int(bad.sum())} of {values.size} {what} scores are NaN or infinite, the first at row "
                        f"{int(bad.argmax())}; every score must be a finite number")  # fmt: skip
    return values


def curve(bona: ArrayLike, spoof: ArrayLike) -> Curve:
    """Merge two sorted classes, which is several times faster than a stable argsort of all."""
    low, high = np.sort(checked(bona, "bona fide")), np.sort(checked(spoof, "spoof"))
    is_bona = np.zeros(low.size + high.size, dtype=np.bool_)
    if low.size <= high.size:
        is_bona[np.arange(low.size) + np.searchsorted(high, low, side="left")] = True
    else:
        is_bona[:] = True
        is_bona[np.arange(high.size) + np.searchsorted(low, high, side="right")] = False
    scores = np.empty(is_bona.size)
    scores[is_bona], scores[~is_bona] = low, high
    return Curve(scores, is_bona, low.size, high.size)


def eer(bona: ArrayLike, spoof: ArrayLike) -> tuple[float, float]:
    """Official equal error rate in percent, and its threshold: no interpolation, ties not merged, constant is 100."""
    return eer_of(curve(bona, spoof))


def eer_of(of: Curve) -> tuple[float, float]:
    """The same of a curve that is there already."""
    miss, false_alarm = of.miss, of.false_alarm
    point = int(np.argmin(np.abs(miss - false_alarm)))  # the first of equals, as in the official script
    return 100.0 * float(miss[point] + false_alarm[point]) / 2, of.threshold(point)


def eer_tie_safe(bona: ArrayLike, spoof: ArrayLike) -> float:
    """Equal error rate in percent with equal scores crossed in one step; the official value where no scores tie."""
    return _tie_safe_of(curve(bona, spoof))


def _tie_safe_of(of: Curve) -> float:
    ends = np.concatenate(([True], np.diff(of.scores) != 0, [True]))  # operating points no tie straddles
    miss, false_alarm = of.miss[ends], of.false_alarm[ends]
    point = int(np.argmin(np.abs(miss - false_alarm)))
    return 100.0 * float(miss[point] + false_alarm[point]) / 2


def min_dcf(
    bona: ArrayLike, spoof: ArrayLike, spoof_prior: float = SPOOF_PRIOR, miss_cost: float = MISS_COST,
    false_alarm_cost: float = FALSE_ALARM_COST,
) -> float:  # fmt: skip
    """Normalised detection cost at the best threshold (ASVspoof 5, primary metric of track 1)."""
    of = curve(bona, spoof)
    target_prior = 1 - spoof_prior
    # Written in the order of the official script, so that the last digit agrees.
    cost = miss_cost * of.miss * target_prior + false_alarm_cost * of.false_alarm * (1 - target_prior)
    return float(cost.min() / min(miss_cost * target_prior, false_alarm_cost * (1 - target_prior)))


def act_dcf(
    bona: ArrayLike, spoof: ArrayLike, spoof_prior: float = SPOOF_PRIOR, miss_cost: float = MISS_COST,
    false_alarm_cost: float = FALSE_ALARM_COST,
) -> float:  # fmt: skip
    """Normalised detection cost at the threshold that is right if scores are log-likelihood ratios."""
    of_miss, of_false_alarm = miss_cost * (1 - spoof_prior), false_alarm_cost * spoof_prior
    threshold = -np.log(of_miss / of_false_alarm)
    miss = np.mean(checked(bona, "bona fide") < threshold)
    false_alarm = np.mean(checked(spoof, "spoof") >= threshold)
    return float((of_miss * miss + of_false_alarm * false_alarm) / min(of_miss, of_false_alarm))


def cllr(bona: ArrayLike, spoof: ArrayLike) -> float:
    """Cost of log-likelihood ratios in bits: 0 is perfect, 1 says nothing, more misleads."""
    of_bona = np.logaddexp(0.0, -checked(bona, "bona fide")).mean()
    of_spoof = np.logaddexp(0.0, checked(spoof, "spoof")).mean()
    return float((of_bona + of_spoof) / 2 / np.log(2.0))


def resamples(
    is_bona: NDArray[np.bool_], speakers: NDArray[np.int64] | None, replicates: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """How often each clip is drawn, a few replicates at a time [R, N]: with replacement, in strata that keep both
    classes; whole speakers, given as numbers from 0, where they are known."""
    members = np.arange(is_bona.size) if speakers is None else speakers
    strata = [np.flatnonzero(is_bona), np.flatnonzero(~is_bona)]
    if speakers is not None:
        # Speakers heard in both classes stay whole: one draw moves their bona fide and their spoofed clips together.
        has_bona = np.bincount(speakers[is_bona], minlength=speakers.max() + 1) > 0
        has_spoof = np.bincount(speakers[~is_bona], minlength=speakers.max() + 1) > 0
        kinds = has_bona + 2 * has_spoof.astype(np.int64)
        strata = [np.flatnonzero(kinds == kind) for kind in (1, 2, 3)]
    place = np.empty(int(members.max()) + 1, dtype=np.int64)
    place[np.concatenate(strata)] = np.arange(place.size)  # of a clip or speaker among the strata, one after another
    place = place[members]
    at_once = max(1, AT_ONCE // is_bona.size)
    for first in range(0, replicates, at_once):
        rows = min(at_once, replicates - first)
        drawn = [draws(stratum.size, rows, rng) for stratum in strata if stratum.size]
        yield np.take(np.concatenate(drawn, axis=1), place, axis=1)


def draws(size: int, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each of `size` comes up in as many draws, in each row anew."""
    places = rng.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), minlength=rows * size).reshape(rows, size)


def weighted_eers(of: Curve, weights: NDArray[np.int64]) -> Floats:
    """The official EER of the trials repeated by each row of weights, without repeating them.

    In whole numbers: miss - false_alarm = (climb - n_bona n_spoof) / (n_bona n_spoof), where a bona fide trial climbs
    by n_spoof and a spoof by n_bona, so that the crossing is one search in a rising line.
    """
    n_bona = (weights * of.is_bona).sum(axis=1)
    n_spoof = weights.sum(axis=1) - n_bona
    goal = n_bona * n_spoof
    climb = np.where(of.is_bona, n_spoof[:, None], n_bona[:, None])
    climb *= weights
    np.cumsum(climb, axis=1, out=climb)
    at = np.array([np.searchsorted(line, end) for line, end in zip(climb, goal, strict=True)])
    rows = np.arange(len(weights))
    crosses = of.is_bona[at]
    step = np.where(crosses, n_spoof, n_bona)
    before = climb[rows, at] - step * weights[rows, at]
    copies = -((before - goal) // step)  # copies of this trial until the line is crossed
    copies -= goal - (before + (copies - 1) * step) <= before + copies * step - goal
    bona_below = np.array([line[:end][of.is_bona[:end]].sum() for line, end in zip(weights, at, strict=True)])
    spoof_below = (before - n_spoof * bona_below) // n_bona
    bona_below = bona_below + np.where(crosses, copies, 0)
    spoof_below = spoof_below + np.where(crosses, 0, copies)
    found: Floats = 50.0 * (bona_below / n_bona + (n_spoof - spoof_below) / n_spoof)
    return found
