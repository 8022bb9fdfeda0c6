"""A found detector as an ordinary model: audio in, a score out, higher for bona fide speech."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from plastsearch.audio import BadAudioError, decode, resample
from plastsearch.data.windows import HOP_S, starts
from plastsearch.errors import DataError, PlastsearchError
from plastsearch.growth.halving import Halving
from plastsearch.models.detector import Detector
from plastsearch.use.facts import Facts, log_odds
from plastsearch.use.windows import Aggregation, Wave, aggregate, cut

BATCH = 32  # windows


@dataclass(frozen=True)
class Window:
    """One stretch of a clip."""

    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True)
class ClipScore:
    """What a model says of one clip; `score` is a log-likelihood ratio if the model is calibrated."""

    score: float
    probability: float  # of bona fide speech, at the prior that was asked for
    bona_fide: bool  # the decision at the threshold
    windows: tuple[Window, ...]

    def __float__(self) -> float:
        return self.score


@dataclass(frozen=True)
class Verdict:
    """How scores become probabilities and decisions."""

    prior: float = 0.5  # probability of bona fide speech before hearing the clip
    threshold: float = 0.0

    def of(self, score: float, windows: Sequence[Window]) -> ClipScore:
        """A clip's score with what follows from it."""
        odds = score + log_odds(self.prior)
        probability = 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0
        return ClipScore(score, probability, score >= self.threshold, tuple(windows))


class Model:
    """A network in eval mode with what is known of it; made by `plastsearch.load_model`."""

    def __init__(self, detector: Detector, facts: Facts, device: torch.device) -> None:
        self.detector = detector.to(device).eval()
        self.facts = facts
        self.device = device

    def __repr__(self) -> str:
        sizes = sum(parameter.numel() for parameter in self.detector.parameters())
        kind = "calibrated" if self.calibrated else "not calibrated"
        return (
            f"Model({self.facts.name}: {self.facts.network['model_type']}, {sizes:,} parameters, {kind}, {self.device})"
        )

    @property
    def rate_hz(self) -> int:
        """Of the waves it takes."""
        return self.facts.rate_hz

    @property
    def window_samples(self) -> int:
        """Length of the clips it was trained and judged on."""
        return self.facts.length_samples

    @property
    def calibrated(self) -> bool:
        """Whether scores are log-likelihood ratios."""
        return self.facts.calibration is not None

    def threshold(self, prior: float = 0.5) -> float:
        """Where decisions change: Bayes' for equal costs if calibrated, else that of the EER on search-dev."""
        if self.calibrated or self.facts.threshold is None:
            return -log_odds(prior)
        return self.facts.threshold

    def score(
        self,
        audio: str | Path | NDArray[np.floating],
        rate_hz: int | None = None,
        *,
        prior: float = 0.5,
        threshold: float | None = None,
        hop_s: float = HOP_S,
        aggregation: Aggregation = "mean",
    ) -> ClipScore:
        """Score one clip: a file, or samples between -1 and 1 with their rate."""
        wave = self.read(audio) if isinstance(audio, str | Path) else self._samples(audio, rate_hz)
        verdict = Verdict(checked_prior(prior), self.threshold(prior) if threshold is None else threshold)
        return self.judged(wave, verdict, hop_s, aggregation)

    def score_many(self, audio: Iterable[str | Path], **options: object) -> Iterator[ClipScore]:
        """Score one file after the other, in their order."""
        return (self.score(one, **options) for one in audio)  # type: ignore[arg-type]

    def read(self, path: str | Path) -> Wave:
        """A file's samples as the model hears them."""
        try:
            samples, scale = decode(path, self.rate_hz, self.facts.storage)
        except BadAudioError as error:
            raise DataError(f"{path}: {error}") from None
        wave: Wave = samples.astype(np.float32) * np.float32(scale)
        return wave

    def judged(self, wave: Wave, verdict: Verdict, hop_s: float, aggregation: Aggregation) -> ClipScore:
        """One clip's windows scored, and one score out of them."""
        at = starts(len(wave), self.window_samples, max(1, round(hop_s * self.rate_hz)))
        if aggregation == "first":
            at = at[:1]
        scores = self.scores(cut(wave, start, self.window_samples) for start in at)
        ends = [min(start + self.window_samples, len(wave)) for start in at]
        windows = [
            Window(start / self.rate_hz, end / self.rate_hz, float(score))
            for start, end, score in zip(at, ends, scores, strict=True)
        ]
        return verdict.of(aggregate(scores, aggregation), windows)

    def scores(self, windows: Iterable[Wave]) -> NDArray[np.float64]:
        """A score for each window of the model's own length; log-likelihood ratios if it is calibrated."""
        found: list[NDArray[np.float64]] = []
        halving = Halving()
        with torch.inference_mode():
            for batch in _batches(windows):
                wave_BT = torch.from_numpy(batch).to(self.device)
                found.append(halving.rows(self.raw, wave_BT).double().cpu().numpy())
        plain = np.concatenate(found) if found else np.zeros(0)
        calibration = self.facts.calibration
        return plain if calibration is None else calibration.slope * plain + calibration.offset

    def raw(self, wave_BT: torch.Tensor) -> torch.Tensor:
        """Differences of logits, before any calibration."""
        logits_BC = self.detector(wave_BT).float()
        difference: torch.Tensor = logits_BC[:, 1] - logits_BC[:, 0]
        return difference

    def _samples(self, audio: NDArray[np.floating], rate_hz: int | None) -> Wave:
        wave = np.ascontiguousarray(audio, dtype=np.float32)
        if rate_hz is None:
            raise PlastsearchError("samples need their rate: model.score(wave, rate_hz=16000)")
        if wave.ndim != 1 or not len(wave) or not np.isfinite(wave).all():
            raise DataError(f"one row of finite samples is wanted, not an array of shape {audio.shape}")
        return wave if rate_hz == self.rate_hz else resample(wave, rate_hz, self.rate_hz)


def checked_prior(prior: float) -> float:
    """A probability strictly between 0 and 1."""
    if not 0 < prior < 1:
        raise PlastsearchError(f"a prior is a probability between 0 and 1, not {prior}")
    return prior


def _batches(windows: Iterable[Wave]) -> Iterator[Wave]:
    rows: list[Wave] = []
    for window in windows:
        rows.append(window)
        if len(rows) == BATCH:
            yield np.stack(rows)
            rows = []
    if rows:
        yield np.stack(rows)
