"""Batches of clips in an order that a seed and an epoch fix, whatever the number of workers.

B clips of a batch, T samples.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from plastsearch.data.clips import ClipSet, Indices, fixed_starts

AHEAD = 2  # batches each worker prepares before they are asked for

Augment = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # wave_BT, seeds_B → wave_BT
Sampling = Literal["shuffle", "balanced", "in_order"]


class Batch(NamedTuple):
    """One batch; `clip` counts clips within their set."""

    clip: torch.Tensor  # B
    wave: torch.Tensor  # BT
    label: torch.Tensor  # B


def clip_seeds(seed: int, epoch: int, rows: Indices, purpose: int = 0) -> npt.NDArray[np.uint64]:
    """One number per clip that depends on nothing but seed, epoch, clip and purpose (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = np.full(len(rows), 0x9E3779B97F4A7C15, np.uint64)
        for part in (seed, epoch, purpose, rows):
            mixed = mixed + np.asarray(part, np.int64).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed


def order(clips: ClipSet, seed: int, epoch: int, sampling: Sampling = "shuffle") -> Indices:
    """The clips of one epoch: a permutation, as many drawn with equal weight for both classes, or as they are."""
    if sampling == "in_order":
        return np.arange(len(clips), dtype=np.int64)
    rng = np.random.default_rng([seed, epoch, 1])
    if sampling == "shuffle":
        shuffled: Indices = rng.permutation(len(clips)).astype(np.int64)
        return shuffled
    counts = np.bincount(clips.labels, minlength=2)
    if counts.min() == 0:
        raise ValueError("a balanced sampler needs clips of both classes")
    weight = (0.5 / counts)[clips.labels]
    drawn: Indices = rng.choice(len(clips), len(clips), p=weight).astype(np.int64)
    return drawn


def crop_numbers(rows: Indices, epoch: int, crops: int) -> Indices:
    """Which of its `crops` fixed crops each clip shows in this epoch: they take turns."""
    turn: Indices = (np.asarray(rows, np.int64) + epoch) % crops
    return turn


def starts(clips: ClipSet, rows: Indices, length_samples: int, seed: int, epoch: int, crops: int | None) -> Indices:
    """Where each clip is cut: a new random place per epoch (None), the head (0), or its fixed crop of this epoch."""
    room = np.maximum(clips.lengths[rows] - length_samples, 0)
    if crops is None:
        # room + 1 starts: a clip of exactly the wanted length has one
        unit = (clip_seeds(seed, epoch, rows) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        begin: Indices = np.minimum((unit * (room + 1)).astype(np.int64), room)
        return begin
    if crops == 0:
        return np.zeros(len(rows), np.int64)
    return fixed_starts(room, crop_numbers(rows, epoch, crops))


def batches(
    clips: ClipSet,
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    length_samples: int,
    crops: int | None = 0,
    sampling: Sampling = "shuffle",
    augment: Augment | None = None,
    workers: int = 0,
    drop_last: bool = False,
    first: int = 0,
) -> Iterator[Batch]:
    """The batches of one epoch from number `first` on; equal for any number of workers.

    `crops`: None cuts a new random place per epoch, 0 the head, N one of N fixed places in turn.
    `workers` threads prepare batches ahead; reading and scaling release the interpreter lock.
    """
    rows = order(clips, seed, epoch, sampling)
    if drop_last:
        rows = rows[: len(rows) - len(rows) % batch_size]
    parts = [rows[i : i + batch_size] for i in range(first * batch_size, len(rows), batch_size)]

    def make(part: Indices) -> Batch:
        return make_batch(clips, part, seed, epoch, length_samples=length_samples, crops=crops, augment=augment)

    return map(make, parts) if workers == 0 else _ahead(make, parts, workers)


def make_batch(
    clips: ClipSet,
    rows: Indices,
    seed: int,
    epoch: int,
    *,
    length_samples: int,
    crops: int | None,
    augment: Augment | None,
) -> Batch:
    """These clips, cut and changed as they are in this epoch."""
    begin = starts(clips, rows, length_samples, seed, epoch, crops)
    wave_BT = torch.from_numpy(clips.cut(rows, begin, length_samples))
    if augment is not None:
        seeds_B = torch.from_numpy((clip_seeds(seed, epoch, rows, purpose=1) >> np.uint64(1)).astype(np.int64))
        wave_BT = augment(wave_BT, seeds_B)
    return Batch(torch.from_numpy(rows), wave_BT, torch.from_numpy(clips.labels[rows].astype(np.int64)))


def _ahead(make: Callable[[Indices], Batch], parts: list[Indices], workers: int) -> Iterator[Batch]:
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as threads:
        try:
            for part in parts:
                waiting.append(threads.submit(make, part))
                if len(waiting) > workers * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
