"""Batches depend on seed and epoch alone; crops and repeats keep their law at every length."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plastsearch.data.clips import fixed_starts
from plastsearch.data.corpus import open_corpus
from plastsearch.data.dataset import batches, clip_seeds, crop_numbers, order, starts
from plastsearch.spec.data import DataConfig


@pytest.fixture
def train(la_tree, tmp_path):
    return open_corpus(DataConfig(corpus="asvspoof2019_la", root=str(la_tree)), tmp_path / "cache").train


def everything(train, **changes):
    options = {"length_samples": 1000, "crops": None, **changes}
    return list(batches(train, 5, seed=3, epoch=1, **options))


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_do_not_change_batches(train, workers):
    def jitter(wave, seeds):
        return wave + seeds[:, None].remainder(7)

    for one, other in zip(
        everything(train, augment=jitter), everything(train, workers=workers, augment=jitter), strict=True
    ):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)


def test_an_epoch_shows_every_clip_once_and_another_epoch_another_order(train):
    first, second = (order(train, 0, epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(16))
    assert first.tolist() != second.tolist()
    assert [len(b.clip) for b in everything(train)] == [5, 5, 5, 1]
    assert [len(b.clip) for b in everything(train, drop_last=True)] == [5, 5, 5]


def test_labels_and_waves_belong_to_their_clips(train):
    for clip, wave, label in everything(train, crops=0):
        assert wave.dtype == torch.float32
        for i, row, target in zip(clip.tolist(), wave, label.tolist(), strict=True):
            assert target == train.labels[i]
            np.testing.assert_array_equal(row.numpy(), train.wave(i)[:1000])


def test_resuming_in_the_middle_of_an_epoch_continues_it(train):
    whole, tail = everything(train), everything(train, first=2)
    assert [b.clip.tolist() for b in whole[2:]] == [b.clip.tolist() for b in tail]
    assert torch.equal(whole[2].wave, tail[0].wave)


def test_random_crops_do_not_depend_on_the_batch_size(train):
    small = {}
    for b in batches(train, 2, 0, 4, length_samples=900, crops=None):
        small.update(zip(b.clip.tolist(), b.wave, strict=True))
    for b in batches(train, 16, 0, 4, length_samples=900, crops=None):
        for i, wave in zip(b.clip, b.wave, strict=True):
            assert torch.equal(small[int(i)], wave)


def test_short_clips_repeat_from_their_beginning(train):
    n = int(train.lengths[0])
    wave = train.batch([0], 2 * n + 7)[0]
    np.testing.assert_array_equal(wave, np.tile(train.wave(0), 3)[: 2 * n + 7])


@pytest.mark.parametrize("crop", ["head", "random", 0, 1, 5])
def test_a_clip_of_exactly_the_wanted_length_is_whole_under_every_crop(train, crop):
    n = int(train.lengths[4])
    wave = train.batch([4], n, crop, np.random.default_rng(0))[0]
    np.testing.assert_array_equal(wave, train.wave(4))


def test_random_starts_reach_both_ends(train):
    rows = np.zeros(1, np.int64)
    room = 3
    seen = {int(starts(train, rows, int(train.lengths[0]) - room, 0, epoch, None)[0]) for epoch in range(200)}
    assert seen == {0, 1, 2, 3}


@given(st.integers(0, 100_000), st.integers(0, 50))
def test_fixed_crops_stay_inside(room, k):
    start = int(fixed_starts(np.array([room]), np.array([k]))[0])
    assert 0 <= start <= room
    assert k > 0 or start == 0


def test_fixed_crops_take_turns(train):
    assert crop_numbers(np.arange(4), 0, 3).tolist() == [0, 1, 2, 0]
    assert crop_numbers(np.arange(4), 1, 3).tolist() == [1, 2, 0, 1]
    for epoch in range(3):
        begin = starts(train, np.arange(4), 900, 7, epoch, 1)
        assert begin.tolist() == [0, 0, 0, 0]


def test_the_balanced_sampler_draws_both_classes_alike(train):
    drawn = np.concatenate([order(train, 0, epoch, "balanced") for epoch in range(200)])
    assert abs(train.labels[drawn].mean() - 0.5) < 0.03
    assert order(train, 0, 0, "balanced").tolist() == order(train, 0, 0, "balanced").tolist()


def test_seeds_differ_by_clip_epoch_seed_and_purpose():
    rows = np.arange(1000)
    sets = [clip_seeds(s, e, rows, p) for s, e, p in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert len(np.unique(np.concatenate(sets))) == 4000


def test_an_unknown_crop_is_refused(train):
    with pytest.raises(ValueError, match="unknown crop 'middle'"):
        train.batch([0], 100, "middle")
