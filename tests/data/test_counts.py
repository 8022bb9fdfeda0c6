"""Counts equal the published ones, or the difference is said; the command shows it to people and to programs."""

import json

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.data.counts import COUNTS, count
from plastsearch.data.manifest import Manifest, rows
from plastsearch.errors import DataError

LA = {"train": (2580, 22800, 20, 1, 6), "dev": (2548, 22296, 20, 1, 6), "eval": (7355, 63882, 67, 7, 19)}


def published_la() -> Manifest:
    """A manifest with the published counts of LA."""
    splits = {}
    for split, (bona, spoof, speakers, first, last) in LA.items():
        names = [f"A{n:02d}" for n in range(first, last + 1)]
        attacks = np.array(["-"] * bona + [names[i % len(names)] for i in range(spoof)])
        n = bona + spoof
        ids = pa.array([f"LA_{split}_{i}" for i in range(n)])
        speaker = pa.array([f"LA_{i % speakers}" for i in range(n)])
        splits[split] = rows(
            {"id": ids, "path": ids, "label": pa.array((attacks == "-").astype(np.int8)), "attack": pa.array(attacks),
             "speaker": speaker, "line": pa.array(np.arange(n, dtype=np.int32))}
        )  # fmt: skip
    return Manifest("asvspoof2019_la", None, None, splits, {})


def test_the_published_la_is_recognised():
    assert [entry.matches for entry in count(published_la())] == [True, True, True]


def test_one_clip_less_is_said():
    manifest = published_la()
    manifest.splits["dev"] = manifest.splits["dev"].slice(1)
    entry = count(manifest)[1]
    assert entry.matches is False
    assert entry.differences == ("clips: 24,843 instead of 24,844", "bona fide: 2,547 instead of 2,548")


@pytest.mark.parametrize("key", COUNTS)
def test_published_counts_are_consistent(key):
    for split in COUNTS[key].values():
        if split.attacks:
            assert sum(split.attacks.values()) == split.spoof
        assert split.clips > 0


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str):
        result = CliRunner().invoke(app, ["data", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


def test_inspect_prints_tables(run, la_tree):
    out = run("inspect", "asvspoof2019_la", "--root", la_tree).stdout
    assert "train" in out
    assert "A07" in out
    assert "clips: 16 instead of 25,380" in out
    assert "0 clips are known to be unusable." in out


def test_inspect_gives_json_with_missing_files(run, la_tree):
    (la_tree / "ASVspoof2019_LA_dev/flac/LA_D_1018.flac").unlink()
    document = json.loads(run("inspect", "asvspoof2019_la", "--root", la_tree, "--json").stdout)
    train = document["splits"][0]
    assert (train["clips"], train["bona_fide"], train["attacks"]) == (16, 6, {"A01": 5, "A02": 5})
    assert train["speakers"] == {"LA_t000": 6, "LA_t001": 5, "LA_t002": 5}
    assert train["matches_published"] is False
    assert document["problems"]["kinds"] == {"missing file": 1}


def test_inspect_without_audio_still_counts(run, la_tree):
    import shutil

    for split in LA:
        shutil.rmtree(la_tree / f"ASVspoof2019_LA_{split}")
    document = json.loads(run("inspect", "asvspoof2019_la", "--root", la_tree, "--json").stdout)
    assert [s["clips"] for s in document["splits"]] == [16, 12, 8]
    assert document["problems"]["count"] == 36


def test_prepare_decodes_every_split_and_then_has_nothing_to_do(run, la_tree, monkeypatch):
    first = json.loads(run("prepare", "asvspoof2019_la", "--root", la_tree, "--workers", 1, "--json").stdout)
    assert [(s["split"], s["clips"]) for s in first["splits"]] == [("train", 16), ("dev", 12), ("eval", 8)]
    monkeypatch.setattr("plastsearch.data.shards.decode", lambda *_: pytest.fail("decoded again"))
    assert json.loads(run("prepare", "asvspoof2019_la", "--root", la_tree, "--json").stdout) == first


def test_prepare_finds_damage_and_leaks_in_all_splits(run, la_tree):
    flac = la_tree / "ASVspoof2019_LA_eval/flac"
    (flac / "LA_E_1029.flac").write_bytes((la_tree / "ASVspoof2019_LA_train/flac/LA_T_1001.flac").read_bytes())
    (flac / "LA_E_1030.flac").write_bytes(b"")
    options = ("prepare", "asvspoof2019_la", "--root", la_tree, "--workers", 1)
    with pytest.raises(
        DataError, match=r"LA_E_1030: empty file(.|\n)*LA_E_1029: same audio in two splits: also in train"
    ):
        run(*options)
    out = run(*options, "--on-bad", "skip").stdout
    assert "2 clip(s) or line(s) cannot be used" in out
    assert run(*options, "--splits", "train,dev").exit_code == 0


def test_prepare_refuses_unknown_splits_and_storage(run, la_tree):
    with pytest.raises(DataError, match="has no split test; it has train, dev, eval"):
        run("prepare", "asvspoof2019_la", "--root", la_tree, "--splits", "test")
    with pytest.raises(DataError, match="int16 or float32"):
        run("prepare", "asvspoof2019_la", "--root", la_tree, "--storage", "int8")
