"""No class of the generated corpus is told apart by level, duration, silence or bandwidth."""

from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray

from plastsearch.synth.corpus import RATE_HZ, render
from plastsearch.synth.layouts import LAYOUTS, ClipRecipe, Counts

OCTAVES_HZ = (50, 150, 300, 600, 1200, 2400, 4000, 5000, 6000, 7000, 7600, 8000)
FRAME = 400


def cues(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level, peak, length, silences and where the spectrum ends; nothing of its fine structure."""
    wave = wave.astype(np.float64)
    level = np.sqrt(np.mean(wave**2))
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    frame_db = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    below = frame_db.max() - frame_db
    active = np.flatnonzero(below < 30)
    power = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.linspace(0, RATE_HZ / 2, len(power))
    share = np.cumsum(power) / power.sum()
    ends = [hertz[np.searchsorted(share, quantile)] for quantile in (0.5, 0.85, 0.95, 0.99, 0.999)]
    bands = [
        10 * np.log10(power[(hertz >= low) & (hertz < high)].mean() / power.mean() + 1e-12)
        for low, high in pairwise(OCTAVES_HZ)
    ]
    silences = [active[0], len(frames) - active[-1], (below > 20).mean(), (below > 30).mean(), (below > 40).mean()]
    levels = [np.log(level), np.log(np.abs(wave).max() / level), frame_db.std(), below.max(), wave.mean() / level]
    return np.array([*levels, len(wave), *silences, *ends, *bands])


def fit_logistic(inputs: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Newton's method with a unit ridge."""
    weight = np.zeros(inputs.shape[1])
    for _ in range(25):
        chance = 1 / (1 + np.exp(-inputs @ weight))
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + np.eye(len(weight))
        weight += np.linalg.solve(curvature, inputs.T @ (labels - chance) - weight)
    return weight


def equal_error(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    bona, spoof = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    grid = np.concatenate([bona, spoof])
    misses = np.searchsorted(bona, grid) / len(bona)
    alarms = 1 - np.searchsorted(spoof, grid) / len(spoof)
    at = np.abs(misses - alarms).argmin()
    return float(50 * (misses[at] + alarms[at]))


def cue_error(plans: list[ClipRecipe], difficulty: float, length_s: tuple[float, float]) -> float:
    """EER in percent of a classifier on cues alone, two folds, each tested on the other."""
    features = np.stack([cues(render(plan, 0, difficulty, length_s)) for plan in plans])
    labels = np.array([plan.attack == "-" for plan in plans], np.int64)
    features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    features = np.concatenate([features, np.ones((len(plans), 1))], axis=1)
    fold = np.arange(len(plans)) % 2 == 0
    errors = [
        equal_error(features[~train] @ fit_logistic(features[train], labels[train]), labels[~train])
        for train in (fold, ~fold)
    ]
    return float(np.mean(errors))


def test_the_classifier_finds_a_cue_where_there_is_one() -> None:
    plans = [ClipRecipe(k, k % 8, PurePosixPath("x"), "-" if k % 2 else "A05") for k in range(60)]
    waves = [render(plan, 0, 0.5, (0.3, 0.4)) * (3 if plan.attack == "-" else 1) for plan in plans]
    features = np.stack([cues(wave) for wave in waves])[:, :1]
    labels = np.array([plan.attack == "-" for plan in plans], np.int64)
    assert equal_error(features[:, 0], labels) < 35


def test_cues_of_la_tell_nothing() -> None:
    plans, _ = LAYOUTS["la"](Counts(300, 0, 0, 0.5, 8), np.random.default_rng(0), None)
    assert cue_error(plans, 0.5, (0.5, 0.8)) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("layout", ["la", "pa", "for", "itw"])
def test_cues_tell_nothing_in_any_layout(layout: str, difficulty: float) -> None:
    plans, _ = LAYOUTS[layout](Counts(1000, 0, 0, 0.5, 8), np.random.default_rng(1), None)
    assert cue_error(plans[:1000], difficulty, (0.8, 1.6)) >= 40


@pytest.mark.slow
def test_cues_of_attacks_in_eval_tell_nothing() -> None:
    plans, _ = LAYOUTS["la"](Counts(0, 0, 1000, 0.5, 8), np.random.default_rng(2), None)
    assert cue_error(plans, 0.0, (0.8, 1.6)) >= 40
