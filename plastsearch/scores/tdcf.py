"""Tandem detection cost (t-DCF) of a detector before a speaker verifier: the 2019 legacy and the 2021 revised form.

The two are different measures and their values are not comparable.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plastsearch.errors import DataError
from plastsearch.scores.metrics import checked, curve, eer

SPOOF_PRIOR = 0.05
TARGET_PRIOR, NONTARGET_PRIOR = (1 - SPOOF_PRIOR) * 0.99, (1 - SPOOF_PRIOR) * 0.01
MISS_COST, FALSE_ALARM_COST = 1.0, 10.0  # of verifier and detector alike


@dataclass(frozen=True)
class VerifierErrors:
    """Error rates of the speaker verifier at its own equal-error threshold."""

    miss: float
    false_alarm: float
    spoof_accepted: float


def verifier_errors(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> VerifierErrors:
    """The verifier's rates, from the ASV scores that ASVspoof supplies."""
    threshold = eer(target, nontarget)[1]
    return VerifierErrors(
        miss=float(np.mean(checked(target, "target") < threshold)),
        false_alarm=float(np.mean(checked(nontarget, "nontarget") >= threshold)),
        spoof_accepted=float(np.mean(checked(spoof, "spoof (verifier)") >= threshold)),
    )


def min_tdcf_2019(bona: ArrayLike, spoof: ArrayLike, verifier: VerifierErrors) -> float:
    """Smallest normalised legacy t-DCF: the detector's cost relative to accepting or rejecting everything."""
    of_miss = TARGET_PRIOR * (MISS_COST - MISS_COST * verifier.miss) - (
        NONTARGET_PRIOR * FALSE_ALARM_COST * verifier.false_alarm
    )
    of_false_alarm = FALSE_ALARM_COST * SPOOF_PRIOR * verifier.spoof_accepted
    return _smallest(bona, spoof, 0.0, of_miss, of_false_alarm)


def min_tdcf_2021(bona: ArrayLike, spoof: ArrayLike, verifier: VerifierErrors) -> float:
    """Smallest normalised revised t-DCF, which also counts what the verifier costs whatever the detector does."""
    fixed = TARGET_PRIOR * MISS_COST * verifier.miss + NONTARGET_PRIOR * FALSE_ALARM_COST * verifier.false_alarm
    of_miss = TARGET_PRIOR * MISS_COST - fixed
    of_false_alarm = SPOOF_PRIOR * FALSE_ALARM_COST * verifier.spoof_accepted
    return _smallest(bona, spoof, fixed, of_miss, of_false_alarm)


def _smallest(bona: ArrayLike, spoof: ArrayLike, fixed: float, of_miss: float, of_false_alarm: float) -> float:
    if min(of_miss, of_false_alarm) < 0:
        raise DataError("t-DCF weights are negative: the verifier is worse than chance; are its labels swapped?")
    of = curve(bona, spoof)
    if np.unique(of.scores).size < 3:
        raise DataError("t-DCF needs at least three different scores; hard decisions cannot be evaluated")
    cost = fixed + of_miss * of.miss + of_false_alarm * of.false_alarm
    default = fixed + min(of_miss, of_false_alarm)
    if default == 0:
        raise DataError("t-DCF is undefined: the verifier accepts no spoof at all, so no detector is needed")
    return float(cost.min() / default)
