"""Fronts against a brute-force twin and their laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plastsearch.pareto.front import front, hypervolume, knee, rank

POINTS = st.integers(0, 12).flatmap(
    lambda n: arrays(np.float64, (n, 3), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.5, np.nan]))
)
GOALS = ("min", "max", "min")


def brute_front(values, goals):
    signs = np.array([-1 if goal == "max" else 1 for goal in goals])
    points = values * signs
    whole = [np.isfinite(point).all() for point in points]
    return np.array(
        [
            whole[i]
            and not any(
                whole[j] and (points[j] <= points[i]).all() and (points[j] < points[i]).any()
                for j in range(len(points))
            )
            for i in range(len(points))
        ],
        dtype=bool,
    )


@given(POINTS)
def test_front_equals_the_definition(values):
    assert front(values, GOALS).tolist() == brute_front(values, GOALS).tolist()


@given(POINTS, st.randoms())
def test_front_is_its_own_front_in_any_order(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    mask = front(values, GOALS)
    assert front(values[order], GOALS).tolist() == mask[order].tolist()
    assert front(values[mask], GOALS).all()


@given(POINTS)
def test_ranks_are_fronts_peeled_off(values):
    ranks, left = rank(values, GOALS), values.copy()
    assert ((ranks == -1) == ~np.isfinite(values).all(axis=1)).all()
    for level in range(ranks.max(initial=-1) + 1):
        assert (front(left, GOALS) == (ranks == level)).all()
        left[ranks == level] = np.nan


@given(POINTS)
def test_hypervolume_grows_with_points_and_is_the_fronts(values):
    reference = (5.0, -1.0, 5.0)
    whole = hypervolume(values, GOALS, reference)
    assert hypervolume(values[:-1], GOALS, reference) <= whole + 1e-12
    assert hypervolume(values[front(values, GOALS)], GOALS, reference) == pytest.approx(whole)


def test_hypervolume_of_a_hand_case():
    assert hypervolume([[1, 1], [9, 0]], ("min", "min"), (2, 2)) == 1
    assert hypervolume([[1, 3], [0, 2]], ("min", "max"), (2, 1)) == 3
    assert hypervolume([], ("min", "min"), (2, 2)) == 0


def test_equal_points_stay_together_and_the_knee_is_the_bend():
    assert front([[1, 1], [1, 1], [2, 2]], ("min", "min")).tolist() == [True, True, False]
    assert knee([[0, 10], [1, 1], [10, 0], [np.nan, 0]], ("min", "min")) == 1
    assert knee([[3.0], [2.0]], ("min",)) == 1
    assert knee([[np.nan, 1]], ("min", "min")) is None
