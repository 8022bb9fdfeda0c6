"""Measures of a score file that a paired comparison can ask for: the value, and its values over resampled clips."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plastsearch.scores.metrics import (
    FALSE_ALARM_COST,
    MISS_COST,
    SPOOF_PRIOR,
    Floats,
    cllr,
    curve,
    eer,
    min_dcf,
    weighted_eers,
)

Weights = NDArray[np.int64]  # how often each clip is drawn, a row for each replicate
Drawn = Callable[[Weights], Floats]


@dataclass(frozen=True)
class Measure:
    """`value` of scores and classes; `resampled` prepares them once and then takes weights; lower is better."""

    name: str  # as a person reads it
    unit: str
    value: Callable[[Floats, NDArray[np.bool_]], float]
    resampled: Callable[[Floats, NDArray[np.bool_]], Drawn]
    step: Callable[[NDArray[np.bool_]], float]  # half of the least by which it moves: no difference is known better


def _eer_value(scores: Floats, is_bona: NDArray[np.bool_]) -> float:
    return eer(scores[is_bona], scores[~is_bona])[0]


def _eer_resampled(scores: Floats, is_bona: NDArray[np.bool_]) -> Drawn:
    of, order = curve(scores[is_bona], scores[~is_bona]), _in_order(scores, is_bona)
    return lambda weights: weighted_eers(of, weights[:, order])


def _min_dcf_value(scores: Floats, is_bona: NDArray[np.bool_]) -> float:
    return min_dcf(scores[is_bona], scores[~is_bona])


def _min_dcf_resampled(scores: Floats, is_bona: NDArray[np.bool_]) -> Drawn:
    order = _in_order(scores, is_bona)
    bona = is_bona[order]
    of_miss, of_false_alarm = MISS_COST * (1 - SPOOF_PRIOR), FALSE_ALARM_COST * SPOOF_PRIOR

    def drawn(weights: Weights) -> Floats:
        weights = weights[:, order]
        missed = np.cumsum(weights * bona, axis=1)
        passed = np.cumsum(weights * ~bona, axis=1)
        miss = missed / missed[:, -1:]
        false_alarm = 1 - passed / passed[:, -1:]
        cost = (of_miss * miss + of_false_alarm * false_alarm).min(axis=1)
        found: Floats = np.minimum(cost, of_false_alarm) / min(of_miss, of_false_alarm)  # below all trials, too
        return found

    return drawn


def _cllr_value(scores: Floats, is_bona: NDArray[np.bool_]) -> float:
    return cllr(scores[is_bona], scores[~is_bona])


def _cllr_resampled(scores: Floats, is_bona: NDArray[np.bool_]) -> Drawn:
    costs = np.logaddexp(0.0, np.where(is_bona, -scores, scores)) / np.log(2.0)

    def drawn(weights: Weights) -> Floats:
        of_bona = (weights[:, is_bona] @ costs[is_bona]) / weights[:, is_bona].sum(axis=1)
        of_spoof = (weights[:, ~is_bona] @ costs[~is_bona]) / weights[:, ~is_bona].sum(axis=1)
        found: Floats = (of_bona + of_spoof) / 2
        return found

    return drawn


def _in_order(scores: Floats, is_bona: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where the trials of a curve stand among the clips: ascending, bona fide first among equal scores."""
    return np.lexsort((~is_bona, scores))


def _rarer(is_bona: NDArray[np.bool_]) -> int:
    return int(min(is_bona.sum(), (~is_bona).sum()))


EER = Measure("EER", "%", _eer_value, _eer_resampled, lambda is_bona: 50.0 / _rarer(is_bona))
MIN_DCF = Measure("minDCF", "", _min_dcf_value, _min_dcf_resampled, lambda is_bona: 0.5 / _rarer(is_bona))
CLLR = Measure("Cllr", "bits", _cllr_value, _cllr_resampled, lambda _: 0.0)
MEASURES = (EER, MIN_DCF, CLLR)
