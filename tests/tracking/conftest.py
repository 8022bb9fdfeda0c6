"""A made-up sweep for the tests of this folder."""

import pytest

from tests.made_sweep import make_sweep


@pytest.fixture
def folder(tmp_path):
    return make_sweep(tmp_path / "w2v_layers", search=15)
