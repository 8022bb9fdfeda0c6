"""Relative reductions and single levels: exact values, intervals that hold what they should, paired as differences."""

import numpy as np
import pytest

from plastsearch.analysis.paired import Pair, difference, level, reduction
from plastsearch.scores.metrics import eer
from tests.made_sweep import MadeClips

CLIPS = MadeClips(3)
BONA = CLIPS.labels == 1


def scores(percent, seed):
    return CLIPS.scores(percent, np.random.default_rng(seed)).astype(np.float64)


def own(values):
    return eer(values[BONA], values[~BONA])[0]


def test_a_reduction_is_of_the_means_over_seeds():
    pairs = [Pair(scores(6, seed), scores(12, seed + 50)) for seed in range(3)]
    found = reduction(pairs, BONA, CLIPS.speakers, replicates=100)
    one, other = (np.mean([own(getattr(pair, arm)) for pair in pairs]) for arm in ("one", "other"))
    assert found.value == pytest.approx(100 * (1 - one / other))
    assert found.low < found.value < found.high <= 100


def test_equal_arms_have_none():
    pair = Pair(scores(8, 1), scores(8, 1))
    found = reduction([pair], BONA, CLIPS.speakers, replicates=100)
    assert found.value == 0.0
    assert found.low <= 0 <= found.high


def test_it_is_as_clear_as_the_difference_is():
    """Both divide the same scatter: their intervals leave zero out together, up to what the ratio itself moves."""
    clear = [Pair(scores(5, seed), scores(15, seed + 9)) for seed in range(4)]
    assert difference(clear, BONA, CLIPS.speakers, replicates=100).high < 0
    assert reduction(clear, BONA, CLIPS.speakers, replicates=100).low > 0


def test_over_an_arm_without_errors_there_is_no_reduction():
    perfect = np.where(BONA, 1.0, -1.0)
    assert reduction([Pair(perfect, perfect)], BONA, CLIPS.speakers, replicates=20) is None


def test_a_level_is_the_mean_with_an_interval_that_seeds_widen():
    arms = [scores(9, seed) for seed in range(3)]
    found = level(arms, BONA, CLIPS.speakers, replicates=100)
    assert found.value == pytest.approx(np.mean([own(one) for one in arms]))
    assert 0 <= found.low < found.value < found.high
    apart = [scores(4, 1), scores(9, 2), scores(14, 3)]
    wider = level(apart, BONA, CLIPS.speakers, replicates=100)
    assert wider.high - wider.low > found.high - found.low
