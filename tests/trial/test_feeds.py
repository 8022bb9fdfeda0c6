"""Laws of feeds: a batch is a function of its step, whoever prepares it, and nothing is prepared in vain."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from plastsearch.training import feeds
from plastsearch.training.feeds import CachedFeed, Prepared, Reading, WaveFeed
from plastsearch.trial.context import open_context
from tests.trial.conftest import make_config

CPU = torch.device("cpu")


class CachedPrefix:
    """Activations that say whose they are."""

    def read(self, rows: Any, crops: Any) -> torch.Tensor:
        return torch.from_numpy(np.stack([rows, np.broadcast_to(crops, len(rows))], 1).astype(np.float32))


@pytest.fixture
def reading(settings) -> Any:
    context = open_context(make_config(data={"crops": 3}), settings(), lambda: False)

    def make(workers: int) -> Reading:
        return Reading(context.train, 8, 5, 0, 4000, 3, "shuffle", None, workers)

    return make


def _feed(kind: str, reading: Reading, steps: int) -> Prepared:
    return WaveFeed(reading, CPU, steps) if kind == "waves" else CachedFeed(reading, CachedPrefix(), CPU, steps)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["waves", "kept"])
@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_no_batch_also_across_epochs_and_after_a_jump(kind: str, workers: int, reading: Any) -> None:
    steps = [0, 1, 2, 7, 8, 9, 10, 11, 12, 3, 4]  # six steps an epoch
    plain, ahead = _feed(kind, reading(0), 13), _feed(kind, reading(workers), 13)
    for step in steps:
        for one, other in zip(plain.batch(step), ahead.batch(step), strict=True):
            assert torch.equal(one, other)
    ahead.close()


def test_the_next_epoch_is_prepared_while_this_one_ends_and_nothing_beyond_the_last_step(reading: Any) -> None:
    made, main = [], threading.get_ident()

    class Noted(WaveFeed):
        def _make(self, step: int) -> Any:
            made.append((step, threading.get_ident() != main))
            return super()._make(step)

    feed = Noted(reading(2), CPU, 8)
    feed.batch(4)
    for future in feed._waiting:
        future.result()
    feed.close()
    assert sorted(step for step, _ in made) == [4, 5, 6, 7]
    assert all(elsewhere for _, elsewhere in made)


def test_a_broken_clip_ends_the_step_that_reads_it(reading: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("a bad sector")

    monkeypatch.setattr(feeds, "make_batch", broken)
    feed = WaveFeed(reading(1), CPU, 6)
    with pytest.raises(OSError, match="a bad sector"):
        feed.batch(0)
    feed.close()


def test_batches_for_a_gpu_are_pinned_in_the_thread_that_made_them(reading: Any, monkeypatch) -> None:
    pinned, current = [], []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: (pinned.append(threading.get_ident()), self)[1])
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, non_blocking: (device, non_blocking, self))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append((threading.get_ident(), device)))
    gpu = torch.device("cuda", 1)
    feed = WaveFeed(reading(1), gpu, 1)
    inputs, labels = feed.batch(0)
    feed.close()
    assert (inputs[:2], labels[:2]) == ((gpu, True), (gpu, True))
    assert len(pinned) == 2
    assert set(current) == {(pinned[0], gpu)}  # a thread begins on the first GPU
