"""Noisy trials smoothed over their space: nearer to the truth, elsewhere too, and as unsure as it ought to be."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from plastsearch.pareto import surface
from plastsearch.pareto.surface import MOST, Column, Smooth, heard
from tests.pareto.test_likeness import COLUMNS, losses, rows


def test_lucky_trials_are_pulled_towards_their_neighbours():
    """Beside the truth, smoothed values of the very trials, and of points that nobody tried, beat what was measured."""
    own, elsewhere = rows(80, 1), rows(200, 2)
    true, noisy = losses(own)[:, 0], losses(own, 4.0, 3)[:, 0]
    model = Smooth(COLUMNS, own, noisy)
    assert np.std(model.of(own) - true) < 0.75 * np.std(noisy - true)
    assert spearmanr(model.of(elsewhere), losses(elsewhere)[:, 0]).statistic > 0.85
    assert model.luck > 0.1


def test_values_without_luck_are_kept():
    own = rows(80, 1)
    cost = losses(own)[:, 1]
    model = Smooth(COLUMNS, own, cost)
    assert model.luck < 0.05
    assert np.abs(model.of(own) - cost).max() < 0.5 * cost.std()


def test_draws_hold_the_truth_as_often_as_they_say():
    inside = []
    for seed in range(6):
        own, elsewhere = rows(60, seed), rows(80, 100 + seed)
        model = Smooth(COLUMNS, own, losses(own, 3.0, seed)[:, 0])
        drawn = model.draws(elsewhere, 400, np.random.default_rng(seed))
        low, high = np.quantile(drawn, [0.1, 0.9], axis=0)
        true = losses(elsewhere)[:, 0]
        inside.append(((low <= true) & (true <= high)).mean())
    assert 0.7 < np.mean(inside) < 0.97


def test_draws_lie_around_what_is_likely_and_neighbours_are_lucky_together():
    own = rows(40, 1)
    model = Smooth(COLUMNS, own, losses(own, 3.0)[:, 0])
    three = np.vstack([rows(1, 5), rows(1, 5), rows(1, 6)])
    drawn = model.draws(three, 4000, np.random.default_rng(0))
    assert drawn.mean(axis=0) == pytest.approx(model.of(three), abs=0.1 * drawn.std())
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.999
    assert np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1] < 0.9


def test_left_out_in_closed_form_is_a_fit_for_each(monkeypatch):
    """With the same pulls and luck."""
    own = rows(25, 1)
    found = losses(own, 3.0)[:, 0]
    model = Smooth(COLUMNS, own, found)
    monkeypatch.setattr(surface, "_likeliest", lambda *_: (model._pulls, model.luck))
    for at in (0, 7, 24):
        others = np.delete(np.arange(25), at)
        other = Smooth(COLUMNS, own[others], found[others])
        # Its level and scale are those of 24 trials: as good as the same.
        assert other.of(own[[at]])[0] == pytest.approx(model.left_out()[at], abs=0.1 * found.std())


def test_costs_over_decades_stay_positive():
    own = rows(60, 1)
    cost = np.exp(own[:, 8] * 8)
    model = Smooth(COLUMNS, own, cost)
    assert (model.draws(rows(100, 2), 20, np.random.default_rng(0)) > 0).all()
    assert spearmanr(model.of(rows(100, 2)), rows(100, 2)[:, 8]).statistic > 0.97


def test_values_that_are_all_alike_stay_alike():
    own = rows(10, 1)
    model = Smooth(COLUMNS, own, np.full(10, 7.0))
    assert model.of(rows(5, 2)).tolist() == [7.0] * 5
    assert model.draws(rows(5, 2), 3, np.random.default_rng(0)).tolist() == [[7.0] * 5] * 3


def test_one_trial_is_enough_to_be_asked():
    assert Smooth(COLUMNS, rows(1, 1), np.array([3.0])).of(rows(2, 2)).tolist() == [3.0, 3.0]


def test_how_far_values_lie_apart():
    column = Column(low=1, high=100, log=True)
    values = np.array([1.0, 10.0, 100.0, np.nan])
    expected = np.array([[0, 0.5, 1, 1], [0.5, 0, 0.5, 1], [1, 0.5, 0, 1], [1, 1, 1, 0]])
    assert column.apart(values, values) == pytest.approx(expected)
    labels = np.array([0.0, 2.0, np.nan])
    assert Column(3).apart(labels, labels).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert Column(low=5, high=5).apart(np.array([5.0]), np.array([5.0])).tolist() == [[0]]


def test_of_very_many_trials_the_best_are_heard_and_others_evenly():
    found = np.column_stack([np.random.default_rng(0).permutation(2000), np.ones(2000)]).astype(float)
    places = heard(found)
    assert len(places) == MOST == len(set(places.tolist()))
    assert set(np.argsort(found[:, 0])[: MOST // 2].tolist()) <= set(places.tolist())
    assert np.diff(places).max() < 60
    assert heard(found[:MOST]).tolist() == list(range(MOST))
