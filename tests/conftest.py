"""Surroundings that every test shares: one thread, no network, no accounts, reproducible examples."""

import os

# Set before any of these libraries is imported, here and in the processes that tests start.
os.environ.update(
    {
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TOKENIZERS_PARALLELISM": "false",
    }
)

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("plastsearch", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("plastsearch")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="FOLDER", type=Path, help="keep pictures of pages there, to look at")


@pytest.fixture
def screenshots(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a test of a page puts its pictures: a folder that was named, or the test's own."""
    folder: Path = request.config.getoption("--screenshots") or tmp_path / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _no_corpora_of_other_tests() -> Iterator[None]:
    """A process remembers the corpora it opened; each test begins like a process of its own."""
    yield
    kept = sys.modules.get("plastsearch.data.corpus")
    if kept is not None:
        kept.forget_corpora()


@pytest.fixture(scope="session")
def found_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweeps `grnn`, `resnet18` and `wav2vec2` with real weights: a baseline, a grown, a pruned trial, a finalist."""
    from tests.found_models import three_sweeps

    return three_sweeps(tmp_path_factory.mktemp("found"))
