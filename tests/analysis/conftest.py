"""A made-up sweep and its results, shared by the tests of this folder."""

import pytest

from plastsearch.analysis.results import load_results
from tests.made_sweep import make_sweep


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("runs") / "w2v_layers")


@pytest.fixture(scope="session")
def results(folder):
    return load_results(folder)
