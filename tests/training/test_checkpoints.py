"""How often a stage checkpoints: as asked, but never for more than a fiftieth of its time."""

from types import SimpleNamespace
from typing import Any

import pytest

from plastsearch.training import checkpoint
from plastsearch.training.checkpoint import BYTES_PER_S, Checkpoints


class Clock:
    """Time that passes only when something is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost_s: float) -> None:
        self.now, self.written = 1000.0, 0
        self.cost_s = cost_s
        monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(checkpoint.torch, "save", self.save)

    def save(self, *_: Any) -> None:
        self.written += 1
        self.now += self.cost_s


def train(clock: Clock, checkpoints: Checkpoints, steps: int, step_s: float = 1.0) -> float:
    """The share of a stage's time that its checkpoints took."""
    began = clock.now
    for _ in range(steps):
        clock.now += step_s
        if checkpoints.due():
            checkpoints.save({})
    return clock.written * clock.cost_s / (clock.now - began)


@pytest.mark.parametrize("cost_s", [0.0, 0.1, 1.0, 10.0, 45.0])
def test_writing_takes_no_more_than_a_fiftieth_of_the_time(cost_s, tmp_path, monkeypatch) -> None:
    clock = Clock(monkeypatch, cost_s)
    checkpoints = Checkpoints(tmp_path, 60.0, expected_bytes=int(cost_s * BYTES_PER_S))
    assert train(clock, checkpoints, 10_000) <= 0.0201
    assert clock.written >= 10_000 // max(61, 51 * cost_s) - 1


def test_a_price_that_was_guessed_too_low_is_paid_once_and_then_saved_up(tmp_path, monkeypatch) -> None:
    clock = Clock(monkeypatch, 10.0)
    checkpoints = Checkpoints(tmp_path, 60.0)
    train(clock, checkpoints, 62)
    assert clock.written == 1
    assert train(clock, checkpoints, 10_000) <= 0.021


def test_cheap_checkpoints_come_as_often_as_asked(tmp_path, monkeypatch) -> None:
    clock = Clock(monkeypatch, 0.01)
    train(clock, Checkpoints(tmp_path, 30.0), 3000)
    assert 90 <= clock.written <= 100


def test_zero_means_after_every_step_whatever_it_costs(tmp_path, monkeypatch) -> None:
    clock = Clock(monkeypatch, 10.0)
    train(clock, Checkpoints(tmp_path, 0.0, expected_bytes=1 << 40), 20)
    assert clock.written == 20
