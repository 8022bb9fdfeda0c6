"""Ranks over blocks by hand: Demšar's figures, ties, and the words for too little."""

import math

import numpy as np
import pytest

from plastsearch.analysis.ranks import ranked


def table(rows, names="abcdef"):
    return {f"block {at}": dict(zip(names, row, strict=False)) for at, row in enumerate(rows)}


def test_average_ranks_by_hand():
    found = ranked(table([(1, 2, 3), (1, 3, 2), (2, 1, 3), (1, 2, 3), (1, 2, 2)]))
    assert found.methods == ("a", "b", "c")
    assert found.ranks == pytest.approx((6 / 5, 10.5 / 5, 13.5 / 5))  # of the tie both have 2.5


def test_nemenyis_distance_is_that_of_the_tables():
    """Demšar 2006, table 5: q is 2.569 for four methods; over 14 blocks that is a distance of 1.25."""
    found = ranked(table([(1, 2, 3, 4)] * 14))
    assert found.distance == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=2e-3)


def test_friedmans_statistic_by_hand():
    """Without ties: 12 N / (k (k + 1)) × (sum of squared mean ranks − k (k + 1)² / 4)."""
    found = ranked(table([(1, 2, 3), (2, 1, 3), (1, 2, 3), (1, 3, 2), (1, 2, 3), (1, 2, 3)]))
    means = np.array([7 / 6, 12 / 6, 17 / 6])
    assert found.chi2 == pytest.approx(12 * 6 / 12 * ((means**2).sum() - 3 * 16 / 4))


def test_all_equal_is_no_difference():
    found = ranked(table([(1.0, 1.0)] * 6))
    assert (found.chi2, found.p, found.pairs[0].p) == (0.0, 1.0, 1.0)
    assert found.cliques == [(0, 1)]


def test_wilcoxon_counts_the_blocks():
    """Five blocks, all in one direction: exactly 2 / 2^5."""
    found = ranked(table([(1, 2 + at / 10) for at in range(5)]))
    assert found.pairs[0].p == pytest.approx(2 / 32)


def test_cliques_are_the_longest_runs_within_the_distance():
    rows = [
        (1, 2, 3, 4),
        (2, 1, 3, 4),
        (1, 3, 2, 4),
        (1, 2, 3, 4),
        (1, 2, 4, 3),
        (1, 2, 3, 4),
        (2, 1, 3, 4),
        (1, 2, 3, 4),
    ]
    found = ranked(table(rows))
    assert found.cliques
    for first, last in found.cliques:
        assert found.ranks[last] - found.ranks[first] < found.distance
        assert last == 3 or found.ranks[last + 1] - found.ranks[first] >= found.distance


@pytest.mark.parametrize("rows", [[(1, 2)] * 4, [(1,)] * 9, []])
def test_too_little_gives_nothing(rows):
    assert ranked(table(rows)) is None


def test_only_methods_that_every_block_has_are_ranked():
    full = table([(1, 2, 3)] * 5)
    del full["block 3"]["b"]
    assert ranked(full).methods == ("a", "c")
