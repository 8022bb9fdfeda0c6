"""Laws of the front ends: shapes, batching, level, silence, precision."""

import pytest
import torch

from plastsearch.errors import PlastsearchError
from plastsearch.models.frontend import KINDS, build_front_end
from tests.exactness import close


@pytest.fixture
def wave_bt() -> torch.Tensor:
    return torch.randn(4, 8000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_dtype_are_as_announced(kind: str, wave_bt: torch.Tensor) -> None:
    front = build_front_end(kind)
    out = front(wave_bt)
    assert out.shape == (4, front.n_bins, front.frames(8000))
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_does_not_feel_its_neighbours(kind: str, wave_bt: torch.Tensor) -> None:
    front = build_front_end(kind)
    torch.testing.assert_close(front(wave_bt)[2:3], front(wave_bt[2:3]), atol=1e-5, rtol=0)
    close(front(wave_bt), front(wave_bt))


@pytest.mark.parametrize("normalise", ["clip", "none", "corpus"])
@pytest.mark.parametrize("kind", KINDS)
def test_level_does_not_reach_the_network(kind: str, normalise: str, wave_bt: torch.Tensor) -> None:
    front = build_front_end(kind, normalise=normalise)
    torch.testing.assert_close(front(wave_bt * 1e-3), front(wave_bt), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_silence_is_finite_and_constant(kind: str) -> None:
    """Nothing but the rounding of −100 dB in 64 bands, which the least scale of a clip (0.001) cannot raise far."""
    out = build_front_end(kind)(torch.zeros(2, 8000))
    assert float(out.abs().max()) * 1e-3 <= 4 * torch.finfo(torch.float32).eps * 100 * 64**0.5


def test_normalised_bins_have_mean_zero_and_the_clip_unit_variance(wave_bt: torch.Tensor) -> None:
    out = build_front_end("log_mel")(wave_bt)
    torch.testing.assert_close(out.mean(2), torch.zeros(4, 64), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.square().mean((1, 2)), torch.ones(4), atol=1e-3, rtol=0)


def test_no_band_is_empty() -> None:
    for kind in KINDS:
        for bins in (20, 40, 64, 80, 128):
            front = build_front_end(kind, bins=bins)
            assert (front.bank.sum(0) > 0).all(), (kind, bins)


def test_a_tone_lands_in_its_band() -> None:
    tone = torch.sin(2 * torch.pi * 3000 * torch.arange(16_000) / 16_000)[None]
    front = build_front_end("linear", normalise="none")
    assert abs(int(front(tone).mean(2).argmax()) - 3000 / 8000 * 65) < 1.5


def test_cosine_transform_keeps_the_energy_of_a_full_set() -> None:
    wave = torch.randn(1, 8000)
    bands = build_front_end("linear", normalise="none")(wave)
    coefficients = build_front_end("lfcc", bins=64, normalise="none")(wave)
    torch.testing.assert_close(bands.square().sum(), coefficients.square().sum(), rtol=1e-4, atol=0)


def test_autocast_does_not_lower_the_precision(wave_bt: torch.Tensor) -> None:
    front = build_front_end("log_mel")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(front(wave_bt), build_front_end("log_mel")(wave_bt))


def test_nothing_of_it_is_saved_or_trained() -> None:
    front = build_front_end("mfcc")
    assert not front.state_dict()
    assert not list(front.parameters())


def test_mistakes_are_named() -> None:
    with pytest.raises(PlastsearchError, match="unknown front end 'mel'; known: waveform"):
        build_front_end("mel")
    with pytest.raises(PlastsearchError, match="needs more than 512 samples, got 400"):
        build_front_end("log_mel")(torch.zeros(1, 400))
