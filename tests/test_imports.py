"""While a library loads nothing is collected; afterwards collecting goes on, whatever happened."""

import gc
import sys
from types import ModuleType

import pytest

from plastsearch.imports import uncollected


@pytest.fixture(autouse=True)
def thawed():
    gc.unfreeze()  # what other tests have loaded
    yield
    gc.enable()
    gc.unfreeze()


def test_nothing_is_collected_meanwhile_and_what_was_made_is_left_alone_later(monkeypatch):
    with uncollected():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
        monkeypatch.setitem(sys.modules, "just_loaded", ModuleType("just_loaded"))
        assert gc.get_freeze_count() == 0
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(made)


def test_where_all_was_loaded_before_nothing_is_kept_for_ever():
    with uncollected():
        pass
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_collecting_goes_on_after_an_import_that_failed():
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


def test_one_within_another_leaves_it_to_the_outer_one():
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_who_wants_no_collector_gets_none():
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0
