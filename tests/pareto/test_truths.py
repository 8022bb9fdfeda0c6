"""Draws of true values hold what they say, whatever is known of the noise."""

import numpy as np
import pytest

from plastsearch.pareto.truths import truths

NO_COSTS = np.zeros((12, 0))


def test_without_noise_the_truth_is_what_was_measured():
    means = np.arange(12.0)
    assert (truths(means, np.zeros(12), NO_COSTS, 5, 3, np.random.default_rng(0)) == means).all()
    assert truths(np.zeros(0), np.zeros(0), np.zeros((0, 1)), 5, 3, np.random.default_rng(0)).shape == (5, 0)


@pytest.mark.parametrize(("luck", "spread"), [(0.5, 2.0), (2.0, 1.0)])
def test_intervals_of_single_rows_hold_their_true_values(luck, spread):
    rng = np.random.default_rng(5)
    held = []
    for _ in range(40):
        cost = rng.permutation(12.0 + np.arange(12))[:, None]
        true = 20 - 0.5 * cost[:, 0] + rng.normal(0, spread, 12)
        drawn = truths(true + rng.normal(0, luck, 12), np.full(12, luck**2), cost, 200, 0, rng)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        held.append(((low <= true) & (true <= high)).mean())
    assert 0.9 < np.mean(held) <= 1


def test_few_degrees_of_freedom_widen_what_may_be():
    rng = np.random.default_rng(2)
    means = rng.normal(0, 10, 12)  # differ far beyond luck, so that nothing is pulled in
    vague, sure = (truths(means, np.ones(12), NO_COSTS, 800, freedom, rng).std() for freedom in (1, 1000))
    own = [truths(means, np.ones(12), NO_COSTS, 800, freedom, rng).std(axis=0).mean() for freedom in (1, 1000)]
    assert own[0] > 1.3 * own[1]
    assert vague == pytest.approx(sure, rel=0.2)


def test_rows_that_differ_by_luck_alone_are_pulled_together():
    rng = np.random.default_rng(4)
    means = rng.normal(0, 2, 40)
    centres = truths(means, np.full(40, 4.0), np.zeros((40, 0)), 400, 0, rng).mean(axis=0)
    assert centres.std() < 0.5 * means.std()
    assert np.corrcoef(centres, means)[0, 1] > 0.9
