"""What an optimiser step sees: a function of seed and step alone, so that resuming is looking it up.

Axes: B clips, T samples; `kept` activations have the shape the network's cut gives them, clips first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plastsearch.data.clips import ClipSet, Indices
from plastsearch.data.dataset import Augment, Batch, Sampling, batches, crop_numbers, order
from plastsearch.trial.prefix import KeptActivations


@dataclass(frozen=True)
class Reading:
    """How training clips are read; `crops`: None for a new random place per epoch, N for N fixed places in turn."""

    clips: ClipSet
    batch_size: int
    seed: int
    length_samples: int
    crops: int | None
    sampling: Sampling
    augment: Augment | None
    workers: int

    @property
    def size(self) -> int:
        """Clips per step: a corpus smaller than a batch is a batch."""
        return min(self.batch_size, len(self.clips))

    @property
    def per_epoch(self) -> int:
        """Steps per epoch; the last, shorter batch is left out (each epoch's shuffle leaves others)."""
        return len(self.clips) // self.size


class WaveFeed:
    """Waveforms, prepared ahead by worker threads as long as steps follow one another."""

    def __init__(self, reading: Reading, device: torch.device) -> None:
        self.reading = reading
        self.device = device
        self._next = -1
        self._stream: Iterator[Batch] = iter(())

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Waveforms and labels of one step."""
        epoch, k = divmod(step, self.reading.per_epoch)
        if step != self._next or k == 0:
            self._stream = self._open(epoch, k)
        self._next = step + 1
        found = next(self._stream)
        return found.wave.to(self.device, non_blocking=True), found.label.to(self.device, non_blocking=True)

    def _open(self, epoch: int, first: int) -> Iterator[Batch]:
        of = self.reading
        return batches(
            of.clips, of.size, of.seed, epoch, length_samples=of.length_samples, crops=of.crops, sampling=of.sampling,
            augment=of.augment, workers=of.workers, drop_last=True, first=first,
        )  # fmt: skip


class KeptFeed:
    """The activations below the cut instead of waveforms, for the same clips in the same order."""

    def __init__(self, reading: Reading, kept: KeptActivations, device: torch.device) -> None:
        self.reading = reading
        self.kept = kept
        self.device = device
        self._labels = torch.from_numpy(reading.clips.labels.astype(np.int64))
        self._epoch = -1
        self._rows: Indices = np.empty(0, np.int64)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Activations and labels of one step."""
        epoch, k = divmod(step, self.reading.per_epoch)
        if epoch != self._epoch:
            self._rows, self._epoch = order(self.reading.clips, self.reading.seed, epoch, self.reading.sampling), epoch
        rows = self._rows[k * self.reading.size : (k + 1) * self.reading.size]
        crops = crop_numbers(rows, epoch, self.reading.crops or 1)
        return self.kept.read(rows, crops).to(self.device), self._labels[rows].to(self.device)
