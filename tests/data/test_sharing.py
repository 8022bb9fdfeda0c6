"""Decoding happens once however many processes ask, survives being killed, and never shows a half-written shard."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from plastsearch.data.cache import Decoder, Shards, clip_keys, fill, stat_all
from plastsearch.errors import DataError
from plastsearch.lock import hold

OPEN = """
import sys
from pathlib import Path
from plastsearch.data.corpus import open_corpus
from plastsearch.spec.data import DataConfig
said = []
view = open_corpus(DataConfig(corpus="asvspoof2019_la", root=sys.argv[1]), Path(sys.argv[2]), workers=1,
                   progress=lambda what, done, total: said.append(done))
print(view.fingerprint, bool(said))
"""
HOLD = """
import time
from pathlib import Path
from plastsearch.lock import hold
with hold(Path({path!r}), "preparing noise"):
    print("held", flush=True)
    time.sleep(1)
"""


def write_noise(root: Path, n: int) -> pa.ChunkedArray:
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        soundfile.write(root / f"{i:04d}.flac", rng.uniform(-0.5, 0.5, 800), 16_000)
    return pa.chunked_array([[f"{i:04d}.flac" for i in range(n)]])


def test_processes_that_open_at_once_decode_once(la_tree, tmp_path):
    command = [sys.executable, "-c", OPEN, str(la_tree), str(tmp_path / "cache")]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [run.communicate(timeout=120)[0].split() for run in runs]
    assert len({fingerprint for fingerprint, _ in said}) == 1
    assert sorted(decoded for _, decoded in said).count("True") <= 2  # train by one, dev perhaps by another
    shards = list((tmp_path / "cache").rglob("*.arrow"))
    assert len(shards) == 2


@pytest.mark.usefixtures("children")
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing_but_the_number_of_shards(tmp_path, workers):
    paths = write_noise(tmp_path / "audio", 200)
    keys = clip_keys(paths, *stat_all(tmp_path / "audio", paths))
    done = []
    decoder = Decoder(tmp_path / "cache", workers, progress=lambda what, n, total: done.append((n, total)))
    index = fill(Shards("noise", "train", 16_000, "int16"), decoder, tmp_path / "audio", paths, keys)
    at = index.locate(keys)
    assert done[-1] == (200, 200)
    assert at.length.tolist() == [800] * 200
    assert len(set(at.audio.to_pylist())) == 200
    assert len(at.shards) == (4 if workers == 1 else 7)


def test_a_killed_preparation_resumes_and_leaves_no_half_shard(tmp_path):
    paths = write_noise(tmp_path / "audio", 400)
    keys = clip_keys(paths, *stat_all(tmp_path / "audio", paths))
    place = Shards("noise", "train", 16_000, "int16")
    folder = place.folder(tmp_path / "cache")
    child = os.fork()
    if child == 0:  # decodes one shard of four and is killed in the middle of the second
        seen = [0]

        def stop(what: str, done: int, total: int) -> None:
            seen[0] = done
            if done > 100:
                os.kill(os.getpid(), signal.SIGKILL)

        fill(place, Decoder(tmp_path / "cache", 1, progress=stop), tmp_path / "audio", paths, keys)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    finished = sorted(path.name for path in folder.glob("*.arrow"))
    assert len(finished) == 1
    assert len(list(folder.glob(".*.part"))) == 1
    done = []
    fill(
        place, Decoder(tmp_path / "cache", 1, progress=lambda w, n, t: done.append(t)), tmp_path / "audio", paths, keys
    )
    assert done[-1] == 300
    assert not list(folder.glob(".*.part"))
    assert set(finished) < {path.name for path in folder.glob("*.arrow")}


@pytest.mark.usefixtures("children")
def test_a_decoding_process_that_dies_is_reported(tmp_path, monkeypatch):
    from plastsearch.data import decoding

    monkeypatch.setattr(decoding, "SERVE", "import os; os._exit(7)")
    paths = write_noise(tmp_path / "audio", 100)
    keys = clip_keys(paths, *stat_all(tmp_path / "audio", paths))
    with pytest.raises(DataError, match="a decoding process"):
        fill(Shards("noise", "train", 16_000, "int16"), Decoder(tmp_path / "cache", 2), tmp_path / "audio", paths, keys)


def test_too_little_space_is_refused_before_decoding(tmp_path, monkeypatch):
    import shutil
    from types import SimpleNamespace

    paths = write_noise(tmp_path / "audio", 40)
    keys = clip_keys(paths, *stat_all(tmp_path / "audio", paths))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"40 clips of noise need about .* name another cache folder"):
        fill(Shards("noise", "train", 16_000, "int16"), Decoder(tmp_path / "cache", 1), tmp_path / "audio", paths, keys)


def test_who_waits_is_told_who_holds_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr("plastsearch.lock.PATIENCE_S", 0.05)
    script = HOLD.format(path=str(tmp_path / "lock"))
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    said = []
    started = time.monotonic()
    with hold(tmp_path / "lock", "mine", said.append):
        assert time.monotonic() - started > 0.3
    holder.communicate()
    assert len(said) == 1
    assert f"waiting for preparing noise: process {holder.pid} on " in said[0]


@pytest.mark.parametrize("left", [0, 1000])
def test_a_shard_cut_by_a_crash_is_made_again(tmp_path, left):
    paths = write_noise(tmp_path / "audio", 70)
    keys = clip_keys(paths, *stat_all(tmp_path / "audio", paths))
    place = Shards("noise", "train", 16_000, "int16")
    whole = fill(place, Decoder(tmp_path / "cache", 1), tmp_path / "audio", paths, keys).audio(keys)
    shard = Path(sorted(place.folder(tmp_path / "cache").glob("*.arrow"))[0])
    shard.write_bytes(shard.read_bytes()[:left])
    done = []
    decoder = Decoder(tmp_path / "cache", 1, progress=lambda what, n, total: done.append(total))
    assert fill(place, decoder, tmp_path / "audio", paths, keys).audio(keys).equals(whole)
    assert 0 < done[-1] < 70


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "lock").mkdir()
    with (
        pytest.raises(DataError, match="lock: cannot be written: Is a directory; name a folder you may write to"),
        hold(tmp_path / "lock", "mine"),
    ):
        pass


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    paths = write_noise(tmp_path / "audio", 1)
    keys = clip_keys(paths, *stat_all(tmp_path / "audio", paths))
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cannot be made: Not a directory; name a cache folder you may write to"):
        fill(Shards("noise", "train", 16_000, "int16"), Decoder(tmp_path / "cache", 1), tmp_path / "audio", paths, keys)
