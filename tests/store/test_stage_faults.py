"""What a file system can do to the store: full, gone, slow to answer, swept beside a trial. Nothing good is lost."""

import errno
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from plastsearch.errors import StorageError, TrialError
from plastsearch.store import room
from plastsearch.store import stages as stores
from plastsearch.store.records import StageRecord
from plastsearch.store.room import collect, entries
from plastsearch.store.stages import DamagedStageError, StageStore
from plastsearch.training.checkpoint import Checkpoints


def record(key: str, parent: str | None = None, seconds: float = 2.0) -> StageRecord:
    return StageRecord(key=key, stage="train", parent=parent, reads={}, metrics={"dev_eer": 1.5}, seconds=seconds)


def weights(seed: int = 0, size: int = 12) -> dict[str, torch.Tensor]:
    return {"a": torch.randn(size, generator=torch.Generator().manual_seed(seed))}


def refusing(number: int, method: Any, name: str) -> Any:
    """A method of Path that fails for one name, as a file server in trouble does."""

    def refused(self: Path, *args: Any, **kwargs: Any) -> Any:
        if name in (self.name, self.parent.name):
            raise OSError(number, os.strerror(number), str(self))
        return method(self, *args, **kwargs)

    return refused


def checkpointed(store: StageStore, key: str) -> Path:
    checkpoints = Checkpoints(store.work(key), 60)
    checkpoints.save({"step": 7})
    return checkpoints.path


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.ESTALE])
def test_a_stage_that_cannot_be_published_says_so_and_keeps_its_checkpoint(number, tmp_path, monkeypatch) -> None:
    store = StageStore(tmp_path)
    checkpoint = checkpointed(store, "k")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refusing(number, Path.rename, "drafts"))
        with pytest.raises(TrialError, match=r"stage train could not be stored .*make room .*goes on from there"):
            store.save(record("k"), weights())
    assert checkpoint.is_file()
    assert store.find("k") is None
    assert list((tmp_path / "drafts").iterdir()) == []
    store.save(record("k"), weights())
    assert torch.equal(store.load("k")["a"], weights()["a"])
    assert not checkpoint.exists()


def test_a_stage_that_someone_else_published_meanwhile_is_as_good(tmp_path) -> None:
    store = StageStore(tmp_path)
    store.save(record("k"), weights())
    checkpoint = checkpointed(store, "k")
    store.save(record("k"), weights())
    assert not checkpoint.exists()
    assert list((tmp_path / "drafts").iterdir()) == []


def test_ruins_under_a_stage_s_name_give_way(tmp_path) -> None:
    store = StageStore(tmp_path)
    store.folder("k").mkdir(parents=True)
    (store.folder("k") / "weights.safetensors").write_bytes(b"half")
    store.save(record("k"), weights())
    assert torch.equal(store.load("k")["a"], weights()["a"])


FAULTS = [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES]


@pytest.mark.parametrize("file", ["weights.safetensors", "stage.json"])
@pytest.mark.parametrize("number", FAULTS, ids=[errno.errorcode[number] for number in FAULTS])
def test_a_stage_that_cannot_be_read_now_is_not_dropped(number, file, tmp_path, monkeypatch) -> None:
    store = StageStore(tmp_path)
    store.save(record("k"), weights())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refusing(number, Path.open, file))
        with pytest.raises(StorageError, match="nothing was deleted"):
            store.load("k")
    assert torch.equal(store.load("k")["a"], weights()["a"])


def test_too_many_open_files_look_like_a_missing_one_to_safetensors(tmp_path, monkeypatch) -> None:
    """Its own opening reports every failure as FileNotFoundError."""

    def safe_open(path: Path, **_: Any) -> Any:
        raise FileNotFoundError(f"No such file or directory: {path}")

    store = StageStore(tmp_path)
    store.save(record("k"), weights())
    with monkeypatch.context() as patch:
        patch.setattr(stores, "safe_open", safe_open)
        with pytest.raises(StorageError, match="nothing was deleted"):
            store.load("k")
    (store.folder("k") / "weights.safetensors").unlink()
    with pytest.raises(DamagedStageError, match="is gone"):
        store.load("k")


@pytest.mark.parametrize("number", FAULTS, ids=[errno.errorcode[number] for number in FAULTS])
def test_a_checkpoint_that_cannot_be_read_now_is_kept(number, tmp_path, monkeypatch) -> None:
    checkpoint = checkpointed(StageStore(tmp_path), "k")
    checkpoints = Checkpoints(checkpoint.parent, 60)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refusing(number, Path.open, "checkpoint.pt"))
        with pytest.raises(StorageError, match="nothing was deleted"):
            checkpoints.load(torch.device("cpu"))
    assert checkpoints.load(torch.device("cpu")) == {"step": 7}
    checkpoint.write_bytes(checkpoint.read_bytes()[:-40])
    assert checkpoints.load(torch.device("cpu")) is None
    assert not checkpoint.exists()


