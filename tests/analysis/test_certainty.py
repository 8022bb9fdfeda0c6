"""Draws of what trials are worth hold the truth as often as they say, and intervals are of what stands in the table."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from plastsearch.analysis.certainty import Certainty, Scatter, _factor, certainty_of
from plastsearch.analysis.results import load_results
from plastsearch.analysis.rows import TrialRow
from plastsearch.pareto.attainment import gain, surfaces
from plastsearch.spec.sweep import Objective
from plastsearch.tracking.records import TrialRecord
from tests.made_sweep import make_sweep

OBJECTIVES = (Objective(metric="dev_eer", reference=50.0), Objective(metric="params_total", reference=100.0))


def row(number, eer, size, runs=1):
    def one(at, role):
        return TrialRecord(at, "x", role, None, {}, {"method": "plasticity", "seed": at}, state="done")

    again = tuple(TrialRow(one(1000 * n + number, "replicate"), (eer, size)) for n in range(1, runs))
    return TrialRow(one(number, "search"), (eer, size), allowed=True, again=again)


def certainty(rows, rest, **more):
    none = np.zeros(len(rows))
    scatter = (Scatter(rest, 20, **more), Scatter())
    return Certainty(tuple(rows), OBJECTIVES, scatter, None, none, none)


def sweep(rng, luck, spread, trials=30):
    """True values, and what one to four runs say of them."""
    sizes = np.sort(rng.uniform(10, 90, trials))
    true = 20 - 0.08 * sizes + rng.normal(0, spread, trials)
    runs = rng.integers(1, 5, trials)
    seen = true + rng.normal(0, luck, trials) / np.sqrt(runs)
    truth = np.stack([true, sizes], axis=1)
    return truth, [row(n, seen[n], sizes[n], int(runs[n])) for n in range(trials)]


def test_the_gain_of_the_true_front_lies_in_its_interval_as_often_as_that_says():
    """And what is measured lies above it: the best of many is the luckiest."""
    rng = np.random.default_rng(7)
    held, above = 0, 0
    for _ in range(20):
        truth, rows = sweep(rng, luck=2.0, spread=1.0)
        goals, reference = ("min", "min"), (50.0, 100.0)
        true, measured = (gain(v, None, goals, reference) for v in (truth, [one.values for one in rows]))
        low, high = np.quantile(certainty(rows, 2.0).gains(), [0.025, 0.975])
        held += low <= true <= high
        above += measured > true
    assert held >= 16  # of 20; if 95 % is true, fewer come in one of 400
    assert above >= 16


def test_the_median_front_lies_behind_the_measured_one_if_that_is_luck():
    truth, rows = sweep(np.random.default_rng(1), luck=2.0, spread=0.1)
    (median,) = surfaces(certainty(rows, 2.0).draws, ("min", "min"), [0.5])
    assert min(y for y, _ in median) > min(one.values[0] for one in rows) + 1  # eer is first
    assert min(y for y, _ in median) == pytest.approx(truth[:, 0].min(), abs=1.0)


def test_draws_repeat_exactly_and_exact_numbers_stay():
    rows = [row(0, 10.0, 50.0), row(1, 12.0, 20.0), row(2, 11.0, 30.0)]
    first, second = certainty(rows, 1.0).draws, certainty(rows, 1.0).draws
    assert np.array_equal(first, second)
    assert (first[:, :, 1] == [50.0, 20.0, 30.0]).all()
    assert first[:, :, 0].std(axis=0).min() > 0.3


def test_an_interval_is_of_the_mean_and_narrows_with_runs():
    rows = [row(0, 10.0, 50.0), row(1, 10.0, 20.0, runs=4)]
    found = certainty(rows, 2.0)
    once, often = (np.diff(found.interval(one, 0))[0] / 2 for one in rows)
    assert once == pytest.approx(2 * often)
    assert once == pytest.approx(2.086 * 2.0, rel=1e-3)  # Student's t with 20 degrees of freedom
    assert found.interval(rows[0], 1) is None  # parameters are exact
    wide = certainty(rows, 2.0, seeds=1.0, count=4)
    assert np.diff(wide.interval(rows[1], 0))[0] > 2 * often  # what seeds do to all alike moves a mean, too


def test_one_factor_tells_what_clips_do_to_all_from_what_they_do_to_one():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=4000)
    moved = np.stack([1.0 * shared, 2.0 * shared, 1.5 * shared]) + 0.5 * rng.normal(size=(3, 4000))
    common, own = _factor(moved)
    assert common == pytest.approx([1.0, 2.0, 1.5], abs=0.15)
    assert own == pytest.approx([0.5, 0.5, 0.5], abs=0.15)


def test_clips_come_from_scores_else_from_recorded_intervals_and_it_is_said_which(tmp_path, single):
    assert single.certainty.sources == "clips"
    folder = make_sweep(tmp_path / "s", seeds=(), search=6)
    kept = load_results(folder).certainty
    shutil.rmtree(folder / "kept")
    lost = load_results(folder).certainty
    assert lost.sources == "clips (by recorded intervals)"
    assert lost.own.max() == 0  # intervals do not say what moves one trial alone
    assert kept.own.max() > 0
    bare = [replace(row, record=replace(row.record, metrics={"dev_eer": 9.0})) for row in load_results(folder).plotted]
    assert certainty_of(folder, bare, kept.objectives, lambda _: None) is None


def test_with_replicates_seeds_and_clips_are_both_in_the_interval(noisy):
    assert noisy.certainty.sources == "seeds and clips"
    often = next(one for one in noisy.front if len(one.runs) == 4)
    low, high = noisy.interval(often, 0)
    assert low < often.values[0] < high
    assert often.values[0] != often.metrics["dev_eer"]  # a mean stands in the table
    own = often.interval("dev_eer")
    assert high - low > own[1] - own[0]
    assert noisy.likely_gain[1] < noisy.likely_gain[0] < noisy.likely_gain[2]


def test_without_replicates_the_interval_is_that_of_the_run(single):
    for one in single.front:
        assert single.interval(one, 0) == one.interval("dev_eer")
    assert single.noise("dev_eer") is None
