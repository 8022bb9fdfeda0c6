"""The last recurrent layer feeds the head, so growing it wraps the head; the network still runs, and says the same."""

import pytest
import torch

from plastsearch.growth.dropin import add_neurons_
from plastsearch.models.build import build


@pytest.mark.parametrize("pooling", ["mean", "attention", "mean_std"])
@pytest.mark.parametrize("mode", ["frozen", "unfrozen"])
def test_growing_the_last_layer_keeps_the_logits(pooling, mode):
    module = build("grnn", "tiny", pooling=pooling).eval()
    wave_BT = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = module(wave_BT)
        add_neurons_(module, {"gru.2": 8}, mode=mode, generator=torch.Generator().manual_seed(1))
        assert torch.allclose(module(wave_BT), before, atol=1e-5)
