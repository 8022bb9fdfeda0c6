"""What a corpus gives away without any speech: a classifier on level, length, bandwidth and silence, and its EER.

A corpus is of use where this classifier is near 50 %: what a detector then learns is not how clips were recorded.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from plastsearch.scores.metrics import eer

RATE_HZ = 16_000
FRAME = 320
Values = NDArray[np.float64]
NAMES = ("rms", "peak", "seconds", "lower edge", "upper edge", "floor", "head", "tail")


def cues(wave: Values) -> Values:
    """Level (RMS, peak), length, the edges of the band, the noise floor, and the silence before and after."""
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-12)
    loud = level > level.max() - 30
    power = np.square(np.abs(np.fft.rfft(wave, 1 << 16)))
    bands = power[: 1 << 15].reshape(256, -1).mean(1)
    within = np.flatnonzero(bands > bands.max() * 1e-4)
    return np.array(
        [
            10 * np.log10(np.square(wave).mean() + 1e-12),
            20 * np.log10(np.abs(wave).max() + 1e-12),
            len(wave) / RATE_HZ,
            within[0],
            within[-1],
            np.percentile(level, 2),
            np.argmax(loud),
            np.argmax(loud[::-1]),
        ],
        dtype=np.float64,
    )


def cue_eers(
    train: tuple[Sequence[Values], Sequence[int]], others: dict[str, tuple[Sequence[Values], Sequence[int]]]
) -> dict[str, float]:
    """The EER of the better of a linear and a boosted classifier, by split; both learn from the training clips."""
    rows, labels = np.stack(train[0]), np.array(train[1])
    found = dict.fromkeys(others, 100.0)
    for model in (
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")),
        HistGradientBoostingClassifier(max_iter=60, max_depth=3, random_state=0),
    ):
        model.fit(rows, labels)
        for split, (clips, truth) in others.items():
            score = model.predict_proba(np.stack(clips))[:, 1]
            is_bona = np.array(truth) == 1
            found[split] = min(found[split], eer(score[is_bona], score[~is_bona])[0])
    return found
