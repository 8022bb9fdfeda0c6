"""AUC by its definition; the smoothed EER near the plain one, and steadier."""

import numpy as np
import pytest
from scipy.stats import norm

from plastsearch.errors import DataError
from plastsearch.scores.metrics import eer
from plastsearch.scores.smooth import auc, eer_smooth


def drawn(seed, bona=120, spoof=300, apart=2.0):
    rng = np.random.default_rng(seed)
    return rng.normal(apart, 1, bona), rng.normal(0, 1, spoof)


def test_auc_is_the_share_of_pairs_in_the_right_order():
    bona, spoof = (np.round(one, 1) for one in drawn(0))  # with ties
    pairs = (bona[:, None] > spoof).mean() + 0.5 * (bona[:, None] == spoof).mean()
    assert auc(bona, spoof) == pytest.approx(pairs)
    assert auc([1.0, 2.0], [0.0, -1.0]) == 1.0
    assert auc([0.0], [0.0]) == 0.5


def test_the_smoothed_eer_is_right_for_a_law_that_is_known_and_steadier_than_the_plain_one():
    smooth = np.array([eer_smooth(*drawn(seed)) for seed in range(80)])
    plain = np.array([eer(*drawn(seed))[0] for seed in range(80)])
    truth = 100 * norm.cdf(-1)
    assert smooth.mean() == pytest.approx(truth, abs=0.8)
    assert smooth.std() < 0.95 * plain.std()


def test_the_smoothed_eer_does_not_depend_on_scale_and_shift():
    bona, spoof = drawn(1)
    assert eer_smooth(5 * bona - 3, 5 * spoof - 3) == pytest.approx(eer_smooth(bona, spoof))


@pytest.mark.parametrize(
    ("bona", "spoof", "rate"),
    [([1.0] * 4, [0.0] * 4, 0.0), ([0.0] * 4, [1.0] * 4, 100), ([2.0] * 4, [2.0] * 4, 50)],
)
def test_constant_scores_have_a_rate(bona, spoof, rate):
    assert eer_smooth(bona, spoof) == pytest.approx(rate)


@pytest.mark.parametrize("metric", [auc, eer_smooth])
def test_bad_scores_are_refused(metric):
    with pytest.raises(DataError, match="NaN"):
        metric([1.0, np.nan], [0.0])
    with pytest.raises(DataError, match="no spoof"):
        metric([1.0], [])
