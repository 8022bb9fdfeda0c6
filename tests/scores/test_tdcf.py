"""Tandem costs against their equations, written out trial by trial."""

import numpy as np
import pytest

from plastsearch.errors import DataError
from plastsearch.scores.metrics import curve
from plastsearch.scores.tdcf import VerifierErrors, min_tdcf_2019, min_tdcf_2021, verifier_errors

VERIFIER = VerifierErrors(miss=0.02, false_alarm=0.03, spoof_accepted=0.6)


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(2, 1, 80), rng.normal(0, 1, 300)


def test_legacy_cost_is_the_equation(scores):
    of = curve(*scores)
    c1 = 0.9405 * (1 - 0.02) - 0.0095 * 10 * 0.03
    c2 = 10 * 0.05 * 0.6
    expected = min((c1 * miss + c2 * fa) / min(c1, c2) for miss, fa in zip(of.miss, of.false_alarm, strict=True))
    assert min_tdcf_2019(*scores, VERIFIER) == pytest.approx(expected)


def test_revised_cost_is_the_equation(scores):
    of = curve(*scores)
    c0 = 0.9405 * 0.02 + 0.0095 * 10 * 0.03
    c1, c2 = 0.9405 - c0, 0.05 * 10 * 0.6
    expected = min(
        (c0 + c1 * miss + c2 * fa) / (c0 + min(c1, c2)) for miss, fa in zip(of.miss, of.false_alarm, strict=True)
    )
    assert min_tdcf_2021(*scores, VERIFIER) == pytest.approx(expected)


def test_a_perfect_detector_costs_only_the_verifier():
    assert min_tdcf_2019([2, 3], [0, 1], VERIFIER) == 0
    assert 0 < min_tdcf_2021([2, 3], [0, 1], VERIFIER) < 1
    assert min_tdcf_2021([0, 1], [2, 3], VERIFIER) == pytest.approx(1)  # a useless one costs what none would


def test_verifier_rates_are_taken_at_its_own_threshold():
    rates = verifier_errors([2.0, 3.0, 4.0, 0.5], [0.0, 1.0, -1.0, 2.5], [3.0, 1.0])
    assert rates == VerifierErrors(miss=0.25, false_alarm=0.5, spoof_accepted=1.0)  # a score at the threshold passes


def test_refusals(scores):
    with pytest.raises(DataError, match="three different scores"):
        min_tdcf_2019([1, 1], [0, 1], VERIFIER)
    with pytest.raises(DataError, match="labels swapped"):
        min_tdcf_2019(*scores, VerifierErrors(miss=0.999, false_alarm=1, spoof_accepted=0.5))
    with pytest.raises(DataError, match="no spoof at all"):
        min_tdcf_2019(*scores, VerifierErrors(miss=0.01, false_alarm=0.01, spoof_accepted=0))
