"""Tests on a GPU. They need torch and the libraries of the networks, not Ray, MLflow or Optuna.

PLASTSEARCH_TEST_DEVICE=cpu runs what can be run there, so that the tests themselves are exercised without a GPU.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

DEVICE = os.environ.get("PLASTSEARCH_TEST_DEVICE", "cuda")
SITES = {"grnn": "gru.1", "resnet18": "layer3.0", "wav2vec2": "encoder.1.ffn"}


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Everything in this folder needs the device; `gpu` as a fixture says that no other will do."""
    for item in (item for item in items if Path(__file__).parent in item.path.parents):
        item.add_marker(pytest.mark.gpu)
        if DEVICE == "cuda" and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))
        elif DEVICE != "cuda" and "gpu" in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason="nothing but a GPU shows it"))


@pytest.fixture
def device() -> Iterator[torch.device]:
    """Where to compute, in float32 proper, from a fixed seed."""
    torch.manual_seed(0)
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield torch.device(DEVICE, 0) if DEVICE == "cuda" else torch.device(DEVICE)
    torch.backends.cudnn.allow_tf32 = before
    if DEVICE == "cuda":
        torch.cuda.empty_cache()


@pytest.fixture
def gpu(device: torch.device) -> torch.device:
    """The same, for what a CPU cannot show."""
    return device


def waves(clips: int = 4, samples: int = 8000) -> tuple[Tensor, Tensor]:
    """Noise with labels, on the CPU."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(clips, samples, generator=generator), torch.arange(clips) % 2
