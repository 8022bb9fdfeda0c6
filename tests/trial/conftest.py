"""A tiny trial: the smallest networks on half-second clips of a corpus generated once per session."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import UNFIT
from plastsearch.spec.running import Report, RunSettings

TINY: dict[str, Any] = {
    "model": {"name": "grnn"}, "data": {"clips": 48, "length_samples": 8000}, "layers": ("gru.1",), "neurons": 4,
    "train": {"steps": 12, "batch_size": 8, "lr": 0.003}, "calibration_clips": 16, "timing_steps": 3, "timing_batch": 2,
}  # fmt: skip
SITES = {"grnn": "gru.1", "resnet18": "layer3.0", "wav2vec2": "encoder.2.ffn"}

# Where the usual network cannot carry a method (spec.methods.UNFIT).
ELSEWHERE: dict[str, dict[str, Any]] = {
    method: {"model": {"name": "wav2vec2"}, "layers": (SITES["wav2vec2"],), "neurons": 16, "lateral": "into_new"}
    for method in UNFIT
}

MakeConfig = Callable[..., TrialConfig]
MakeSettings = Callable[..., RunSettings]

# Clocks and what depends on which process came first; all else must repeat.
UNSTEADY = {
    "forward_ms", "backward_ms", "optimizer_ms", "backward_ratio", "step_ratio", "backward_cv", "seconds",
    "reused_seconds", "waited_seconds",
}  # fmt: skip


def make_config(**changes: Any) -> TrialConfig:
    """TINY with some values changed; sections are merged."""
    merged = dict(TINY)
    for name, value in changes.items():
        merged[name] = {**merged[name], **value} if isinstance(value, dict) and name in merged else value
    return TrialConfig.model_validate(merged)


def steady(report: Report) -> dict[str, float]:
    """The metrics of a report that a second run must repeat."""
    return {name: value for name, value in report.metrics.items() if name not in UNSTEADY}


def alike(found: dict[str, float], expected: dict[str, float], rel: float = 1e-4) -> None:
    """Equal metrics of two runs that compute the same, on any processor: the last bits of each run are its own.

    What is counted (parameters, steps, operations) is equal; what is computed is close; an error rate, which counts
    clips, may move by the one or two whose scores almost tie with the threshold, and its interval with it.
    """
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        counts_clips = any(part in name for part in ("eer", "dcf"))
        slack = TIED * (1 if "eer" in name else 0.01) if counts_clips else 0
        assert found[name] == pytest.approx(value, rel=rel, abs=slack), name


TIED = 8.0  # percent points of an error rate
AS_TRAINED = 1e-4  # of a weight after a few steps of 0.003: rounding moves it by less, any other draw by more


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where decoded clips lie; shared by all tests, since they are the same for all."""
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def settings(tmp_path: Path, cache: Path) -> MakeSettings:
    def make(**changes: Any) -> RunSettings:
        return RunSettings.model_validate(
            {
                "store": tmp_path / "store",
                "cache": cache,
                "device": "cpu",
                "cache_prefix": False,
                "exclusive_timing": False,
            }
            | changes
        )

    return make
