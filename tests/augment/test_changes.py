"""Laws of augmentation: one clip, one seed, one result; levels, spectra and mistakes as announced."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from plastsearch.augment import names as augment_names
from plastsearch.augment.changes import CHANGES, FOLDERS, build_augment
from plastsearch.augment.names import recordings_of
from plastsearch.errors import DataError

RATE = 16_000


@pytest.fixture
def wave_bt() -> Tensor:
    """Four clips of low-pass noise with pauses."""
    noise = torch.randn(4, 9000, generator=torch.Generator().manual_seed(0)).cumsum(1)
    noise = noise - torch.nn.functional.avg_pool1d(noise[:, None], 101, 1, 50, count_include_pad=False)[:, 0]
    return 0.3 * noise / noise.abs().amax(1, keepdim=True)


@pytest.fixture
def seeds_b() -> Tensor:
    return torch.tensor([3, 2**61 + 5, 12, 7])


@pytest.mark.parametrize("name", CHANGES)
def test_a_clip_follows_its_seed_alone(name: str, wave_bt: Tensor, seeds_b: Tensor) -> None:
    augment = build_augment([name], RATE)
    out = augment(wave_bt, seeds_b)
    assert out.shape == wave_bt.shape
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    order = torch.tensor([2, 0])
    torch.testing.assert_close(augment(wave_bt[order], seeds_b[order]), out[order], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", CHANGES)
def test_other_seeds_change_the_clip_otherwise_and_the_input_stays(name: str, wave_bt: Tensor) -> None:
    before = wave_bt.clone()
    same = wave_bt[:1].expand(48, -1)
    out = build_augment([name], RATE)(same, torch.arange(48))
    assert torch.equal(wave_bt, before)
    assert len({tuple(row[::50].tolist()) for row in out}) > 3
    assert not torch.equal(out, same)


@pytest.mark.parametrize("name", CHANGES)
def test_silence_stays_finite(name: str) -> None:
    assert torch.isfinite(build_augment([name], RATE)(torch.zeros(8, 6000), torch.arange(8))).all()


def test_names_apply_in_order_with_streams_of_their_own(wave_bt: Tensor, seeds_b: Tensor) -> None:
    twice = build_augment(["rawboost3", "rawboost3"], RATE)(wave_bt, seeds_b)
    once = build_augment(["rawboost3"], RATE)(wave_bt, seeds_b)
    first, second = once - wave_bt, twice - once
    assert (torch.nn.functional.cosine_similarity(first, second).abs() < 0.5).all()
    assert torch.equal(build_augment([], RATE)(wave_bt, seeds_b), wave_bt)


def test_stationary_noise_keeps_the_published_range_of_ratios(wave_bt: Tensor) -> None:
    clips = wave_bt[:1].expand(64, -1)
    noise = build_augment(["rawboost3"], RATE)(clips, torch.arange(64)) - clips
    snr_db = 20 * torch.log10(clips.norm(dim=1) / noise.norm(dim=1))
    assert snr_db.min() >= 10 - 0.01
    assert snr_db.max() <= 40 + 0.01
    assert snr_db.std() > 4


def test_impulses_hit_at_most_a_tenth_of_the_samples_within_their_gain(wave_bt: Tensor) -> None:
    clips = wave_bt[:1].expand(64, -1)
    out = build_augment(["rawboost2"], RATE)(clips, torch.arange(64))
    hit = (out != clips).float().mean(1)
    assert hit.max() < 0.11
    assert 0.03 < hit.mean() < 0.07
    assert ((out - clips).abs() <= 2 * clips.abs() + 1e-6).all()


@pytest.mark.parametrize("algorithm", range(1, 9))
def test_rawboost_never_leaves_full_scale(algorithm: int, wave_bt: Tensor, seeds_b: Tensor) -> None:
    out = build_augment([f"rawboost{algorithm}"], RATE)(wave_bt * 3.3, seeds_b)
    if algorithm not in (3, 4, 6, 7):  # the published additive noise is not limited
        assert out.abs().max() <= 1 + 1e-6


def test_block_convolution_equals_the_direct_one() -> None:
    from plastsearch.augment import batches as fir

    low, high = torch.tensor([[500.0, 3000.0]]), torch.tensor([[900.0, 4000.0]])
    filters = fir.band_stops(low, high, torch.tensor([[51, 101]]), 101, RATE)
    wave = torch.randn(1, 7001, generator=torch.Generator().manual_seed(2))
    expected = wave[0].numpy().astype(np.float64)
    for k in range(2):
        expected = np.convolve(expected, filters[0, k].numpy().astype(np.float64))
    actual = fir.convolve(wave, fir.response(filters), 100)[0]
    np.testing.assert_allclose(actual.numpy(), expected[100:-100], atol=1e-5)


def test_band_stops_are_those_of_scipy() -> None:
    from scipy.signal import firwin

    from plastsearch.augment import batches as fir

    taps = torch.tensor([[31]])
    mine = fir.band_stops(torch.tensor([[1000.0]]), torch.tensor([[2000.0]]), taps, 101, RATE)[0, 0, 35:66].numpy()
    theirs = firwin(31, [1000, 2000], window="hamming", fs=RATE)
    np.testing.assert_allclose(mine / mine.sum(), theirs, atol=1e-5)


def test_band_limit_removes_what_lies_above() -> None:
    noise = torch.randn(32, 16_000, generator=torch.Generator().manual_seed(3))
    power = torch.fft.rfft(build_augment(["band_limit"], RATE)(noise, torch.arange(32))).abs().square()
    assert (power[:, 7900:].mean(1) < 1e-3 * power[:, 1000:3000].mean(1)).all()


def test_masks_lower_spans_by_forty_decibels() -> None:
    tone = torch.ones(16, 16_000)
    envelope = build_augment(["time_masks"], RATE)(tone, torch.arange(16))
    assert envelope.min() == pytest.approx(0.01, abs=1e-3)
    assert envelope.max() == 1
    assert 0.01 < (envelope < 0.5).float().mean() < 0.16


def test_companding_keeps_the_wave_close(wave_bt: Tensor) -> None:
    clips = wave_bt[:1].expand(40, -1)
    error = build_augment(["codec"], RATE)(clips, torch.arange(40)) - clips
    snr_db = 20 * torch.log10(clips.norm(dim=1) / error.norm(dim=1).clamp_min(1e-9))
    assert (snr_db > 20).float().mean() > 0.5


def test_a_users_noise_and_rooms(tmp_path: Path, wave_bt: Tensor, seeds_b: Tensor) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "noise").mkdir()
    (tmp_path / "rooms").mkdir()
    soundfile.write(tmp_path / "noise" / "fan.wav", 0.1 * rng.standard_normal(3000), RATE)
    soundfile.write(tmp_path / "noise" / "street.flac", 0.1 * rng.standard_normal(20_000), RATE)
    soundfile.write(
        tmp_path / "rooms" / "hall.wav", np.exp(-np.arange(4000) / 800) * rng.standard_normal(4000) / 4, RATE
    )
    augment = build_augment(["noise:noise", "reverb:rooms"], RATE, root=tmp_path)
    out = augment(wave_bt, seeds_b)
    torch.testing.assert_close(augment(wave_bt[1:2], seeds_b[1:2]), out[1:2], atol=1e-6, rtol=0)
    many = build_augment(["noise:noise"], RATE, root=tmp_path)(wave_bt[:1].expand(50, -1), torch.arange(50))
    changed = (many != wave_bt[:1]).any(1)
    assert 0.4 < changed.float().mean() < 0.8
    level = (many - wave_bt[:1])[changed].norm(dim=1) / wave_bt[0].norm()
    assert (-20 * torch.log10(level)).min() > -0.1
    assert (-20 * torch.log10(level)).max() < 20.1


def test_a_perfect_room_changes_nothing(tmp_path: Path, wave_bt: Tensor, seeds_b: Tensor) -> None:
    soundfile.write(tmp_path / "dirac.wav", np.array([0, 0, 0.5, 0, 0]), RATE)
    out = build_augment([f"reverb:{tmp_path}"], RATE)(wave_bt, seeds_b)
    torch.testing.assert_close(out, wave_bt, atol=1e-5, rtol=1e-4)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown augmentation 'rawboost9'; known: rawboost1.*reverb:FOLDER"):
        build_augment(["rawboost9"], RATE)
    with pytest.raises(DataError, match="unknown augmentation 'noise'"):
        build_augment(["noise"], RATE)
    with pytest.raises(DataError, match="no such folder"):
        build_augment(["noise:nowhere"], RATE, root=tmp_path)
    with pytest.raises(DataError, match="no audio files"):
        build_augment([f"reverb:{tmp_path}"], RATE)
    (tmp_path / "a.wav").write_text("not audio")
    with pytest.raises(DataError, match=r"a.wav: .*mend or remove it"):
        build_augment([f"noise:{tmp_path}"], RATE)


def test_names_known_without_torch_are_those_that_can_be_built() -> None:
    assert (set(augment_names.CHANGES), set(augment_names.FOLDERS)) == (set(CHANGES), set(FOLDERS))


def test_a_folder_of_recordings_is_known_by_its_content(tmp_path: Path) -> None:
    names = ["codec", "noise:noise"]
    assert recordings_of(["codec"], tmp_path) == ""
    with pytest.raises(DataError, match="no such folder"):
        recordings_of(names, tmp_path)
    (tmp_path / "noise").mkdir()
    soundfile.write(tmp_path / "noise" / "fan.wav", np.zeros(100), RATE)
    first = recordings_of(names, tmp_path)
    (tmp_path / "noise" / "read.me").write_text("not a recording")
    assert recordings_of(names, tmp_path) == first
    soundfile.write(tmp_path / "noise" / "fan.wav", np.zeros(101), RATE)
    second = recordings_of(names, tmp_path)
    soundfile.write(tmp_path / "noise" / "street.wav", np.zeros(100), RATE)
    assert len({first, second, recordings_of(names, tmp_path)}) == 3
