"""Attainment surfaces and gains against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plastsearch.pareto.attainment import band, gain, surfaces
from plastsearch.pareto.front import hypervolume

GOALS = st.tuples(st.sampled_from(["min", "max"]), st.sampled_from(["min", "max"]))


def reached(draws, point, goals):
    """The share of the draws with a member at least as good as the point."""
    signs = np.array([-1 if goal == "max" else 1 for goal in goals])
    return (draws * signs <= np.asarray(point) * signs).all(axis=2).any(axis=1).mean()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), GOALS, st.sampled_from([0.1, 0.5, 0.9]))
def test_a_corner_is_reached_by_its_share_and_nothing_better_is(seed, goals, share):
    draws = np.random.default_rng(seed).integers(0, 6, size=(20, 4, 2)).astype(float)
    signs = np.array([-1 if goal == "max" else 1 for goal in goals])
    (corners,) = surfaces(draws, goals, [share])
    assert corners
    for x, y in corners:
        assert reached(draws, (x, y), goals) >= share
        for better in ((x - signs[0], y), (x, y - signs[1])):  # values are whole numbers
            assert reached(draws, better, goals) < share


def test_draws_that_agree_leave_no_band():
    draws = np.broadcast_to(np.array([[1.0, 3.0], [2.0, 1.0], [2.5, 2.0]]), (10, 3, 2))
    assert surfaces(draws, ("min", "min"), [0.025, 0.975]) == [[(1.0, 3.0), (2.0, 1.0)]] * 2
    area = band(draws, ("min", "min"), 0.95, (4.0, 4.0))
    path = [(1.0, 4.0), (1.0, 4.0), (1.0, 3.0), (2.0, 3.0), (2.0, 1.0), (4.0, 1.0)]
    assert area == [*path, *reversed(path)]


@pytest.mark.parametrize(("goals", "sign"), [(("min", "min"), 1), (("min", "max"), -1)])
def test_a_band_holds_its_share_of_the_fronts_at_any_place(goals, sign):
    """One row at an exact cost: the band's lower and upper edge are quantiles of its value."""
    values = np.random.default_rng(3).normal(10, 2, size=2000)
    draws = np.stack([np.full(2000, 5.0), sign * values], axis=1)[:, None, :]
    ys = sorted({abs(y) for x, y in band(draws, goals, 0.5, (9.0, sign * 100.0)) if x == 9.0})
    assert ys == pytest.approx(np.quantile(values, [0.25, 0.75]), abs=0.02)


def test_points_beyond_the_frame_are_cut():
    draws = np.array([[[1.0, 9.0], [8.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]]])
    assert np.max(band(draws, ("min", "min"), 0.95, (4.0, 4.0))) == 4.0


def test_gain_is_the_share_of_the_room_that_the_baseline_leaves():
    goals, reference = ("min", "min"), (50.0, 1.0)
    assert gain([[25.0, 0.5]], None, goals, reference) == pytest.approx(0.25)
    # The baseline leaves 50 - 12.5 of the room; beyond it the point dominates 25 × 0.5 - 0.
    assert gain([[25.0, 0.5]], [25.0, 0.5], goals, reference) == 0
    assert gain([[25.0, 0.0]], [25.0, 0.5], goals, reference) == pytest.approx(12.5 / 37.5)
    assert gain([[0.0, 0.0]], [25.0, 0.5], goals, reference) == 1
    assert gain([], [25.0, 0.5], goals, reference) == 0
    assert gain([[0.5, 10.0]], [0.2, 20.0], ("max", "min"), (0.0, 40.0)) == pytest.approx(
        (0.5 * 30 - 0.2 * 20 + 0) / 36
    )


def test_a_baseline_beyond_the_reference_leaves_all_of_the_room_and_no_room_is_no_gain():
    assert gain([[25.0, 0.5]], [25.0, 1.2], ("min", "min"), (50.0, 1.0)) == pytest.approx(0.25)
    assert gain([[25.0]], None, ("min",), (0.0,)) is None
    assert gain([[0.2]], None, ("max",), (1.0,)) is None


@given(st.integers(0, 1000), st.floats(0.1, 1000))
@settings(max_examples=25, deadline=None)
def test_gain_does_not_depend_on_units(seed, scale):
    rng = np.random.default_rng(seed)
    points, baseline = rng.random((5, 2)), rng.random(2)
    plain = gain(points, baseline, ("min", "min"), (0.9, 0.9))
    unit = np.array([scale, 1.0])
    assert gain(points * unit, baseline * unit, ("min", "min"), (0.9 * scale, 0.9)) == pytest.approx(plain)
    assert 0 <= plain <= 1
    alone = hypervolume(points, ("min", "min"), (0.9, 0.9)) / 0.81
    assert gain(points, None, ("min", "min"), (0.9, 0.9)) == pytest.approx(alone)
