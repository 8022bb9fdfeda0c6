"""Who belongs to the front, where values are means of few runs: calibrated, and sceptical of the luckiest."""

import numpy as np
import pytest

from plastsearch.pareto.front import front
from plastsearch.pareto.membership import membership

GOALS = ["min", "min"]


def world(seed, rows=60, between=1.0, rest=1.0, runs=1):
    rng = np.random.default_rng(seed)
    cost = rng.uniform(size=rows)
    true = 20 - 4 * cost + between * rng.standard_normal(rows)
    seen = true + rest / np.sqrt(runs) * rng.standard_normal(rows)
    return np.c_[true, cost], np.c_[seen, cost]


def test_shares_are_probabilities_of_what_they_name():
    said, true = [], []
    for seed in range(60):
        truth, seen = world(seed)
        said.append(membership(seen, [1.0, 0.0], [1] * len(seen), GOALS, seed))
        true.append(front(truth, GOALS))
    said, true = np.concatenate(said), np.concatenate(true)
    for low, high in [(0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.8)]:
        inside = (said >= low) & (said < high)
        assert inside.sum() > 40
        assert true[inside].mean() == pytest.approx(said[inside].mean(), abs=0.08)


def test_without_noise_it_is_the_front():
    truth, _ = world(0)
    assert membership(truth, [0.0, 0.0], [1] * len(truth), GOALS).tolist() == front(truth, GOALS).astype(float).tolist()


def test_the_luckiest_of_many_is_less_believed_than_one_of_many_runs():
    _, seen = world(1)
    seen[0] = [seen[:, 0].min() - 1, 0.5]
    once = membership(seen, [1.0, 0.0], [1] * len(seen), GOALS)[0]
    often = membership(seen, [1.0, 0.0], [20, *[1] * (len(seen) - 1)], GOALS)[0]
    assert once < often
    assert often > 0.9


def test_a_goal_to_maximise_is_one_to_minimise_turned_over():
    _, seen = world(2)
    turned = np.c_[-seen[:, 0], seen[:, 1]]
    assert np.array_equal(
        membership(seen, [1.0, 0.0], [1] * len(seen), GOALS),
        membership(turned, [1.0, 0.0], [1] * len(seen), ["max", "min"]),
    )


def test_equal_seeds_give_equal_shares_and_none_for_nobody():
    _, seen = world(3)
    one, other = (membership(seen, [1.0, 0.0], [1] * len(seen), GOALS, seed=4) for _ in range(2))
    assert np.array_equal(one, other)
    assert membership([], [1.0, 0.0], [], GOALS).size == 0
