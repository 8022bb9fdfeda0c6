"""Openings: what most likely dominates most, by what earlier sweeps measured, and not what was lucky there."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from plastsearch.pareto.front import front, hypervolume
from plastsearch.search import openings as module
from plastsearch.search.openings import openings
from plastsearch.search.parameters import flat
from plastsearch.search.space import open_space
from plastsearch.search.warm_start import earlier_of
from plastsearch.tracking.earlier import EarlierSweep, EarlierTrial

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GOALS = ["min", "min"]


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("recorded")


def world(recorded, trials=40):
    """The recorded space, its points, and what one run of each shows with every seed."""
    table = recorded.load()
    spec = recorded.space_spec(trials)
    space = open_space(spec)
    points = [space.flat(point, np.random.default_rng(0)) for point in space.points()]
    keys = [recorded.key_of(space.config(params)) for params in points]
    return table, spec, space, points, np.array([[table.value(key, seed) for seed in table.seeds] for key in keys])


def told(spec, space, points, values, excess=None):
    excess = np.zeros(len(points)) if excess is None else excess
    trials = [
        EarlierTrial(params=dict(params), values=found.tolist(), excess=float(over))
        for params, found, over in zip(points, values, excess, strict=True)
    ]
    sweep = EarlierSweep(source="x", name="x", said="", trials=trials)
    return earlier_of(spec, space, [sweep])


def test_they_truly_dominate_more_than_the_front_that_was_measured(recorded):
    """By means over all seeds, of an earlier sweep that saw one run of 40 real configurations."""
    table, spec, space, points, values = world(recorded)
    truth = values.mean(axis=1)
    gained = []
    for draw in range(5):
        at = np.random.default_rng(draw).choice(len(points), 40, replace=False)
        seen = values[at, draw % values.shape[1]]
        opened = openings(told(spec, space, [points[one] for one in at], seen), spec, space)
        places = [points.index(flat(one.params)) for one in opened]
        lucky = at[front(seen, GOALS)]
        volumes = [hypervolume(truth[some], GOALS, table.reference) for some in (places, lucky)]
        gained.append(volumes[0] / volumes[1])
        assert len(opened) <= spec.search.trials // module.SHARE
        assert set(places) - set(at), "points that nobody tried"
    assert np.mean(gained) > 1.03
    assert np.mean(np.array(gained) > 1) > 0.7


def test_of_few_trials_only_those_that_were_tried_open(recorded):
    _, spec, space, points, values = world(recorded)
    opened = openings(told(spec, space, points[:7], values[:7, 0]), spec, space)
    assert 0 < len(opened) <= 7
    assert all(flat(one.params) in points[:7] for one in opened)


def test_what_breaks_limits_is_not_opened_nor_what_lies_around_it(recorded):
    """Half of the points ran; unfrozen ones broke a limit."""
    _, spec, space, points, values = world(recorded)
    unfrozen = np.array([params["regime"] == "unfrozen" for params in points])
    at = np.random.default_rng(0).choice(len(points), 92, replace=False)
    assert 20 < unfrozen[at].sum() < 72
    earlier = told(spec, space, [points[one] for one in at], values[at, 0], unfrozen[at].astype(float))
    opened = openings(earlier, spec, space)
    assert len(opened) >= 8
    assert all(one.params["regime"] == "frozen" for one in opened)
    nothing = told(spec, space, points[:20], values[:20, 0], np.ones(20))
    assert openings(nothing, spec, space) == []


def test_sweeps_take_turns_and_nothing_opens_twice(recorded):
    _, spec, space, points, values = world(recorded)
    one = told(spec, space, points[:90], values[:90, 0])
    two = told(spec, space, points[90:], values[90:, 1])
    both = one.model_copy(update={"sweeps": [*one.sweeps, *two.sweeps]})
    opened = openings(both, spec, space)
    assert {one.of for one in opened} == {0, 1}
    assert [one.of for one in opened][:4] == [0, 1, 0, 1]
    assert len({space.config(flat(one.params)).trial_id() for one in opened}) == len(opened)


def test_of_a_large_space_only_what_was_tried_opens(recorded, monkeypatch):
    """As if it had no end."""
    _, spec, space, points, values = world(recorded)
    monkeypatch.setattr(module, "_WHOLE", 0)
    at = np.random.default_rng(0).choice(len(points), 40, replace=False)
    opened = openings(told(spec, space, [points[one] for one in at], values[at, 0]), spec, space)
    places = {points.index(flat(one.params)) for one in opened}
    assert len(places) == len(opened) > 4
    assert places <= set(at.tolist())
