"""A store with a budget drops the least useful first, and never what a running trial rests on."""

import os
import time

import pytest
import torch

from plastsearch.store.records import StageRecord
from plastsearch.store.room import DAY_S, Entry, entries, excess, size
from plastsearch.store.stages import StageStore
from plastsearch.trial.run import run_trial
from tests.trial.conftest import make_config, steady

FLOATS = 2_000
ONE = 4 * FLOATS + 900  # a stage of this test: its weights and its record


def save(store: StageStore, key: str, seconds: float = 1.0) -> None:
    tensors = {"a": torch.arange(FLOATS, dtype=torch.float32) + sum(key.encode())}
    store.save(StageRecord(key, "train", None, {}, seconds=seconds), tensors)


def keys(store: StageStore) -> set[str]:
    return {entry.key for entry in entries(store)}


def test_every_save_keeps_to_the_budget_and_the_quickest_go_first(tmp_path) -> None:
    store = StageStore(tmp_path, max_bytes=4 * ONE)
    for at in range(10):
        save(store, f"k{at}", seconds=at)
        assert size(store) <= store.max_bytes
    assert keys(store) == {"k7", "k8", "k9"} | ({"k6"} & keys(store))
    assert excess(store) == []


def test_what_a_trial_rests_on_stays_though_the_store_grows_beyond_its_budget(tmp_path) -> None:
    store = StageStore(tmp_path, max_bytes=2.5 * ONE)
    with store.rest_on(["a", "b", "c", "d"]):
        for key in ("a", "b", "other", "c", "d"):
            save(store, key)
        assert keys(store) == {"a", "b", "c", "d"}
        assert "more than the 22.2 kB of --store-max-gb: running trials" in excess(store)[0]
    save(store, "next")
    assert size(store) <= store.max_bytes
    assert "next" in keys(store)


def test_checkpoints_and_drafts_count_but_scores_and_leases_do_not(tmp_path) -> None:
    store = StageStore(tmp_path)
    for kind, number in (("work/k", 100), ("drafts/k", 10), ("scores/k", 1000), ("leases", 1000), ("uses", 1000)):
        (tmp_path / kind).mkdir(parents=True)
        (tmp_path / kind / "file").write_bytes(bytes(number))
    assert size(store) == 110


def entry(seconds: float = 10.0, size: int = 1000, idle_s: float = 0.0, followed_by: int = 0) -> Entry:
    return Entry("k", "train", size, 0.0, time.time() - idle_s, seconds, 0, followed_by)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (entry(seconds=1), entry(seconds=2)),
        (entry(size=2000), entry()),
        (entry(idle_s=DAY_S), entry()),
        (entry(), entry(followed_by=1)),
        (entry(seconds=100, idle_s=4 * DAY_S), entry()),
    ],
    ids=["seconds", "size", "age", "those that built on it", "dear, but old"],
)
def test_use_is_seconds_saved_per_byte_halved_with_every_day(less: Entry, more: Entry) -> None:
    now = time.time()
    assert less.worth(now) < more.worth(now)


def test_a_stage_that_is_loaded_is_useful_again(tmp_path) -> None:
    store = StageStore(tmp_path)
    for key in ("a", "b"):
        save(store, key)
        os.utime(store.folder(key), (time.time() - 9 * DAY_S,) * 2)
    store.load("a")
    assert [entry.key for entry in entries(store)] == ["b", "a"]


@pytest.mark.slow
def test_trials_under_a_budget_end_as_without_one(settings, tmp_path) -> None:
    """Unfrozen trials share nothing but `train`; the store is held to less than two of them."""
    configs = [make_config(regime="unfrozen", method="dropin", neurons=neurons) for neurons in (4, 6)]
    free = settings(store=tmp_path / "free")
    ends = [steady(list(run_trial(config, free))[-1]) for config in configs]
    whole = size(StageStore(free.store))
    tight = settings(store=tmp_path / "tight", store_max_gb=whole * 0.8 / 1e9)
    for config, expected in zip(configs, ends, strict=True):
        *_, final = run_trial(config, tight)
        assert steady(final) == pytest.approx(expected, rel=1e-5)
        assert final.details["model_key"] in keys(StageStore(tight.store))
        assert size(StageStore(tight.store)) <= whole * 0.8
        assert not any("--store-max-gb" in text for text in final.details["warnings"])
    assert len(keys(StageStore(tight.store))) < len(keys(StageStore(free.store)))
