"""What is luck in values of trials, and what the trials near by say instead."""

import numpy as np
import pytest

from plastsearch.pareto.smoothing import LEAST, distances, smoothed


def world(seed, noise, count=60):
    """Rows of three switches and a number, what they are worth, and what one run of each showed."""
    rng = np.random.default_rng(seed)
    switches = rng.integers(0, 2, (count, 3)).astype(np.float64)
    number = rng.uniform(0, 4, count)
    worth = 3 * switches[:, 0] - 2 * switches[:, 1] + number
    apart = distances([*((column, 0.0) for column in switches.T), (number, 4.0)])
    return apart, worth, worth + rng.normal(0, noise, count)


def test_rows_differ_in_labels_in_shares_of_a_span_and_in_what_counts():
    labels = (np.array([0.0, 2.0, 2.0]), 0.0)
    numbers = (np.array([1.0, 3.0, np.nan]), 4.0)
    assert distances([labels, numbers]).tolist() == [[0, 1.5, 2], [1.5, 0, 1], [2, 1, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_values_without_luck_come_back(seed):
    apart, worth, _ = world(seed, 0)
    found, luck = smoothed(apart, worth[:, None], np.ones(60))
    assert found[:, 0] == pytest.approx(worth, abs=0.1 * worth.std())
    assert luck < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_luck_is_found_and_taken_away_from_the_column_that_has_it(seed):
    apart, worth, measured = world(seed, 3)
    found, luck = smoothed(apart, np.stack([measured, worth], axis=1), np.ones(60))
    assert np.abs(found[:, 0] - worth).mean() < 0.75 * np.abs(measured - worth).mean()
    assert found[:, 1] == pytest.approx(worth, abs=0.1 * worth.std())
    assert 0.05 < luck < 0.75


def test_what_ran_often_keeps_its_mean():
    apart, _, measured = world(0, 3)
    runs = np.ones(60)
    runs[7] = 200
    once, often = (smoothed(apart, measured[:, None], one)[0][7, 0] for one in (np.ones(60), runs))
    assert abs(often - measured[7]) < 0.2 * abs(once - measured[7])


def test_of_few_values_and_of_equal_ones_nothing_is_said():
    apart, _, measured = world(0, 3)
    few = slice(LEAST - 1)
    found, luck = smoothed(apart[few, few], measured[few, None], np.ones(LEAST - 1))
    assert (found[:, 0] == measured[few]).all()
    assert luck == 0
    assert (smoothed(apart, np.ones((60, 1)), np.ones(60))[0] == 1).all()
