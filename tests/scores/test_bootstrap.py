"""Of many clips only those near the crossing are counted: the values are those of counting all, number for number."""

import numpy as np
import pytest

from plastsearch.scores import bootstrap
from plastsearch.scores.metrics import curve, resamples, weighted_eers
from plastsearch.scores.stream import Stream, numbers_of


def clips(bona, spoof, seed=0, digits=6, apart=2.0):
    rng = np.random.default_rng(seed)
    return curve(rng.normal(apart, 1, bona).round(digits), rng.normal(0, 1, spoof).round(digits))


def counted(of, speakers, replicates, seed):
    """Every clip of every replicate."""
    rng = np.random.default_rng(seed)
    return np.concatenate([weighted_eers(of, rows) for rows in resamples(of.is_bona, speakers, replicates, rng)])


@pytest.mark.parametrize(
    ("bona", "spoof", "digits", "apart"),
    [(4000, 36_000, 6, 2), (36_000, 4000, 1, 2), (3, 40_000, 6, 1), (20_000, 20_000, 2, 9), (40_000, 9, 3, -1)],
)
def test_clips_drawn_one_by_one(bona, spoof, digits, apart):
    of = clips(bona, spoof, digits=digits, apart=apart)
    found = bootstrap.resampled_eers(of, None, 12, np.random.default_rng(5))
    np.testing.assert_array_equal(found, counted(of, None, 12, 5))


def test_a_crossing_outside_the_window_is_found_too(monkeypatch):
    monkeypatch.setattr(bootstrap, "_SURE", 0.2)
    of = clips(4000, 36_000)
    found = bootstrap.resampled_eers(of, None, 12, np.random.default_rng(5))
    np.testing.assert_array_equal(found, counted(of, None, 12, 5))


@pytest.mark.parametrize(("count", "cells"), [(9, 2_000_000), (700, 2_000_000), (40_000, 2_000_000), (50, 50)])
def test_whole_speakers(count, cells, monkeypatch):
    monkeypatch.setattr(bootstrap, "_CELLS", cells)
    of = clips(4000, 36_000, digits=3)
    speakers = np.random.default_rng(1).permutation(np.arange(40_000) % count)
    # Some are heard in one class alone: each kind is drawn apart.
    speakers[of.is_bona & (speakers % 5 == 1)] -= 1
    speakers[~of.is_bona & (speakers % 5 == 3)] -= 1
    speakers = np.unique(speakers, return_inverse=True)[1]
    found = bootstrap.resampled_eers(of, speakers, 12, np.random.default_rng(5))
    np.testing.assert_array_equal(found, counted(of, speakers, 12, 5))


def test_draws_are_the_same_in_either_type():
    wide, stream = np.random.default_rng(3), Stream(np.random.default_rng(3))
    for size in (1, 5, 40_000, 131_072):
        np.testing.assert_array_equal(
            wide.integers(size, size=size),
            np.concatenate([numbers_of(part, size) for part in stream.parts(size, size)]),
        )