def test_collecting_survives_what_vanishes_under_it(tmp_path, monkeypatch) -> None:
    """Another collector, a publishing trial and a killed one: each may take a folder away between two looks."""
    store = StageStore(tmp_path)
    store.save(record("k"), weights())
    for kind in ("drafts", "work"):
        (tmp_path / kind / "old").mkdir(parents=True)
        os.utime(tmp_path / kind / "old", (1, 1))
        (tmp_path / kind / "new").mkdir()
    stat, seen = Path.stat, []

    def vanishing(self: Path, **kwargs: Any) -> os.stat_result:
        if self.parent.name in ("drafts", "work"):
            seen.append(self)
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self))
        return stat(self, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", vanishing)
        assert collect(store, max_bytes=1 << 30) == []
    assert seen
    collect(store, max_bytes=1 << 30)
    assert not (tmp_path / "drafts" / "old").exists()
    assert not (tmp_path / "work" / "old").exists()
    assert (tmp_path / "drafts" / "new").exists()


def _collects(root: Path, start: Any, over: Any) -> None:
    start.wait()
    while not over.is_set():
        collect(StageStore(root), max_bytes=0)


def _publishes(root: Path, start: Any, trouble: Any) -> None:
    """Trials of two stages, the second of which keeps a tensor in the first."""
    store, base = StageStore(root), {"base": torch.arange(500.0)}
    start.wait()
    try:
        for i in range(40):
            with store.rest_on([f"parent{i}", f"child{i}"]):
                store.save(record(f"parent{i}"), base)
                with store.claim(f"child{i}", defer=False):
                    store.save(record(f"child{i}", f"parent{i}"), base | {"new": torch.ones(1) * i})
                assert store.load(f"child{i}")["base"][7] == 7
    except BaseException as error:
        trouble.put(repr(error))
        raise
    trouble.put(None)


@pytest.mark.slow
def test_collectors_and_trials_at_once_lose_nothing_that_is_in_use(tmp_path) -> None:
    """Two processes drop all they may while two others publish the same stages and read them back."""
    context = multiprocessing.get_context("fork")
    start, over, trouble = context.Event(), context.Event(), context.SimpleQueue()
    collectors = [context.Process(target=_collects, args=(tmp_path, start, over)) for _ in range(2)]
    trials = [context.Process(target=_publishes, args=(tmp_path, start, trouble)) for _ in range(2)]
    for process in (*collectors, *trials):
        process.start()
    start.set()
    said = [trouble.get() for _ in trials]
    over.set()
    assert said == [None, None]
    for process in (*collectors, *trials):
        process.join(60)
        assert process.exitcode == 0
    collect(StageStore(tmp_path), max_bytes=0)
    assert entries(StageStore(tmp_path)) == []


def test_no_trial_begins_while_a_collector_chooses(tmp_path, monkeypatch) -> None:
    store = StageStore(tmp_path)
    store.save(record("p"), weights())
    choose, began = room.choose, []

    def begins() -> None:
        with store.rest_on(["p"]):
            began.append(store.find("p"))

    trial = threading.Thread(target=begins)

    def overtaken(*args: Any) -> Any:
        chosen = choose(*args)
        if not trial.ident:
            trial.start()
            trial.join(0.5)
            assert not began
        return chosen

    monkeypatch.setattr(room, "choose", overtaken)
    assert [entry.key for entry in collect(store, max_bytes=0)] == ["p"]
    trial.join(60)
    assert began == [None]


def test_everything_a_trial_under_way_was_made_of_stays(tmp_path) -> None:
    store = StageStore(tmp_path)
    for at, key in enumerate(("a", "b", "c")):
        store.save(record(key), weights(at))
    with store.rest_on(["a", "b"]):
        assert [entry.key for entry in collect(store, max_bytes=0)] == ["c"]
    assert {entry.key for entry in collect(store, max_bytes=0)} == {"a", "b"}
    assert list((tmp_path / "uses").iterdir()) == []


FULL = """
import sys, torch
from pathlib import Path
from plastsearch.errors import TrialError
from plastsearch.training.checkpoint import Checkpoints
from plastsearch.store.room import collect, entries
from plastsearch.store.records import StageRecord
from plastsearch.store.stages import StageStore
store = StageStore(Path(sys.argv[1]))
tensors = {"a": torch.arange(50_000.0)}
for at in range(100):
    try:
        store.save(StageRecord(f"k{at}", "train", None, {}, seconds=at), {"a": tensors["a"] + at})
    except TrialError as error:
        assert "make room" in str(error), error
        break
try:
    Checkpoints(store.work(f"k{at}"), 0).save({"step": 1, **tensors})
except TrialError as error:
    assert "no checkpoint could be written" in str(error), error
whole = [entry.key for entry in entries(store)]
assert len(whole) == at > 2, (whole, at)
assert all(torch.equal(store.load(key)["a"], tensors["a"] + int(key[1:])) for key in whole)
with Path(sys.argv[1], "rest").open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(512))
    except OSError:
        pass
dropped = collect(store, max_bytes=500_000)
assert [entry.key for entry in dropped] == whole[:len(dropped)] and dropped
store.save(StageRecord("last", "train", None, {}), tensors)
assert torch.equal(store.load("last")["a"], tensors["a"])
"""


def test_a_disk_that_is_really_full_loses_nothing_and_can_be_emptied(tmp_path) -> None:
    if os.getuid():
        pytest.skip("mounting a small disk needs root (a full disk is also met in test_resume.py, for everybody)")
    mounted = 'mount -t tmpfs -o size=2m small "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, FULL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
