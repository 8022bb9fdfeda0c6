"""The stage store: one computation per key, checked content, nothing lost when processes die."""

import json
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
import torch

from plastsearch.errors import StageBusyError
from plastsearch.store.lease import Lease
from plastsearch.store.records import StageRecord
from plastsearch.store.room import collect, entries
from plastsearch.store.stages import DamagedStageError, StageStore


def record(key: str, parent: str | None = None) -> StageRecord:
    return StageRecord(key=key, stage="train", parent=parent, reads={"seed": 0}, metrics={"dev_eer": 1.5}, seconds=2.0)


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "a": torch.randn(4, 3, generator=generator), "b": torch.randn(5, generator=generator).bfloat16(),
        "n": torch.tensor(7),
    }  # fmt: skip


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.save(record("k"), weights())
    found = store.find("k")
    assert found is not None
    assert found.metrics == {"dev_eer": 1.5}
    loaded = store.load("k")
    assert list(loaded) == ["a", "b", "n"]
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights().items())


def test_a_tensor_that_the_parent_holds_is_not_written_again(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    big = {"base": torch.randn(100, 100), "new": torch.zeros(3)}
    store.save(record("parent"), big)
    store.save(record("child", "parent"), big | {"new": torch.ones(3)})
    store.save(record("grandchild", "child"), big | {"new": torch.full((3,), 2.0)})
    assert (store.folder("grandchild") / "weights.safetensors").stat().st_size < 1000
    assert torch.equal(store.load("grandchild")["base"], big["base"])
    assert {e.key: e.needed_by for e in entries(store)} == {"parent": 2, "child": 0, "grandchild": 0}


def test_a_changed_byte_is_found_on_load(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.save(record("k"), weights())
    path = store.folder("k") / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedStageError, match="the checksum of"):
        store.load("k")


def test_a_lost_parent_is_found_on_load(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.save(record("p"), weights())
    store.save(record("c", "p"), weights())
    store.discard("p")
    with pytest.raises(DamagedStageError, match="cannot be used"):
        store.load("c")


def test_a_torn_record_counts_as_missing(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.save(record("k"), weights())
    (store.folder("k") / "stage.json").write_text('{"key": "k", "st')
    assert store.find("k") is None
    assert not store.folder("k").exists()


def test_busy_is_said_or_waited_for(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    holder = store.lease("k")
    assert holder.acquire()
    with pytest.raises(StageBusyError, match="stage k is being computed"), store.claim("k", defer=True):
        pass
    threading.Timer(0.3, holder.release).start()
    with store.claim("k", defer=False, poll_s=0.02) as waited:
        assert waited > 0.2


def _compute(root: Path, start: "multiprocessing.synchronize.Event", log: Path) -> None:
    store = StageStore(root)
    start.wait()
    with store.claim("k", defer=False, poll_s=0.01):
        if store.find("k") is None:
            with log.open("a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(0.1)
            store.save(record("k"), weights())


def test_four_processes_compute_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, log = context.Event(), tmp_path / "log"
    processes = [context.Process(target=_compute, args=(tmp_path / "store", start, log)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert len(log.read_text().splitlines()) == 1


def _die_holding(path: Path) -> None:
    assert Lease(path).acquire()
    os._exit(9)


def test_a_dead_process_on_this_machine_frees_its_lease_at_once(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_holding, args=(tmp_path / "lease",))
    process.start()
    process.join(30)
    heir = Lease(tmp_path / "lease")
    assert (tmp_path / "lease").exists()
    assert heir.acquire()
    heir.release()
    assert list(tmp_path.iterdir()) == []


def test_a_silent_holder_on_another_machine_loses_its_lease(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    path.write_text(json.dumps({"token": "t", "host": "elsewhere", "boot": "b", "pid": 1, "started": "1"}))
    heir = Lease(path, hold_s=5)
    assert not heir.acquire()
    os.utime(path, (time.time() - 10, time.time() - 10))
    assert heir.acquire()
    heir.release()


def test_a_heartbeat_keeps_a_lease(tmp_path: Path) -> None:
    lease = Lease(tmp_path / "lease", hold_s=0.2)
    assert lease.acquire()
    old = time.time() - 100
    os.utime(tmp_path / "lease", (old, old))
    time.sleep(0.3)
    assert time.time() - (tmp_path / "lease").stat().st_mtime < 50
    lease.release()


def test_collect_keeps_what_others_need(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    base = {"base": torch.randn(1000)}
    store.save(record("p"), base)
    store.save(record("c", "p"), base | {"x": torch.ones(2)})
    store.save(record("other"), {"y": torch.randn(1000)})
    for age, key in ((30, "p"), (20, "other"), (10, "c")):
        os.utime(store.folder(key), (time.time() - age, time.time() - age))
    dropped = [entry.key for entry in collect(store, max_bytes=9000)]
    assert dropped == ["other"]
    assert torch.equal(store.load("c")["base"], base["base"])
    assert [entry.key for entry in collect(store, unused_s=0)] == ["c", "p"]


def test_collect_keeps_what_a_running_trial_rests_on(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.save(record("parent"), weights())
    store.save(record("other"), weights(1))
    with store.rest_on(["parent", "child"]), store.claim("child", defer=False):
        assert [entry.key for entry in collect(store, max_bytes=0)] == ["other"]
        store.save(record("child", "parent"), weights())
        assert collect(store, max_bytes=0) == []
    assert torch.equal(store.load("child")["a"], weights()["a"])
    assert [entry.key for entry in collect(store, max_bytes=0)] == ["child", "parent"]
