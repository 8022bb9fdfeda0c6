"""Evidence tells a map that knows from one that does not, and from one that has it backwards."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plastsearch.explain.clips import Labelled, pairs
from plastsearch.explain.evidence import auc, cells_of, deletion, in_cells, interval, join, splice
from plastsearch.explain.relevance import Relevance

RATE, LENGTH, ROWS, FRAMES = 1000, 1000, 16, 50


class Ear:
    """Reads a wave as rows of frames; its score is a weighted sum of what it reads, so the truth is known."""

    def read(self, wave):
        frames = wave.reshape(len(wave), FRAMES, -1).mean(2)
        return frames[:, None] * torch.linspace(0.2, 1.0, ROWS)[None, :, None]

    def logit(self, read):
        return (read * torch.linspace(-1, 1, ROWS)[:, None]).sum((1, 2))

    def held_still(self, read):
        return read.mean(2, keepdim=True).expand_as(read)


EAR = Ear()


def truth(read):
    return Relevance(((read - EAR.held_still(read[None])[0]) * torch.linspace(-1, 1, ROWS)[:, None]), True)


def clips(count=24):
    """Noise whose level is above zero in bona fide and below in spoofed clips, louder in some places."""
    rng = np.random.default_rng(0)
    is_bona = np.arange(count) % 2 == 0
    waves = rng.normal(0, 1, (count, LENGTH)) * (1 + 3 * (rng.random((count, 20)) > 0.7).repeat(LENGTH // 20, axis=1))
    waves += np.where(is_bona, 1.0, -1.0)[:, None]
    waves += np.where(is_bona, 2.0, -2.0)[:, None] * (rng.random((count, 20)) > 0.6).repeat(LENGTH // 20, axis=1)
    speakers = np.array([f"S{n // 4}" for n in range(count)])
    return Labelled(
        "made", np.array([f"c{n}" for n in range(count)]), is_bona, np.where(is_bona, "-", "A01"), speakers,
        lambda n: waves[n].astype(np.float32), count,
    )  # fmt: skip


def noise(read):
    seed = int(abs(float(read.sum())) * 1e4) % 2**31
    return Relevance(torch.randn(read.shape, generator=torch.Generator().manual_seed(seed)), True)


def backwards(read):
    return Relevance(-truth(read).map, True)


def deleted(explain):
    return deletion(EAR, explain, "grad-cam", clips(), 0.0, 1.0, 0, torch.device("cpu"), lambda _: None)


def test_deletion_tells_the_truth_from_noise_and_from_its_opposite():
    found = {name: deleted(explain) for name, explain in (("true", truth), ("noise", noise), ("wrong", backwards))}
    assert found["true"].finding == "strong"
    assert found["noise"].finding == "none"
    assert found["wrong"].finding == "against"
    assert "no evidence" in found["noise"].words
    assert "misleading" in found["wrong"].words
    one = found["true"]
    assert one.by_relevance[0] == pytest.approx(one.by_chance[0])  # nothing deleted, and everything
    assert one.by_relevance[-1] == pytest.approx(one.by_chance[-1], abs=1e-4)
    assert (one.by_relevance <= one.by_chance + 1e-6).all()
    assert one.area.low < one.area.mean < one.area.high


def test_deletion_asks_all_methods_of_the_same_chance():
    one, other = deleted(truth), deleted(noise)
    np.testing.assert_array_equal(one.by_chance, other.by_chance)


def spliced(explain):
    some = clips()
    return splice(
        EAR, explain, "grad-cam", some, pairs(some, 10, 0), RATE, LENGTH, 0, torch.device("cpu"), lambda _: None
    )


def test_a_splice_is_found_by_who_follows_the_voice_and_not_by_who_likes_beginnings():
    def heard(read):
        return Relevance(read.mean(0, keepdim=True), True)

    def early(read):
        return Relevance(torch.linspace(-1, 1, FRAMES)[None], True)

    assert spliced(heard).finding == "strong"
    assert spliced(lambda read: Relevance(-heard(read).map, True)).finding == "against"
    favourite = spliced(early)
    assert favourite.area.mean == pytest.approx(0.5)  # in either order once, so a liking for places gains nothing
    assert favourite.finding == "none"


def test_halves_are_joined_at_one_loudness():
    loud, soft = np.full(500, 0.9, np.float32), np.full(500, 0.1, np.float32)
    wave = join([loud, soft], LENGTH, 10)
    assert len(wave) == LENGTH
    np.testing.assert_allclose([wave[:400].std() + wave[:400].mean(), wave[500:900].mean()], 0.5, atol=1e-6)


def test_cells_cover_everything_and_have_bands_only_where_a_map_has_rows():
    cells = cells_of((64, 201), 64, 2.0)
    assert sorted(np.unique(cells)) == list(range(8 * 20))
    assert sorted(np.unique(cells_of((40, 201), 1, 2.0))) == list(range(20))
    whole = torch.ones(64, 201)
    assert in_cells(whole, cells).sum() == pytest.approx(64 * 201)
    assert in_cells(whole[:1], cells_of((64, 201), 1, 2.0)).sum() == pytest.approx(201)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs(rows):
    values = np.array([value for value, _ in rows], float)
    positive = np.array([flag for _, flag in rows])
    if positive.all() or not positive.any():
        return
    won = [(a > b) + 0.5 * (a == b) for a in values[positive] for b in values[~positive]]
    assert auc(values, positive) == pytest.approx(np.mean(won))


def test_intervals_are_wider_where_clips_of_a_unit_agree():
    values = np.repeat(np.random.default_rng(0).normal(size=12), 10)
    alone = interval(values, np.arange(120), 0)
    together = interval(values, np.arange(12).repeat(10), 0)
    assert alone.mean == together.mean
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_pairs_are_of_one_speaker_where_they_can_be_and_no_clip_is_taken_twice():
    some = clips()
    found = pairs(some, 12, 0)
    assert len({bona for bona, _ in found}) == len({spoof for _, spoof in found}) == 12
    assert all(some.speakers[bona] == some.speakers[spoof] for bona, spoof in found)


def test_some_clips_are_half_of_each_class():
    some = clips(40).some(10, 0)
    assert len(some) == 10
    assert some.is_bona.sum() == 5
    whole = clips(40)
    for n in range(len(some)):
        np.testing.assert_array_equal(some.wave(n), whole.wave(int(some.ids[n][1:])))
