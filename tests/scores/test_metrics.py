"""Metrics against hand cases, a literal twin of the official rule, and the laws they obey."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plastsearch.errors import DataError
from plastsearch.scores import metrics
from plastsearch.scores.bootstrap import bootstrap_eer
from plastsearch.scores.metrics import act_dcf, cllr, curve, eer, eer_tie_safe, min_dcf
from plastsearch.scores.summary import summary

SCORES = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=12)  # few values, so that many tie


def walk(bona, spoof):
    """The official operating points, one trial at a time: bona fide first, stable ascending sort."""
    trials = sorted([(score, True) for score in bona] + [(score, False) for score in spoof], key=lambda t: t[0])
    missed, below = 0, 0
    yield 0.0, 1.0, trials[0][0] - 0.001
    for score, is_bona in trials:
        missed, below = missed + is_bona, below + (not is_bona)
        yield missed / len(bona), (len(spoof) - below) / len(spoof), score


def brute_eer(bona, spoof):
    miss, false_alarm, threshold = min(walk(bona, spoof), key=lambda point: abs(point[0] - point[1]))
    return 100 * (miss + false_alarm) / 2, threshold


@pytest.mark.parametrize(
    ("bona", "spoof", "official", "tie_safe"),
    [
        ([2, 3], [0, 1], 0, 0),  # perfect
        ([0, 1], [2, 3], 100, 100),  # swapped
        ([1, 1, 1], [1, 1, 1, 1], 100, 50),  # constant
        ([1, 0], [0, 0], 50, 25),  # ties across the classes: the official rule puts bona fide first
        ([1], [0], 0, 0),  # two scores
        ([0], [1], 100, 100),
        ([1, 3], [0, 2], 50, 50),
    ],
)
def test_eer_of_hand_cases(bona, spoof, official, tie_safe):
    assert eer(bona, spoof)[0] == official
    assert eer_tie_safe(bona, spoof) == tie_safe


@given(SCORES, SCORES)
def test_curve_and_eer_equal_the_official_walk(bona, spoof):
    of = curve(bona, spoof)
    points = list(walk(bona, spoof))
    assert of.miss.tolist() == [point[0] for point in points]
    assert of.false_alarm.tolist() == [point[1] for point in points]
    assert [of.threshold(k) for k in range(len(points))] == [point[2] for point in points]
    assert eer(bona, spoof) == brute_eer(bona, spoof)


@given(SCORES, SCORES)
def test_eer_ignores_an_increasing_map_of_the_scores(bona, spoof):
    mapped = [np.arctan(score) * 3 + 1 for score in bona], [np.arctan(score) * 3 + 1 for score in spoof]
    assert eer(*mapped)[0] == eer(bona, spoof)[0]
    assert eer_tie_safe(*mapped) == eer_tie_safe(bona, spoof)


@given(SCORES, SCORES, st.randoms())
def test_metrics_ignore_the_order_of_trials(bona, spoof, random):
    shuffled = random.sample(bona, len(bona)), random.sample(spoof, len(spoof))
    assert eer(*shuffled) == eer(bona, spoof)
    assert min_dcf(*shuffled) == min_dcf(bona, spoof)
    assert cllr(*shuffled) == pytest.approx(cllr(bona, spoof))


@given(st.sets(st.floats(-9, 9), min_size=2, max_size=20), st.data())
def test_tie_safe_eer_is_the_official_one_without_ties(scores, data):
    scores = sorted(scores)
    is_bona = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)).filter(
        lambda labels: any(labels) and not all(labels)))  # fmt: skip
    bona = [score for score, label in zip(scores, is_bona, strict=True) if label]
    spoof = [score for score, label in zip(scores, is_bona, strict=True) if not label]
    assert eer_tie_safe(bona, spoof) == eer(bona, spoof)[0]


@given(SCORES, SCORES)
def test_detection_costs_equal_their_definition(bona, spoof):
    costs = [(0.95 * miss + 0.5 * false_alarm) / 0.5 for miss, false_alarm, _ in walk(bona, spoof)]
    assert min_dcf(bona, spoof) == pytest.approx(min(costs))
    miss = sum(score < -np.log(1.9) for score in bona) / len(bona)
    false_alarm = sum(score >= -np.log(1.9) for score in spoof) / len(spoof)
    assert act_dcf(bona, spoof) == pytest.approx((0.95 * miss + 0.5 * false_alarm) / 0.5)
    assert min_dcf(bona, spoof) <= 1.0


def test_cllr_of_hand_cases():
    assert cllr([0, 0], [0]) == pytest.approx(1)
    assert cllr([50], [-50]) == pytest.approx(0)
    assert cllr([-900], [900]) == pytest.approx(900 / np.log(2))  # no overflow
    assert cllr([1], [-2]) == pytest.approx((np.log2(1 + np.exp(-1)) + np.log2(1 + np.exp(-2))) / 2)


@pytest.mark.parametrize(
    ("bona", "spoof", "words"),
    [
        ([], [1], "no bona fide scores"),
        ([1], [], "no spoof scores"),
        ([1, np.nan], [0], "1 of 2 bona fide scores are NaN or infinite, the first at row 1"),
        ([1], [0, np.inf], "spoof scores are NaN or infinite"),
    ],
)
@pytest.mark.parametrize("metric", [eer, eer_tie_safe, min_dcf, act_dcf, cllr, bootstrap_eer])
def test_lost_scores_and_classes_are_errors(metric, bona, spoof, words):
    with pytest.raises(DataError, match=words):
        metric(bona, spoof)


def exact_eer(is_bona):
    """The rule in whole numbers, for trials in ascending order: rounding may not choose between two equal points."""
    n_bona, n_spoof = int(is_bona.sum()), int((~is_bona).sum())
    points = [(0, n_spoof), *zip(np.cumsum(is_bona).tolist(), (n_spoof - np.cumsum(~is_bona)).tolist(), strict=True)]
    missed, alarms = min(points, key=lambda point: abs(point[0] * n_spoof - point[1] * n_bona))
    return 50 * (missed / n_bona + alarms / n_spoof)


@settings(max_examples=60)
@given(SCORES, SCORES, st.integers(0, 99))
def test_weighted_eer_is_the_eer_of_repeated_trials(bona, spoof, seed):
    of, rng = curve(bona, spoof), np.random.default_rng(seed)
    weights = rng.integers(0, 4, size=(3, of.scores.size))
    weights[:, [np.flatnonzero(of.is_bona)[0], np.flatnonzero(~of.is_bona)[0]]] += 1
    expected = [exact_eer(np.repeat(of.is_bona, row)) for row in weights]
    assert metrics.weighted_eers(of, weights) == pytest.approx(expected)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng, truth, hits = np.random.default_rng(3), 100 * 0.158655, 0  # two unit normals two apart: EER = Phi(-1)
    for seed in range(60):
        low, high = bootstrap_eer(rng.normal(2, 1, 200), rng.normal(0, 1, 800), replicates=200, seed=seed)
        hits += low <= truth <= high
    assert hits >= 51  # 95 % of 60 is 57; fewer than 51 happens once in two thousand


def test_interval_repeats_by_seed_and_holds_the_point():
    rng = np.random.default_rng(0)
    bona, spoof = rng.normal(2, 1, 50), rng.normal(0, 1, 300)
    low, high = bootstrap_eer(bona, spoof, seed=5)
    assert (low, high) == bootstrap_eer(bona, spoof, seed=5) != bootstrap_eer(bona, spoof, seed=6)
    assert low <= eer(bona, spoof)[0] <= high


def test_clustered_interval_is_wider_when_speakers_differ():
    rng = np.random.default_rng(1)
    speakers = np.repeat(np.arange(20), 40)
    shift = rng.normal(0, 1.5, 20)[speakers]
    bona, spoof = rng.normal(2, 1, 800) + shift, rng.normal(0, 1, 800) + shift
    by_clip = bootstrap_eer(bona, spoof, replicates=300)
    by_speaker = bootstrap_eer(bona, spoof, bona_speakers=speakers, spoof_speakers=speakers, replicates=300)
    assert by_speaker[1] - by_speaker[0] > 1.5 * (by_clip[1] - by_clip[0])


def test_speakers_of_one_class_alone_keep_both_classes_alive():
    bona, spoof = np.arange(10.0), np.arange(10.0) - 3
    found = bootstrap_eer(bona, spoof, bona_speakers=["a"] * 10, spoof_speakers=["b"] * 10, replicates=20)
    assert found == (eer(bona, spoof)[0],) * 2  # one speaker each: nothing to resample, and no class is lost


def test_no_error_seen_is_not_no_error():
    low, high = bootstrap_eer(np.ones(40), np.zeros(400))
    assert low == 0
    assert high == pytest.approx(100 * (1 - 0.025 ** (1 / 40)))
    assert bootstrap_eer(np.zeros(40), np.ones(400)) == (pytest.approx(100 - high), 100)


def test_summary_holds_everything():
    rng = np.random.default_rng(2)
    labels = np.repeat([1, 0], [60, 120])
    scores = rng.normal(2 * labels, 1)
    attacks = ["-"] * 60 + ["A01"] * 60 + ["A02"] * 60
    speakers = [f"s{n % 12}" for n in range(180)]
    found = summary(scores, labels, attacks, speakers, replicates=50)
    bona, spoof = scores[:60], scores[60:]
    assert found.eer == eer(bona, spoof)[0]
    assert found.per_attack == {"A01": eer(bona, spoof[:60])[0], "A02": eer(bona, spoof[60:])[0]}
    assert (found.n_bona, found.n_spoof, found.interval_over) == (60, 120, "speakers")
    assert found.eer_low <= found.eer <= found.eer_high
    assert summary(scores, labels, speakers=["one"] * 180, replicates=20).interval_over == "clips"
    assert "eer_low" not in summary(scores, labels, replicates=0).plain()
    assert list(found.plain())[:3] == ["eer", "threshold", "eer_tie_safe"]
    with pytest.raises(DataError, match="180 scores for 3 labels"):
        summary(scores, [1, 0, 1])


def test_a_million_scores_are_quick():
    """The goal is 0.2 s on a quiet core and 10 s for the intervals; the bounds here allow for a busy machine."""
    rng = np.random.default_rng(0)
    bona, spoof = rng.normal(2, 1, 100_000), rng.normal(0, 1, 900_000)
    start = time.process_time()
    eer(bona, spoof)
    assert time.process_time() - start < 0.4
    start = time.process_time()
    bootstrap_eer(bona[:7355], spoof[:63882], replicates=100)
    assert time.process_time() - start < 2
