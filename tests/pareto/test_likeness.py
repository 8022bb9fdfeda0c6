"""A sweep counts for another as far as it foretells its ranks: fully, in part, or not at all."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from plastsearch.pareto.likeness import HALF, LEAST, Foretelling, concordance, spread
from plastsearch.pareto.surface import Column

COLUMNS = [Column(2)] * 6 + [Column(3), Column(low=1, high=100, log=True), Column(low=0, high=1)]


def rows(count, seed):
    rng = np.random.default_rng(seed)
    switches = rng.integers(0, 2, (count, 6)).astype(float)
    return np.column_stack([switches, rng.integers(0, 3, count), np.exp(rng.uniform(0, 4.6, count)), rng.random(count)])


def losses(found, noise=0.0, seed=0, worth=(5, 4, 3, 0, 0, 0)):
    rng = np.random.default_rng(seed)
    error = 40 - found[:, :6] @ np.array(worth) - 2 * np.log(found[:, 7]) + noise * rng.normal(size=len(found))
    return np.column_stack([error, found[:, :6].sum(axis=1) + found[:, 8]])


def weight(count, noise=0.0, **other):
    old, new = rows(80, 1), rows(count, 2)
    foretelling = Foretelling(COLUMNS, old, losses(old, noise, 3))
    return foretelling.weight(foretelling.of(new), losses(new, noise, 4, **other))


def test_concordance_is_kendalls_tau_b():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 9, 40).astype(float), rng.integers(0, 9, 40).astype(float)
    assert concordance(one, other) == pytest.approx(kendalltau(one, other).statistic)
    assert concordance(one, np.ones(40)) is None


def test_spread_is_that_of_orders_at_random():
    rng = np.random.default_rng(0)
    found = [concordance(rng.permutation(12).astype(float), np.arange(12.0)) for _ in range(3000)]
    assert np.std(found) == pytest.approx(spread(12), rel=0.05)


def full(count):
    """What own results leave of a full weight."""
    return HALF / (HALF + count)


def test_the_same_task_counts_nearly_in_full_the_more_is_known():
    found = [weight(count) / full(count) for count in (10, 20, 60)]
    assert found == sorted(found)
    assert found[0] > 0.5
    assert found[-1] > 0.85


def test_own_results_outgrow_it():
    assert weight(200) < weight(60) < weight(30)


def test_noise_does_not_make_a_like_task_unlike():
    """It is asked for no more than how well it ranks its own trials."""
    assert weight(60, noise=6.0) > 0.5 * full(60)


def test_the_opposite_task_counts_nothing():
    assert weight(60, worth=(-5, -4, -3, 0, 0, 0)) == 0


def test_a_task_with_other_useful_sites_counts_little_at_most():
    old = rows(60, 1)
    foretelling = Foretelling(COLUMNS, old, losses(old, 1.0))
    found = [
        foretelling.weight(foretelling.of(rows(30, 1000 + seed)), np.random.default_rng(seed).normal(size=(30, 2)))
        for seed in range(200)
    ]
    assert np.mean([one == 0 for one in found]) > 0.9
    assert max(found) < 0.5


def test_too_little_says_nothing():
    assert weight(LEAST - 1) == 0
    assert weight(LEAST) > 0


def test_an_objective_that_did_not_differ_there_has_no_opinion():
    old, new = rows(40, 1), rows(30, 2)
    flat = losses(old)
    flat[:, 1] = 7.0
    foretelling = Foretelling(COLUMNS, old, flat)
    assert foretelling.own[1] is None
    assert foretelling.weight(foretelling.of(new), losses(new)) > 0.8 * full(30)


def test_an_objective_of_noise_alone_teaches_nothing():
    old, new = rows(40, 1), rows(30, 2)
    noise = losses(old)
    noise[:, 1] = np.random.default_rng(5).normal(size=40)
    foretelling = Foretelling(COLUMNS, old, noise)
    assert foretelling.weight(foretelling.of(new), losses(new)) == 0


def test_its_own_ranks_are_those_of_trials_left_out():
    """Only what a model was not shown says how well it ranks."""
    old = rows(30, 1)
    found = losses(old, 6.0)
    shown = Foretelling(COLUMNS, old, found)
    assert concordance(shown.of(old)[:, 0], found[:, 0]) > shown.own[0] + 0.1
