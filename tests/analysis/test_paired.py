"""Paired differences: calibrated where two networks are equal, sharper than two intervals, Holm's by hand."""

from itertools import pairwise

import numpy as np
import pytest

from plastsearch.analysis.comparing import NoAnswerError, _columns
from plastsearch.analysis.paired import Pair, _error, _units, difference, holm
from plastsearch.scores.bootstrap import bootstrap_eer
from plastsearch.scores.clip_scores import ClipScores
from plastsearch.scores.metrics import eer


def simulated(rng, speakers=40, bona=8, spoof=16, seeds=1, shift=0.0, lift=0.2, apart=2.0):
    """Two arms, `shift` apart for all bona fide clips: speakers, clips, seeds and each network have their say."""
    names = np.repeat(np.arange(speakers), bona + spoof)
    is_bona = np.tile(np.repeat([True, False], [bona, spoof]), speakers)
    kind = is_bona.astype(int)
    shared = apart * is_bona + rng.normal(size=(speakers, 2))[names, kind] + rng.normal(size=names.size)
    own = [0.5 * rng.normal(size=(speakers, 2))[names, kind] for _ in range(2)]
    pairs = []
    for _ in range(seeds):
        better = (lift * rng.normal(size=2) if seeds > 1 else np.zeros(2)) + [shift, 0.0]
        arms = (shared + own[n] + better[n] * is_bona + 0.5 * rng.normal(size=names.size) for n in range(2))
        pairs.append(Pair(*arms))
    return pairs, is_bona, names.astype(str)


def called_different(draws, replicates=150, **how):
    rng = np.random.default_rng(0)
    found = [difference(*simulated(rng, **how), seed=n, replicates=replicates) for n in range(draws)]
    return sum(one.p < 0.05 for one in found) / draws


def test_equal_networks_are_seldom_called_different():
    """Of 150 draws at 5 %, more than 16 or none at all happen twice in a thousand."""
    assert 0 < called_different(150, replicates=100) <= 16 / 150


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"seeds": 3}, {"apart": 3.5, "speakers": 48}])
def test_equal_networks_are_called_different_five_times_in_a_hundred(how):
    assert 0.03 <= called_different(1000, **how) <= 0.07


@pytest.mark.slow
def test_few_clips_or_speakers_never_make_it_rash():
    for how in ({"speakers": 6, "bona": 20, "spoof": 40}, {"speakers": 24, "bona": 4, "spoof": 8}, {"speakers": 3}):
        assert called_different(400, **how) <= 0.07


def test_the_interval_is_the_p_value_seen_otherwise():
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.5, 1.0):
        found = difference(*simulated(rng, speakers=24, shift=shift))
        assert found.low < found.points < found.high
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_what_both_find_hard_cancels():
    """The difference is known far better than either EER: that is what pairing is for."""
    pairs, is_bona, names = simulated(np.random.default_rng(1), shift=0.8)
    found = difference(pairs, is_bona, names)
    arms = [(s[is_bona], s[~is_bona]) for s in (pairs[0].one, pairs[0].other)]
    assert found.points == pytest.approx(eer(*arms[0])[0] - eer(*arms[1])[0])
    assert (found.one, found.other) == (eer(*arms[0])[0], eer(*arms[1])[0])
    speakers = {"bona_speakers": names[is_bona], "spoof_speakers": names[~is_bona]}
    one, other = (bootstrap_eer(*arm, **speakers) for arm in arms)
    assert one[1] > other[0]  # the two intervals overlap, which says nothing
    assert found.finding(found.p) == "better"
    assert (found.speakers, found.clips, found.seeds) == (40, 960, 1)


def test_the_two_arms_trade_places():
    pairs, is_bona, names = simulated(np.random.default_rng(2), shift=1.5, seeds=2)
    there, back = difference(pairs, is_bona, names), difference([Pair(p.other, p.one) for p in pairs], is_bona, names)
    assert (back.points, back.low, back.high, back.p) == pytest.approx(
        (-there.points, -there.high, -there.low, there.p)
    )
    assert (there.finding(0.01), back.finding(0.01), back.finding(0.2)) == ("better", "worse", "no difference shown")


def test_a_network_does_not_differ_from_itself():
    pairs, is_bona, names = simulated(np.random.default_rng(4), speakers=12)
    found = difference([Pair(pairs[0].one, pairs[0].one)], is_bona, names)
    assert (found.points, found.p) == (0.0, 1.0)
    assert found.low < 0 < found.high  # by half a clip at least


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(5)
    alike = simulated(rng, seeds=3, lift=0.0, shift=0.6)
    apart = simulated(rng, seeds=3, lift=1.0, shift=0.6)
    widths = [found.high - found.low for found in (difference(*alike), difference(*apart))]
    assert widths[1] > 1.5 * widths[0]
    assert difference(*alike).seeds == 3


def test_seeds_whose_scatter_is_the_clips_own_still_tell_something():
    """Where one source is taken off the other, Satterthwaite's rule ends below what either of them knows."""
    drawn = np.random.default_rng(7).normal(size=(3, 500))
    units = _units(np.repeat([True, False], 40), np.tile([f"{n}" for n in range(8)], 10))
    for apart in (0.0, 1.0, 1.1, 1.2, 3.0):
        per_seed = apart * np.array([1.0, 0.0, -1.0])  # variance: apart squared, of which the clips explain about 1
        assert _error(per_seed, drawn / 2, units).freedom >= 2
        assert _error(per_seed, drawn, units).freedom >= 2


def test_an_interval_ends_where_error_rates_end():
    rng = np.random.default_rng(9)
    found = difference(*simulated(rng, speakers=4, bona=2, spoof=2, seeds=2, lift=3.0))
    assert -100 <= found.low < found.high <= 100
    assert -100.0 in (found.low, -found.high)  # two seeds that disagree know next to nothing


def test_speakers_are_what_is_drawn_where_they_are_known():
    pairs, is_bona, names = simulated(np.random.default_rng(6))
    known, unknown = difference(pairs, is_bona, names), difference(pairs, is_bona, np.full(names.size, "-"))
    single = difference(pairs, is_bona, np.full(names.size, "she"))
    assert known.high - known.low > 1.2 * (unknown.high - unknown.low)
    assert (known.speakers, unknown.speakers, single.speakers) == (40, 0, 0)
    assert (single.low, single.high) == (unknown.low, unknown.high)
    half = np.where(is_bona, names, "-")  # corpora that name the speakers of bona fide clips alone
    assert difference(pairs, is_bona, half).speakers == 40


def test_it_repeats_by_its_seed():
    case = simulated(np.random.default_rng(7), speakers=12)
    assert difference(*case, seed=1) == difference(*case, seed=1) != difference(*case, seed=2)


@pytest.mark.parametrize(
    ("values", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Holm's own steps: 4, 3, 2, 1 times, never falling
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(values, corrected):
    assert holm(values) == pytest.approx(corrected)


def test_holm_keeps_the_order():
    values = np.random.default_rng(8).uniform(size=9)
    found = np.array(holm(list(values)))
    assert all(a <= b for a, b in pairwise(found[np.argsort(values)]))
    assert (found >= values).all()


def test_two_clips_are_told_to_be_too_few_for_an_interval():
    clips = ClipScores(("a", "b"), np.array(["x", "x"]), np.array(["-", "A"]), np.array([True, False]), np.zeros(2))
    with pytest.raises(NoAnswerError, match="two clips do not show"):
        _columns([(clips, clips)])
