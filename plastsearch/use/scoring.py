"""Many files scored at once: threads read ahead, windows of several clips share a batch, results keep their order.

Clips go through in blocks that close at two full batches of windows. What shares a batch depends only on the clips of
its block, never on when a run was stopped, so that a run that goes on at the end of a block gives the same last digit.

On a CPU each core computes a batch of its own. Cores that share the work of one batch wait for each other at every
layer, which costs small networks most of their time, and their number would change the last digit.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from plastsearch.cores import usable_cores
from plastsearch.data.windows import HOP_S, starts
from plastsearch.errors import DataError
from plastsearch.growth.halving import Halving
from plastsearch.scores.keys import Key
from plastsearch.scores.metrics import Floats
from plastsearch.use.model import Model
from plastsearch.use.windows import Wave, cut

# Windows at a time, on a CPU for each core: more take memory (a base-size encoder 0.1 GB each) and no less time.
BATCH = {"cpu": 8, "cuda": 64}
MOST_THREADS = 8
AHEAD_BYTES = 1 << 26  # of files that wait decoded; FLAC grows to about four times that in memory
CLIPS_PER_BLOCK = 256  # also where none can be read
Tick = Callable[[str, int, int], None]  # what, done, of how many


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
    workers = min(usable_cores(), MOST_THREADS) if model.device.type == "cpu" else 1
    under_way: deque[tuple[list[_Read], list[Future[Floats]]]] = deque()
    with _computing(workers) as pool:
        try:
            for block in _blocks(_ahead(model, paths, how, batch), batch):
                under_way.append((block, [pool.submit(_scores, model, part) for part in _batches(block, batch)]))
                while sum(len(futures) for _, futures in under_way) > workers or len(under_way) > workers:
                    yield _heard(*under_way.popleft())
            while under_way:
                yield _heard(*under_way.popleft())
        finally:
            for _, futures in under_way:
                for future in futures:
                    future.cancel()


def _unheard(_what: str, _done: int, _total: int) -> None:
    """Nobody waits."""


def scores_of(model: Model, named: Mapping[str, str], key: Key, tick: Tick = _unheard) -> Floats:
    """Plain scores of all clips of a protocol, in its order: means over windows, as `score` has them; none may lack."""
    found: dict[str, float] = {}
    bad: list[str] = []
    done = 0
    for block in hear_all(model, list(named), How()):
        for heard in block:
            if heard.error is None:
                found[named[heard.path]] = float(np.mean(heard.scores))
            else:
                bad.append(f"{heard.path}: {heard.error}")
        done += len(block)
        tick("scoring", done, len(named))
    lacking = [name for name in key.ids if name not in found]
    if lacking:
        why = "".join(f"\n{line}" for line in bad[:5])
        raise DataError(
            f"{len(lacking):,} of the {len(key.ids):,} clips of {key.source} have no score: "
            f"{', '.join(lacking[:5])}{why}"
        )
    return np.array([found[name] for name in key.ids])


def _blocks(reads: Iterator[_Read], batch: int) -> Iterator[list[_Read]]:
    """As many clips as fill two batches."""
    block: list[_Read] = []
    windows = 0
    for read in reads:
        block.append(read)
        windows += len(read.at)
        if windows >= 2 * batch or len(block) >= CLIPS_PER_BLOCK:
            yield block
            block, windows = [], 0
    if block:
        yield block


@contextlib.contextmanager
def _computing(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for batches; where there are several, each is one core's."""
    before = torch.get_num_threads()
    alone = workers == 1
    with ThreadPoolExecutor(workers, "score", initializer=None if alone else partial(torch.set_num_threads, 1)) as pool:
        try:
            yield pool
        finally:
            if not alone:
                torch.set_num_threads(before)


def _batches(block: Sequence[_Read], batch: int) -> Iterator[list[tuple[Wave, int]]]:
    """The windows of a block, so many at a time: each a wave and where it begins."""
    places = [(read.wave, start) for read in block if read.wave is not None for start in read.at]
    for first in range(0, len(places), batch):
        yield places[first : first + batch]


def _scores(model: Model, places: Sequence[tuple[Wave, int]]) -> Floats:
    """Plain scores of a batch of windows."""
    wave_BT = torch.from_numpy(np.stack([cut(wave, start, model.window_samples) for wave, start in places]))
    with torch.inference_mode():
        found: Floats = Halving().rows(model.raw, wave_BT.to(model.device)).double().cpu().numpy()
    return found


def _heard(block: Sequence[_Read], futures: Sequence[Future[Floats]]) -> list[Heard]:
    """The clips of a block, once its batches are computed."""
    scores = np.concatenate([future.result() for future in futures]) if futures else np.zeros(0)
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
