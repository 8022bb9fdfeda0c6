"""Made-up sweeps and their results, shared by the tests of this folder."""

import pytest

from plastsearch.analysis.results import load_results
from tests.made_sweep import make_sweep


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("runs") / "w2v_layers")


@pytest.fixture(scope="session")
def results(folder):
    return load_results(folder)


@pytest.fixture(scope="session")
def noisy(tmp_path_factory):
    """A sweep whose best trials ran with further seeds."""
    return load_results(make_sweep(tmp_path_factory.mktemp("noisy") / "noisy", repeats=3, luck=1.2))


@pytest.fixture(scope="session")
def single(tmp_path_factory):
    """A sweep in which nothing ran twice."""
    return load_results(make_sweep(tmp_path_factory.mktemp("single") / "single", seeds=(), luck=1.2))
