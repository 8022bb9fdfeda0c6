"""Rank correlation of early and late results, and what halting by them loses."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from plastsearch.pareto.foretelling import LEAST, LOW, lost, rank_correlation, words


@pytest.mark.parametrize("seed", range(5))
def test_it_is_spearmans_also_with_equal_values(seed):
    rng = np.random.default_rng(seed)
    early, late = rng.integers(0, 6, 30), rng.integers(0, 6, 30)
    assert rank_correlation(early, late) == pytest.approx(spearmanr(early, late).statistic)


def test_it_asks_for_the_order_alone():
    early = np.linspace(1, 2, LEAST)
    assert rank_correlation(early, np.exp(5 * early)) == pytest.approx(1.0)
    assert rank_correlation(early, -early) == pytest.approx(-1.0)


def test_too_few_trials_or_equal_ones_say_nothing():
    assert rank_correlation([1.0] * (LEAST - 1), list(range(LEAST - 1))) is None
    assert rank_correlation([1.0] * LEAST, list(range(LEAST))) is None


@pytest.mark.parametrize("correlation", [0.0, 0.3, LOW, 0.9])
def test_what_halting_loses_is_what_draws_show(correlation):
    rng = np.random.default_rng(0)
    late = rng.normal(size=(20_000, 16))
    early = correlation * late + (1 - correlation**2) ** 0.5 * rng.normal(size=late.shape)
    best = np.argmax(late, axis=1)
    worse = (early > early[np.arange(len(best)), best][:, None]).sum(axis=1) >= 8
    assert lost(correlation) == pytest.approx(worse.mean(), abs=0.04)


def test_words_change_at_the_threshold():
    assert words(LOW - 0.01) == "halting may stop the best"
    assert words(LOW) == "halting seldom stops the best"
