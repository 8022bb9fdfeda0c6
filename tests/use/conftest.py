"""Sweeps of a few trials with real weights, trained once per session."""

from pathlib import Path

import pytest
import torch

from tests.found_models import SITES, trained_sweep

GROWN = {"method": "dropin", "neurons": 4}


@pytest.fixture(scope="session")
def found_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sweeps beside each other: grnn, resnet18 and wav2vec2, each a baseline, a grown and a pruned trial."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("found")
    for network, site in SITES.items():
        common = {"model": {"name": network}, "layers": (site,), "neurons": 16 if network == "wav2vec2" else 4}
        asked = [
            {"model": {"name": network}, "method": "baseline"},
            {**common, "method": "dropin"},
            {**common, "method": "plasticity"},
            {**common, "method": "dropin", "seed": 3, "of": 1, "role": "finalist"},
        ]
        trained_sweep(root, root / "cache", network, asked)
    return root
