"""Whoever waits for clips, or makes them, can be asked to stop; what is finished stays, nothing half done is seen."""

import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plastsearch.data.cache import Decoder, shards_of
from plastsearch.data.corpora import read_corpus
from plastsearch.data.corpus import open_corpus
from plastsearch.data.index import read_clip_index
from plastsearch.data.preparing import prepare_splits
from plastsearch.data.sources import WRITING, Source, generate
from plastsearch.spec.data import DataConfig

TRIAL = """
import sys
from pathlib import Path
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.run import run_trial
config = TrialConfig.model_validate({"method": "baseline", "data": {"corpus": "asvspoof2019_la", "root": sys.argv[1]}})
settings = RunSettings(store=Path(sys.argv[2]) / "store", cache=Path(sys.argv[2]) / "cache", data_progress=True)
for report in run_trial(config, settings):
    pass
"""


class Enough(Exception):
    """The stop request of these tests."""


def after(calls: int):
    """A question that is answered with Enough from some call on."""
    left = [calls]

    def go_on() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Enough

    return go_on


def shard_folder(la_tree: Path, cache: Path) -> Path:
    manifest = read_corpus("asvspoof2019_la", la_tree)
    folder = shards_of(manifest, "train", 16_000, "int16").folder(cache)
    folder.mkdir(parents=True)
    return folder


def test_waiting_for_another_process_ends_when_asked(la_tree, tmp_path):
    with (shard_folder(la_tree, tmp_path) / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Enough):
            open_corpus(DataConfig(corpus="asvspoof2019_la", root=str(la_tree)), tmp_path, while_waiting=after(3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "status", "word"),
    [
        ([sys.executable, "-c", TRIAL, "ROOT", "PLACE"], -signal.SIGTERM, ""),
        (
            [sys.executable, "-m", "plastsearch.cli.main", "data", "prepare", "asvspoof2019_la", "--root", "ROOT",
             "--cache", "PLACE/cache"],
            130, "stopped; 0 of 36 clips are decoded and kept in",
        ),
    ],
    ids=["a trial", "data prepare"],
)  # fmt: skip
def test_a_process_that_waits_ends_on_sigterm(la_tree, tmp_path, command, status, word):
    with (shard_folder(la_tree, tmp_path / "cache") / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("preparing elsewhere")
        file.flush()
        named = [part.replace("ROOT", str(la_tree)).replace("PLACE", str(tmp_path)) for part in command]
        process = subprocess.Popen(named, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert "waiting for preparing elsewhere" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1]
    assert process.returncode == status
    assert "Traceback" not in said
    assert said.startswith(word)
    if word:
        assert said.endswith("the same command continues\n")
        assert said.count("\n") == 1


@pytest.mark.usefixtures("children")
@pytest.mark.parametrize("workers", [1, 2])
def test_decoding_that_is_stopped_keeps_whole_shards_and_goes_on(tmp_path, write_clip, workers):
    lines = ["path,label,split"]
    for i in range(160):
        write_clip(tmp_path / f"{i}.flac", i, 800)
        lines.append(f"{i}.flac,{'real' if i % 2 else 'fake'},train")
    (tmp_path / "clips.csv").write_text("\n".join(lines))

    def prepare(decoder: Decoder) -> list:
        manifest = read_corpus("manifest", None, manifest=str(tmp_path / "clips.csv"), needed=("train",))
        return prepare_splits(manifest, ["train"], 16_000, "int16", decoder)

    seen = []
    stopped = Decoder(tmp_path, workers, lambda _, done, total: seen.append(done), None, lambda: enough(seen))
    with pytest.raises(Enough):
        prepare(stopped)
    folder = next((tmp_path / "clips").iterdir())
    assert len(read_clip_index(folder).keys) < 160
    assert not read_clip_index(folder).broken
    done = prepare(Decoder(tmp_path, workers))
    assert done[0].clips == 160


def enough(seen: list[int]) -> None:
    if seen and seen[-1] >= 40:
        raise Enough


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_writing_a_generated_corpus_tells_how_far_it_is_and_can_be_stopped(tmp_path, workers):
    said = []
    source = Source("synthetic", seed=3, clips=8)
    with pytest.raises(Enough):
        generate(source, "la", Decoder(tmp_path, workers, None, None, after(10)))
    assert [path.suffix for path in (tmp_path / "synthetic").iterdir()] == [".lock"]
    folder = generate(source, "la", Decoder(tmp_path, workers, lambda *told: said.append(told)))
    parts = {"search": 72, "evaluation": 64}
    assert said == [(WRITING, done, total) for total in parts.values() for done in range(total + 1)]
    assert len(list(folder.rglob("*.flac"))) == 136
