"""Measures over resampled clips are what the plain metric says of the clips repeated as often as they were drawn."""

import numpy as np
import pytest

from plastsearch.scores.measures import CLLR, MIN_DCF
from plastsearch.scores.metrics import resamples


# The EER over weights has its own test (test_metrics.py): between two points equally near it may take either.
@pytest.mark.parametrize("measure", [MIN_DCF, CLLR], ids=lambda one: one.name)
@pytest.mark.parametrize("tied", [False, True])
def test_weights_stand_for_repeated_clips(measure, tied):
    rng = np.random.default_rng(3)
    is_bona = rng.random(60) < 0.4
    scores = rng.normal(size=60) + is_bona
    scores = scores.round(1) if tied else scores
    (weights,) = resamples(is_bona, None, 20, rng)
    found = measure.resampled(scores, is_bona)(weights)
    expected = [measure.value(np.repeat(scores, row), np.repeat(is_bona, row)) for row in weights]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    ones = measure.resampled(scores, is_bona)(np.ones((1, 60), np.int64))
    assert ones[0] == pytest.approx(measure.value(scores, is_bona))
