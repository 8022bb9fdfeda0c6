"""Spread between configurations and seeds: equal to the textbook where tables are whole, right where they have gaps."""

import math

import numpy as np
import pytest

from plastsearch.pareto.noise import Measured, fit, noise, runs_for, words


def table(values, keep=lambda configuration, seed: True):
    return [
        Measured(i, j, float(value))
        for i, row in enumerate(values)
        for j, value in enumerate(row)
        if keep(i, j)
    ]  # fmt: skip


def drawn(seed, configurations=12, seeds=4, between=1.0, alike=2.0, rest=1.0):
    rng = np.random.default_rng(seed)
    return (
        between * rng.standard_normal(configurations)[:, None]
        + alike * rng.standard_normal(seeds)
        + rest * rng.standard_normal((configurations, seeds))
    )


def test_a_whole_table_gives_the_intraclass_correlation_of_the_textbook():
    y = drawn(3)
    k, r = y.shape
    between = r * y.mean(axis=1).var(ddof=1)
    left = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    rest = (left**2).sum() / ((k - 1) * (r - 1))
    found = noise(table(y))
    assert found.reliability == pytest.approx((between - rest) / (between + (r - 1) * rest))
    assert found.rest == pytest.approx(math.sqrt(rest))
    assert found.freedom == (k - 1) * (r - 1)
    of_seeds = y.mean(axis=0).var(ddof=1) - rest / k
    assert found.seeds == pytest.approx(math.sqrt(of_seeds))
    assert found.unpaired < found.reliability


@pytest.mark.parametrize("gaps", [False, True])
def test_its_interval_holds_the_truth_as_often_as_it_says(gaps):
    held = []
    for seed in range(300):
        y = drawn(seed, configurations=25)
        found = noise(table(y, (lambda i, j: j == 0 or i < 5) if gaps else lambda i, j: True))
        held.append(found.low <= 0.5 <= found.high)
    assert 0.91 <= np.mean(held) <= 0.98


def test_a_seed_that_is_hard_for_all_does_not_make_those_look_worse_that_ran_with_it():
    truth = np.array([10.0, 11.0, 12.0, 13.0])
    y = truth[:, None] + np.array([0.0, 5.0, -1.0])
    model = fit(table(y, lambda i, j: j == 0 or i in (0, 1) or (i == 2 and j == 1)))
    levels = np.array([model.levels[i] for i in range(4)])
    assert levels - levels[0] == pytest.approx(truth - truth[0])
    assert levels[0] == pytest.approx(y[0].mean())  # it ran with all seeds: its plain mean
    assert sum(model.seeds.values()) == pytest.approx(0)
    assert model.rest == pytest.approx(0, abs=1e-20)


def test_nothing_is_said_where_nothing_is_known():
    y = drawn(1)
    assert noise(table(y, lambda i, j: j == 0)) is None  # nobody ran twice
    assert noise(table(y[:2])) is None  # of two configurations no spread can be told
    controls = [Measured(100 + i, j, float(v), counted=False) for i, row in enumerate(y) for j, v in enumerate(row)]
    assert noise(controls + table(y[:2], lambda i, j: j == 0)) is None


def test_controls_tell_of_seeds_but_are_no_configurations():
    y = drawn(5, configurations=8)
    far = [Measured(99, j, 1000.0 + float(v)) for j, v in enumerate(y.mean(axis=0))]
    counted = noise(table(y) + far)
    apart = noise(table(y) + [Measured(one.configuration, one.seed, one.value, counted=False) for one in far])
    assert counted.between > 100
    assert apart.between == pytest.approx(noise(table(y)).between, rel=0.2)


def test_no_noise_at_all_is_reliable_and_no_spread_at_all_is_not():
    y = np.arange(5.0)[:, None] + np.zeros(3)
    assert noise(table(y)).reliability == 1.0
    same = noise(table(np.zeros((5, 3))))
    assert (same.reliability, same.low, same.high) == (0.0, 0.0, 0.0)


def test_runs_that_reach_a_reliability():
    assert runs_for(0.5, 0.8) == 4  # Spearman-Brown: 4 × 0.5 / (1 + 3 × 0.5) = 0.8
    assert runs_for(0.9, 0.8) == 1
    assert runs_for(0.0) is None
    assert words(0.3) == "the ranking is mostly luck"
    assert words(0.9) == "the ranking holds"


def test_repeating_the_best_of_a_first_pass_does_not_make_its_seed_look_easy():
    """Whom a search repeats it chose by luck, too; seeds have no effect here, and half of the variance is luck."""
    effects, reliabilities = [], []
    for n in range(40):
        rng = np.random.default_rng(n)
        truth = rng.standard_normal(24)
        first = truth + rng.standard_normal(24)
        found = [Measured(i, 0, float(value)) for i, value in enumerate(first)]
        for rank, i in enumerate(np.argsort(first)[:8]):
            found += [
                Measured(int(i), s, float(truth[i] + rng.standard_normal())) for s in range(1, 4 if rank < 3 else 2)
            ]
        effects.append(fit(found).seeds[0])
        reliabilities.append(noise(found).reliability)
    assert abs(np.mean(effects)) < 0.2  # told by the repeated alone it would be -0.64
    assert np.mean(reliabilities) == pytest.approx(0.5, abs=0.1)
