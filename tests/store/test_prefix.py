"""Kept activations: equal results, shared by trials, bounded, dropped oldest first."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from plastsearch.models.detector import Detector
from plastsearch.store.activations import PrefixOf
from plastsearch.store.prefix import PrefixCache
from plastsearch.trial.run import run_trial
from tests.trial.conftest import SITES, alike, make_config, steady

OF = PrefixOf("w", "gru.1", "clips", 8000, 1, "float32", "float32")


def parts(value: float, clips: int = 10) -> Iterator[torch.Tensor]:
    for first in range(0, clips, 4):
        yield (
            torch.full((min(4, clips - first), 3, 5), value) + torch.arange(first, min(first + 4, clips))[:, None, None]
        )


def never() -> Iterator[torch.Tensor]:
    raise AssertionError("computed although it was there")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SITES))
def test_a_trial_with_kept_activations_ends_like_one_without(name, settings, tmp_path) -> None:
    """Equal to 1e-4 in every loss: kept values are float32, batched differently while computed."""
    config = make_config(model={"name": name}, layers=(SITES[name],), method="plasticity", train={"steps": 24})
    finals = []
    for kept in (False, True):
        *_, final = run_trial(config, settings(store=tmp_path / str(kept), cache_prefix=kept))
        finals.append(final)
    used = [stage["stage"] for stage in finals[1].details["stages"] if stage.get("prefix")]
    assert used == ["retrain", "consolidate"]
    alike(steady(finals[1]), steady(finals[0]))


@pytest.mark.slow
def test_half_precision_stays_within_a_hundredth_of_the_loss(settings, tmp_path) -> None:
    config = make_config(method="dropin", train={"steps": 24})
    *_, full = run_trial(config, settings(store=tmp_path / "full", cache_prefix=True))
    *_, half = run_trial(config, settings(store=tmp_path / "half", cache_prefix=True, cache_half=True))
    assert half.metrics["train_loss"] == pytest.approx(full.metrics["train_loss"], rel=1e-2)


def test_trials_and_epochs_compute_a_prefix_once(settings, tmp_path, monkeypatch) -> None:
    below = []
    prefix = Detector.prefix
    monkeypatch.setattr(Detector, "prefix", lambda self, wave, cut: below.append(len(wave)) or prefix(self, wave, cut))
    where = settings(cache_prefix=True, cache=settings().cache)
    for neurons in (4, 8):
        config = make_config(method="dropin", neurons=neurons, train={"steps": 24}, timing_steps=3)
        list(run_trial(config, where))
        timed = 2 * (2 * 3 + 2 * 2 + 3)  # clips of timing, counting and memory; far less than an epoch
        first, below = sum(below), []
        if neurons == 8:
            assert first < 48 + 3 * 64 + timed * 4


def test_what_is_kept_comes_back(tmp_path) -> None:
    cache = PrefixCache(tmp_path, 1e9)
    assert cache.find(OF) is None
    kept = cache.make(OF, 10, 60, lambda: parts(0.5), lambda: None)
    assert kept is not None
    rows = np.array([7, 0, 9])
    assert kept.read(rows)[:, 0, 0].tolist() == [7.5, 0.5, 9.5]
    assert cache.make(OF, 10, 60, never, lambda: None) is not None


@pytest.mark.parametrize(
    "change", [{"weights": "x"}, {"cut": "gru.2"}, {"clips": "y"}, {"length_samples": 1}, {"crops": 2}]
)
def test_anything_else_is_another_entry(change, tmp_path) -> None:
    cache = PrefixCache(tmp_path, 1e9)
    cache.make(OF, 10, 60, lambda: parts(0.0), lambda: None)
    assert cache.find(replace(OF, **change)) is None


def test_the_oldest_goes_first_and_what_cannot_fit_is_not_kept(tmp_path) -> None:
    cache = PrefixCache(tmp_path, 1300)  # two entries of 600 bytes
    for age, name in ((30, "a"), (20, "b")):
        cache.make(replace(OF, weights=name), 10, 60, lambda: parts(0.0), lambda: None)
        os.utime(tmp_path / replace(OF, weights=name).key, (time.time() - age, time.time() - age))
    used = cache.find(replace(OF, weights="a"))
    assert used is not None
    cache.note_use(replace(OF, weights="a"), used)
    del used
    cache.make(replace(OF, weights="c"), 10, 60, lambda: parts(0.0), lambda: None)
    assert cache.find(replace(OF, weights="b")) is None
    assert cache.find(replace(OF, weights="a")) is not None
    assert cache.make(replace(OF, weights="d"), 100, 60, never, lambda: None) is None


def test_a_damaged_entry_counts_as_missing(tmp_path) -> None:
    cache = PrefixCache(tmp_path, 1e9)
    cache.make(OF, 10, 60, lambda: parts(0.0), lambda: None)
    (tmp_path / OF.key / "values.bin").write_bytes(b"123")
    assert cache.find(OF) is None
    assert cache.make(OF, 10, 60, lambda: parts(0.0), lambda: None) is not None
