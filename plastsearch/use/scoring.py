"""Many files scored at once: threads read ahead, windows of several clips share a batch, results keep their order.

Clips go through in blocks that close at two full batches of windows. What shares a batch depends only on the clips of
its block, never on when a run was stopped, so that a run that goes on at the end of a block gives the same last digit.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from plastsearch.cores import usable_cores
from plastsearch.errors import DataError
from plastsearch.growth.halving import Halving
from plastsearch.use.model import HOP_S, Model
from plastsearch.use.windows import Wave, cut, starts

# Windows at a time. On two cores a base-size encoder takes a quarter more per clip at 4, and twice the memory at 32.
BATCH = {"cpu": 16, "cuda": 64}
MOST_THREADS = 8
AHEAD_BYTES = 1 << 26  # of files that wait decoded; FLAC grows to about four times that in memory
CLIPS_PER_BLOCK = 256  # also where none can be read


@dataclass(frozen=True)
class How:
    """What a clip's windows are, and how they are taken."""

    hop_s: float = HOP_S
    only_first: bool = False
    batch: int | None = None  # None: what suits the device
    threads: int | None = None  # None: every core this process may use, up to 8


@dataclass(frozen=True)
class Heard:
    """A clip and the plain score of each of its windows, or why there is none."""

    path: str
    samples: int = 0  # at the model's rate
    scores: tuple[float, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class _Read:
    path: str
    wave: Wave | None
    at: list[int]
    error: str | None = None


def batch_of(model: Model, how: How) -> int:
    """How many windows go through the network at a time."""
    return how.batch or BATCH.get(model.device.type, BATCH["cpu"])


def hear_all(model: Model, paths: Sequence[str], how: How) -> Iterator[list[Heard]]:
    """Blocks of clips in their order; a file that cannot be used has its reason in place of scores."""
    batch = batch_of(model, how)
    block: list[_Read] = []
    windows = 0
    for read in _ahead(model, paths, how, batch):
        block.append(read)
        windows += len(read.at)
        if windows >= 2 * batch or len(block) >= CLIPS_PER_BLOCK:
            yield _judged(model, block, batch)
            block, windows = [], 0
    if block:
        yield _judged(model, block, batch)


def _judged(model: Model, block: Sequence[_Read], batch: int) -> list[Heard]:
    scores = _scores(model, block, batch)
    found: list[Heard] = []
    first = 0
    for read in block:
        if read.wave is None:
            found.append(Heard(read.path, error=read.error))
            continue
        own = scores[first : first + len(read.at)]
        first += len(read.at)
        if np.isfinite(own).all():
            found.append(Heard(read.path, len(read.wave), tuple(own.tolist())))
        else:
            found.append(Heard(read.path, error="the network gives no finite score"))
    return found


def _scores(model: Model, block: Sequence[_Read], batch: int) -> NDArray[np.float64]:
    """Plain scores of all windows of a block, one after the other."""
    length = model.window_samples
    places = [(read.wave, start) for read in block if read.wave is not None for start in read.at]
    found: list[NDArray[np.float64]] = []
    halving = Halving()
    with torch.inference_mode():
        for first in range(0, len(places), batch):
            rows = [cut(wave, start, length) for wave, start in places[first : first + batch]]
            wave_BT = torch.from_numpy(np.stack(rows)).to(model.device)
            found.append(halving.rows(model.raw, wave_BT).double().cpu().numpy())
    return np.concatenate(found) if found else np.zeros(0)


def _ahead(model: Model, paths: Sequence[str], how: How, batch: int) -> Iterator[_Read]:
    """Files in their order, read by threads that run ahead as far as memory allows."""
    threads = how.threads or min(usable_cores(), MOST_THREADS)
    hop = max(1, round(how.hop_s * model.rate_hz))
    waiting: deque[tuple[Future[_Read], int]] = deque()
    held = 0
    rest = iter(paths)
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        try:
            path = next(rest, None)
            while path is not None or waiting:
                while path is not None and len(waiting) < 2 * batch + threads and (held < AHEAD_BYTES or not waiting):
                    size = _size(path)
                    waiting.append((pool.submit(_read, model, path, hop, how.only_first), size))
                    held += size
                    path = next(rest, None)
                future, size = waiting.popleft()
                held -= size
                yield future.result()
        finally:
            for future, _ in waiting:
                future.cancel()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - of many
    except (OSError, ValueError):
        return 0


def _read(model: Model, path: str, hop: int, only_first: bool) -> _Read:
    try:
        wave = model.read(path)
    except DataError as error:
        return _Read(path, None, [], str(error).removeprefix(f"{path}: "))
    except (OSError, ValueError) as error:  # a name with a NUL byte, a file that goes away while it is read
        return _Read(path, None, [], (error.strerror if isinstance(error, OSError) else None) or str(error))
    except MemoryError:
        return _Read(path, None, [], "too long for the memory")
    at = starts(len(wave), model.window_samples, hop)
    return _Read(path, wave, at[:1] if only_first else at)
