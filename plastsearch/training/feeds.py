"""What an optimiser step sees: a function of seed and step alone, so that resuming is looking it up.

Steps are counted from the beginning of the trial, across its stages. Two arms of a sweep thus read the same clips, cut
at the same places, in the same order, whatever their stages and whether activations are kept or computed.

Axes: B clips, T samples; `kept` activations have the shape the network's cut gives them, clips first.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastsearch.data.clips import ClipSet, Indices
from plastsearch.data.dataset import AHEAD, Augment, Sampling, make_batch, order
from plastsearch.store.activations import CachedActivations

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Reading:
    """How training clips are read; `crops`: None for a new random place per epoch, N for N fixed places in turn."""

    clips: ClipSet
    batch_size: int
    seed: int
    first: int  # steps of the trial before the stage's own
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

    def place(self, step: int) -> tuple[int, int]:
        """The epoch that a step of the stage belongs to, and its number there."""
        return divmod(self.first + step, self.per_epoch)


class Prepared:
    """Batches on their device, each made from its step alone; threads make those of the next steps ahead."""

    def __init__(self, reading: Reading, device: torch.device, steps: int) -> None:
        self.reading = reading
        self.device = device
        self.steps = steps
        epochs = partial(order, reading.clips, reading.seed, sampling=reading.sampling)
        self._rows = lru_cache(maxsize=2)(epochs)  # threads may be in this epoch and in the next
        self._threads: ThreadPoolExecutor | None = None
        if reading.workers:
            self._threads = ThreadPoolExecutor(reading.workers, "batches", initializer=_on(device))
        self._waiting: deque[Future[Pair]] = deque()
        self._first = 0  # the step of the first that waits

    @abstractmethod
    def read(self, rows: Indices, epoch: int) -> Pair:
        """Inputs and labels of these clips as this epoch shows them, on the CPU."""

    def batch(self, step: int) -> Pair:
        """Inputs and labels of one step; copied to a GPU while it computes."""
        inputs, labels = self._ahead(step) if self._threads else self._make(step)
        return inputs.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def close(self) -> None:
        """End the threads that make batches ahead."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _ahead(self, step: int) -> Pair:
        assert self._threads is not None
        if not self._waiting or step != self._first:
            for future in self._waiting:
                future.cancel()
            self._waiting.clear()
            self._first = step
        last = max(step + 1, min(self.steps, step + self.reading.workers * AHEAD))
        while self._first + len(self._waiting) < last:
            self._waiting.append(self._threads.submit(self._make, self._first + len(self._waiting)))
        self._first = step + 1
        return self._waiting.popleft().result()

    def _make(self, step: int) -> Pair:
        epoch, k = self.reading.place(step)
        size = self.reading.size
        inputs, labels = self.read(self._rows(epoch)[k * size : (k + 1) * size], epoch)
        if self.device.type == "cuda":  # only pinned memory is copied without the host waiting
            return inputs.pin_memory(), labels.pin_memory()
        return inputs, labels


class WaveFeed(Prepared):
    """Waveforms, cut and changed as each epoch asks."""

    def read(self, rows: Indices, epoch: int) -> Pair:
        """The waveforms of these clips, cut and changed."""
        of = self.reading
        found = make_batch(
            of.clips, rows, of.seed, epoch, length_samples=of.length_samples, crops=of.crops, augment=of.augment
        )
        return found.wave, found.label


@dataclass(frozen=True)
class KeptCrops:
    """Activations of the training clips at one cut, turn by turn of their crops.

    A clip no longer than a crop has one place only; those are kept once, apart from those whose places take turns.
    """

    at: Indices  # row of each clip among those of its kind
    longer: NDArray[np.bool_]  # which clips have several places
    turns: Mapping[int | None, CachedActivations]  # turn → longer clips at their places in such an epoch; None: others

    def read(self, rows: Indices, turn: int) -> Tensor:
        """What these clips give in an epoch of that turn, in float32."""
        longer = self.longer[rows]
        if longer.all() or not longer.any():
            return self.turns[turn if longer.all() else None].read(self.at[rows])
        parts = [self.turns[None].read(self.at[rows[~longer]]), self.turns[turn].read(self.at[rows[longer]])]
        back = np.argsort(np.argsort(longer, kind="stable"))
        return torch.cat(parts)[torch.from_numpy(back)]


class CachedFeed(Prepared):
    """The activations below the cut instead of waveforms, for the same clips in the same order."""

    def __init__(self, reading: Reading, kept: KeptCrops, device: torch.device, steps: int) -> None:
        super().__init__(reading, device, steps)
        self.kept = kept

    def read(self, rows: Indices, epoch: int) -> Pair:
        """The activations of these clips at the places where this epoch cuts them."""
        kept = self.kept.read(rows, epoch % (self.reading.crops or 1))
        return kept, torch.from_numpy(self.reading.clips.labels[rows].astype(np.int64))


def _on(device: torch.device) -> Callable[[], None] | None:
    """A thread begins on the first GPU, whichever its process uses."""
    return partial(torch.cuda.set_device, device) if device.type == "cuda" else None
