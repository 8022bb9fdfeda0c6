"""Layers of points that arrive one by one are those of all points together."""

import math
import random

import hypothesis.strategies as st
from hypothesis import given

from plastsearch.pareto.front import rank
from plastsearch.pareto.layers import Layers

VALUE = st.one_of(st.integers(0, 4).map(float), st.just(math.nan))


@given(
    goals=st.lists(st.sampled_from(["min", "max"]), min_size=1, max_size=3),
    known=st.integers(0, 6),
    data=st.data(),
)
def test_a_newcomer_has_before_it_whom_the_ranks_of_all_put_there(goals, known, data):
    """Equal points and missing values included."""
    points = data.draw(st.lists(st.tuples(*[VALUE] * len(goals)), min_size=known + 1, max_size=20))
    layers = Layers(goals, points[:known])
    for count in range(known, len(points)):
        ranks = rank(points[: count + 1], goals)
        assert layers.add(points[count]) == (ranks < ranks[-1]).sum()


def test_many_layers_are_ranked_anew():
    """Where objectives agree, every point is a layer of its own."""
    rng = random.Random(0)
    points = [[value, value + rng.random() / 100] for value in (rng.random() for _ in range(400))]
    layers = Layers(["min", "min"])
    for count, point in enumerate(points, 1):
        ranks = rank(points[:count], ["min", "min"])
        assert layers.add(point) == (ranks < ranks[-1]).sum()
    assert ranks.max() > 200
