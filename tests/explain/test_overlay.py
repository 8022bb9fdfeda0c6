"""Relevance over a whole clip lies where its windows put it."""

import numpy as np
import pytest
import torch

from plastsearch import load_model
from plastsearch.explain.overlay import overlay
from tests.found_models import SITES


@pytest.mark.parametrize("network", list(SITES))
def test_a_clip_of_two_and_a_half_windows_is_covered_from_end_to_end(found_root, network):
    model = load_model(f"{found_root / network}:1")
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.standard_normal(20_000)).astype(np.float32)
    khz = np.linspace(0.1, 7.5, 20)
    found = overlay(model, wave, khz, 50)
    assert found.shape == (20, 50)
    assert np.abs(found).max() == pytest.approx(1)
    assert (np.abs(found).max(0) > 0).all()
    alone = overlay(model, wave[:8000], khz, 20)
    size = np.abs(found[:, :20]).max()
    np.testing.assert_allclose(alone, found[:, :20] / size, atol=1e-9)
    assert torch.is_grad_enabled()
