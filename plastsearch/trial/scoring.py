"""Scores of a set of clips: logit differences in float32, higher = bona fide."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plastsearch.data.clips import ClipSet, Indices
from plastsearch.data.windows import HOP_S, starts
from plastsearch.errors import TrialError
from plastsearch.growth.halving import Halving
from plastsearch.models.detector import Detector
from plastsearch.scores.metrics import eer
from plastsearch.scores.summary import Summary, summary
from plastsearch.store.activations import CachedActivations
from plastsearch.training.state import Quality
from plastsearch.trial.context import TrialContext

Scores = NDArray[np.float32]
BATCH = 64


def waves(clips: ClipSet, length_samples: int, device: torch.device, batch_size: int = BATCH) -> Iterator[Tensor]:
    """The head crop of every clip, in order."""
    for first in range(0, len(clips), batch_size):
        rows = np.arange(first, min(first + batch_size, len(clips)))
        yield torch.from_numpy(clips.batch(rows, length_samples)).to(device)


@dataclass(frozen=True)
class Places:
    """What a set is scored on: which clip each window belongs to, and where it begins."""

    rows: Indices
    starts: Indices
    name: str  # for what is kept of them

    def waves(self, clips: ClipSet, length_samples: int, device: torch.device) -> Iterator[Tensor]:
        """The windows, in order."""
        for first in range(0, len(self.rows), BATCH):
            some = slice(first, first + BATCH)
            yield torch.from_numpy(clips.cut(self.rows[some], self.starts[some], length_samples)).to(device)

    def by_clip(self, scores: Scores) -> Scores:
        """One score of each clip: the mean of its windows."""
        if self.name == "head":
            return scores
        means: Scores = (np.bincount(self.rows, scores.astype(np.float64)) / np.bincount(self.rows)).astype(np.float32)
        return means


def places(context: TrialContext, clips: ClipSet) -> Places:
    """The head of every clip, or the windows that a found model hears of it."""
    data = context.config.data
    if data.score == "head":
        every = np.arange(len(clips), dtype=np.int64)
        return Places(every, np.zeros_like(every), data.score)
    hop = round(HOP_S * clips.rate_hz)
    found = [starts(int(length), data.length_samples, hop) for length in clips.lengths]
    rows = np.repeat(np.arange(len(clips)), [len(one) for one in found]).astype(np.int64)
    return Places(rows, np.array([start for one in found for start in one], np.int64), data.score)


def clip_scores(context: TrialContext, module: Detector, clips: ClipSet) -> Scores:
    """A score of every clip, in their order."""
    where = places(context, clips)
    inputs = where.waves(clips, context.length_samples, context.device)
    return where.by_clip(score(module, module, inputs, context.bf16))


def score(module: nn.Module, logits: Callable[[Tensor], Tensor], inputs: Iterator[Tensor], bf16: bool) -> Scores:
    """Scores in eval mode; the module's mode is the caller's to set again."""

    def differences(part: Tensor) -> Tensor:
        with torch.autocast(part.device.type, torch.bfloat16, enabled=bf16):
            found = logits(part)
        found = found.float()
        return found[:, 1] - found[:, 0]

    module.eval()
    halving = Halving()
    with torch.inference_mode():
        parts = [halving.rows(differences, batch) for batch in inputs]
    return torch.cat(parts).cpu().numpy()


def dev_scores(
    context: TrialContext, module: Detector, cut: str | None = None, kept: CachedActivations | None = None
) -> Scores:
    """Scores of the search-dev clips, in their order; from activations kept at a cut, where there are any."""
    clips = context.search_dev
    if kept is None or cut is None:
        return clip_scores(context, module, clips)
    where = places(context, clips)
    parts = (
        kept.read(np.arange(first, min(first + BATCH, len(where.rows)))).to(context.device)
        for first in range(0, len(where.rows), BATCH)
    )
    return where.by_clip(score(module, lambda hidden: module.suffix(hidden, cut), parts, context.bf16))


def evaluate(
    context: TrialContext, module: Detector, cut: str | None = None, kept: CachedActivations | None = None
) -> Quality:
    """The dev set's answer, from kept activations where there are any."""
    return quality(dev_scores(context, module, cut, kept), context.search_dev.labels)


def quality(scores: Scores, labels: NDArray[np.int8]) -> Quality:
    """EER in percent, and the class-balanced log loss that decides between equal EERs."""
    bona, spoof = _split(scores, labels)
    loss = 0.5 * (np.logaddexp(0, -bona).mean() + np.logaddexp(0, spoof).mean())
    return Quality(eer(bona, spoof)[0], float(loss), torch.from_numpy(scores))


def split_summary(scores: Scores, clips: ClipSet, seed: int) -> Summary:
    """Every metric of a split, with its interval and the EER per attack."""
    _split(scores, clips.labels)
    return summary(scores, clips.labels, list(clips.attacks), list(clips.speakers), seed=seed)


def packed(scores: Scores | Tensor) -> str:
    """Scores as text for a record: float32, base64."""
    return base64.b64encode(np.asarray(scores, "<f4").tobytes()).decode()


def unpacked(text: str) -> Scores:
    """Scores from the text that `packed` made."""
    return np.frombuffer(bytearray(base64.b64decode(text)), "<f4")  # of bytes it would be read-only


def _split(scores: Scores, labels: NDArray[np.int8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = scores.astype(np.float64)
    if not np.isfinite(values).all():
        raise TrialError(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are NaN or infinite")
    return values[labels == 1], values[labels == 0]
