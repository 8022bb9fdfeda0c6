"""Who belongs to the front and who is the best, where values are means of few runs: calibrated, sceptical of luck."""

import numpy as np
import pytest

from plastsearch.pareto.front import front
from plastsearch.pareto.truths import shares

GOALS = ["min", "min"]


def world(seed, rows=60, between=1.0, rest=1.0, runs=1):
    rng = np.random.default_rng(seed)
    cost = rng.uniform(size=rows)
    true = 20 - 4 * cost + between * rng.standard_normal(rows)
    seen = true + rest / np.sqrt(runs) * rng.standard_normal(rows)
    return np.c_[true, cost], np.c_[seen, cost]


# Configurations hardly differ (how little is then itself a guess), as much as runs do, far more.
@pytest.mark.parametrize(("between", "off"), [(0.2, 0.15), (1.0, 0.1), (3.0, 0.1)])
def test_shares_are_probabilities_of_what_they_name(between, off):
    said, true = [], []
    for seed in range(40):
        truth, seen = world(seed, between=between)
        found = shares(seen, [1.0, 0.0], [1] * len(seen), GOALS, seed=seed)
        said.append(np.stack(found))
        true.append([front(truth, GOALS), np.arange(len(truth)) == truth[:, 0].argmin()])
    said, true = np.concatenate(said, axis=1), np.concatenate(true, axis=1)
    for n in range(2):  # on the front, the best
        for low, high in [(0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.8)]:
            inside = (said[n] >= low) & (said[n] < high)
            if inside.sum() > 40:
                assert true[n, inside].mean() == pytest.approx(said[n, inside].mean(), abs=off)
        assert true[n].sum() == pytest.approx(said[n].sum(), rel=0.2)


def test_only_candidates_can_be_the_best():
    _, seen = world(5, between=3.0)
    able = seen[:, 0] > np.median(seen[:, 0])
    found = shares(seen, [1.0, 0.0], [1] * len(seen), GOALS, candidates=able)
    assert found.best.sum() == pytest.approx(1.0)
    assert not found.best[~able].any()


def test_without_noise_it_is_the_front():
    truth, _ = world(0)
    found = shares(truth, [0.0, 0.0], [1] * len(truth), GOALS)
    assert found.front.tolist() == front(truth, GOALS).astype(float).tolist()
    assert found.best.argmax() == truth[:, 0].argmin()


def test_the_luckiest_of_many_is_less_believed_than_one_of_many_runs():
    _, seen = world(1)
    seen[0] = [seen[:, 0].min() - 0.5, 0.9]
    once = shares(seen, [1.0, 0.0], [1] * len(seen), GOALS).front[0]
    often = shares(seen, [1.0, 0.0], [20, *[1] * (len(seen) - 1)], GOALS).front[0]
    assert once < often
    assert often > 0.9


def test_a_goal_to_maximise_is_one_to_minimise_turned_over():
    _, seen = world(2)
    turned = np.c_[-seen[:, 0], seen[:, 1]]
    assert np.array_equal(
        shares(seen, [1.0, 0.0], [1] * len(seen), GOALS).front,
        shares(turned, [1.0, 0.0], [1] * len(seen), ["max", "min"]).front,
    )


def test_equal_seeds_give_equal_shares_and_none_for_nobody():
    _, seen = world(3)
    one, other = (shares(seen, [1.0, 0.0], [1] * len(seen), GOALS, seed=4).front for _ in range(2))
    assert np.array_equal(one, other)
    assert shares([], [1.0, 0.0], [], GOALS).front.size == 0
