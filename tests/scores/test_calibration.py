"""Calibration: the affine map of least Cllr, pool-adjacent-violators as the optimum, what refuses to be learnt."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plastsearch.errors import DataError
from plastsearch.scores.calibration import cross_cllr, fit_affine, min_cllr, pav, reliability
from plastsearch.scores.metrics import cllr


def classes(seed: int, n: int = 300, gap: float = 1.5, odd: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose true ratios are `gap × score - gap² / 2`, moved by an affine map that is to be found."""
    rng = np.random.default_rng(seed)
    return odd * rng.normal(gap, 1, n) + 5, odd * rng.normal(0, 1, 4 * n) + 5


@pytest.mark.parametrize("gap", [0.5, 1.5, 3.0])
def test_the_true_map_is_found_whatever_the_numbers_of_the_classes(gap):
    bona, spoof = classes(1, n=20_000, gap=gap)
    found = fit_affine(bona, spoof)
    assert found.slope == pytest.approx(gap / 0.3, rel=0.05)
    assert found.of(5 + 0.3 * gap / 2) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_no_affine_map_nearby_has_a_lower_cost(seed):
    bona, spoof = classes(seed)
    found = fit_affine(bona, spoof)
    best = cllr(found.of(bona), found.of(spoof))
    for slope, offset in itertools.product((0.97, 1, 1.03), (-0.03, 0, 0.03)):
        moved = [slope * found.of(values) + offset for values in (bona, spoof)]
        assert cllr(*moved) >= best - 1e-12


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-50, 50))
def test_calibrated_ratios_do_not_ask_on_which_scale_scores_came(seed, slope, offset):
    bona, spoof = classes(seed, n=30)
    plain, moved = fit_affine(bona, spoof), fit_affine(slope * bona + offset, slope * spoof + offset)
    assert moved.of(slope * bona + offset) == pytest.approx(plain.of(bona), abs=1e-4)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=4, max_size=9))
def test_the_optimum_is_that_of_all_increasing_maps(rows):
    """A brute-force twin: every way to cut the sorted scores into blocks, each with the ratio its clips ask for."""
    bona = np.array([score for score, is_bona in rows if is_bona], dtype=float)
    spoof = np.array([score for score, is_bona in rows if not is_bona], dtype=float)
    if not bona.size or not spoof.size:
        return
    levels = np.unique(np.concatenate([bona, spoof]))
    costs = []
    for cuts in itertools.product((False, True), repeat=len(levels) - 1):
        block = dict(zip(levels, np.cumsum([0, *cuts]), strict=True))
        high, low = (np.array([block[value] for value in values]) for values in (bona, spoof))
        share = [(np.mean(high == one), np.mean(low == one)) for one in range(sum(cuts) + 1)]
        with np.errstate(divide="ignore"):
            ratio = np.clip(np.array([np.log(b) - np.log(s) for b, s in share]), -40, 40)
        if np.all(np.diff(ratio) >= 0):
            costs.append(cllr(ratio[high], ratio[low]))
    assert min_cllr(bona, spoof) == pytest.approx(min(costs), abs=1e-9)


def test_no_map_is_better_than_the_optimum_and_increasing_maps_do_not_move_it():
    bona, spoof = classes(3)
    affine = fit_affine(bona, spoof)
    best = min_cllr(bona, spoof)
    assert best < cllr(affine.of(bona), affine.of(spoof)) < 1
    assert min_cllr(np.exp(bona), np.exp(spoof)) == pytest.approx(best, abs=1e-12)
    scores, ratio = pav(bona, spoof)
    assert np.all(ratio[1:] >= ratio[:-1])
    assert len(scores) == len(np.unique(np.concatenate([bona, spoof])))


def test_classes_without_overlap_get_a_finite_slope_and_say_so():
    found = fit_affine(np.linspace(2, 3, 40), np.linspace(-3, -2, 40))
    assert found.separable
    assert 0 < found.slope < 10
    assert min_cllr(np.linspace(2, 3, 40), np.linspace(-3, -2, 40)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("bona", "spoof", "words"),
    [
        (np.zeros(20), np.zeros(20), "all scores are equal"),
        (np.arange(20.0), np.arange(20.0) + 5, "no higher scores than spoofed ones"),
        (np.arange(9.0), np.arange(20.0), "9 bona fide clips are too few"),
        (np.arange(20.0), np.array([np.nan] * 20), "NaN"),
    ],
)
def test_what_cannot_be_learnt_is_refused(bona, spoof, words):
    with pytest.raises(DataError, match=words):
        fit_affine(bona, spoof)


def test_clips_left_out_cost_more_than_those_that_were_learnt_from_and_few_are_enough():
    bona, spoof = classes(5, n=10, gap=0.2)
    affine = fit_affine(bona, spoof)
    assert cross_cllr(bona, spoof) > cllr(affine.of(bona), affine.of(spoof))
    assert cross_cllr(bona, spoof, seed=1) == cross_cllr(bona, spoof, seed=1)


def test_reliable_ratios_lie_within_their_intervals_and_proud_ones_do_not():
    rng = np.random.default_rng(0)
    bona, spoof = rng.normal(0.5, 1, 5000), rng.normal(-0.5, 1, 20_000)  # their own ratios
    inside = [one.low <= one.said <= one.high for one in reliability(bona, spoof)]
    proud = [one.low <= one.said <= one.high for one in reliability(5 * bona, 5 * spoof)]
    assert sum(inside) >= 8
    assert sum(proud) <= 2
    for one in reliability(np.linspace(1, 2, 30), np.linspace(-2, -1, 50)):
        assert one.low <= one.seen <= one.high
    assert sum(one.clips for one in reliability(bona, spoof)) == 25_000
