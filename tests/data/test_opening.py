"""A corpus opens decoded once, refuses what is wrong, and lets the search see its search-dev clips only."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from plastsearch.data import shards
from plastsearch.data.corpus import forget_corpora, open_corpus
from plastsearch.errors import DataError
from plastsearch.spec.data import DataConfig, SearchDev


def config(root: Path, **changes) -> DataConfig:
    return DataConfig(corpus="asvspoof2019_la", root=str(root), **changes)


def flac(root: Path, split: str, name: str) -> Path:
    return root / f"ASVspoof2019_LA_{split}" / "flac" / f"{name}.flac"


def test_samples_labels_and_names_are_those_of_the_files(la_tree, tmp_path):
    view = open_corpus(config(la_tree), tmp_path / "cache")
    assert (len(view.train), len(view.search_dev), view.bad_clips) == (16, 12, 0)
    for i in (0, 7, 15):
        expected, _ = soundfile.read(flac(la_tree, "train", view.train.ids[i]), dtype="float32")
        np.testing.assert_array_equal(view.train.wave(i), expected)
        assert view.train.lengths[i] == len(expected)
    assert view.train.labels.tolist()[:4] == [1, 0, 0, 1]
    assert view.train.attacks.tolist()[:4] == ["-", "A01", "A02", "-"]
    assert view.train.speakers[1] == "LA_t001"


def test_the_second_opening_decodes_nothing(la_tree, tmp_path, monkeypatch):
    first = open_corpus(config(la_tree), tmp_path / "cache")
    monkeypatch.setattr(shards, "decode", lambda *_: pytest.fail("decoded again"))
    second = open_corpus(config(la_tree), tmp_path / "cache")
    assert second.fingerprint == first.fingerprint


def test_a_changed_file_is_decoded_again_and_changes_the_fingerprint(la_tree, tmp_path, write_clip):
    first = open_corpus(config(la_tree), tmp_path / "cache")
    write_clip(flac(la_tree, "train", "LA_T_1003"), 999, 1630)
    forget_corpora()  # as in the next process
    second = open_corpus(config(la_tree), tmp_path / "cache")
    assert second.train.fingerprint != first.train.fingerprint
    assert second.search_dev.fingerprint == first.search_dev.fingerprint


def test_a_moved_corpus_keeps_its_clips_and_fingerprint(la_tree, tmp_path, monkeypatch):
    first = open_corpus(config(la_tree), tmp_path / "cache")
    moved = la_tree.rename(tmp_path / "moved")
    monkeypatch.setattr(shards, "decode", lambda *_: pytest.fail("decoded again"))
    assert open_corpus(config(moved), tmp_path / "cache").fingerprint == first.fingerprint


@pytest.mark.parametrize("storage", ["int16", "float32"])
def test_reads_are_views_of_one_memory_map(la_tree, tmp_path, storage):
    train = open_corpus(config(la_tree, storage=storage), tmp_path / "cache").train
    one, other = train.stored(3), pickle.loads(pickle.dumps(train)).stored(3)
    assert np.shares_memory(one, other)
    assert not one.flags.owndata
    assert not one.flags.writeable


def test_a_set_pickles_small(la_tree, tmp_path):
    train = open_corpus(config(la_tree), tmp_path / "cache").train
    assert len(pickle.dumps(train)) < 20_000


def test_bad_files_are_refused_by_default_and_counted_when_skipped(la_tree, tmp_path, protocol_of):
    flac(la_tree, "train", "LA_T_1001").unlink()
    flac(la_tree, "train", "LA_T_1002").write_bytes(b"")
    damaged = flac(la_tree, "train", "LA_T_1003")
    damaged.write_bytes(damaged.read_bytes()[:900])
    flac(la_tree, "dev", "LA_D_1020").write_text("hello")
    with pytest.raises(DataError) as caught:
        open_corpus(config(la_tree), tmp_path / "cache")
    text = str(caught.value)
    protocol = protocol_of(la_tree, "train")
    assert f"{protocol}:1: LA_T_1001: missing file: {flac(la_tree, 'train', 'LA_T_1001')}" in text
    assert f"{protocol}:2: LA_T_1002: empty file" in text
    assert f"{protocol}:3: ASVspoof2019_LA_train/flac/LA_T_1003.flac: truncated or damaged" in text
    assert f"{protocol_of(la_tree, 'dev')}:4: ASVspoof2019_LA_dev/flac/LA_D_1020.flac: not audio: text: 'hello'" in text
    assert "4 clip(s) or line(s) cannot be used" in text
    assert "`data.on_bad: skip`" in text
    view = open_corpus(config(la_tree, on_bad="skip"), tmp_path / "cache")
    assert (len(view.train), len(view.search_dev), view.bad_clips) == (13, 11, 4)
    assert open_corpus(config(la_tree, on_bad="skip"), tmp_path / "cache").bad_clips == 4  # bad ones are remembered


def test_bad_evaluation_files_do_not_stop_training(la_tree, tmp_path):
    flac(la_tree, "eval", "LA_E_1029").unlink()
    assert open_corpus(config(la_tree), tmp_path / "cache").bad_clips == 0


def test_the_same_audio_in_two_splits_is_found(la_tree, tmp_path):
    flac(la_tree, "dev", "LA_D_1018").write_bytes(flac(la_tree, "train", "LA_T_1005").read_bytes())
    with pytest.raises(DataError, match="LA_D_1018: same audio in two splits: also in train"):
        open_corpus(config(la_tree), tmp_path / "cache")
    view = open_corpus(config(la_tree, on_bad="skip"), tmp_path / "cache")
    assert view.bad_clips == 1
    assert "LA_D_1018" not in view.search_dev.ids


def test_all_files_missing_is_one_message(la_tree, tmp_path):
    for path in (la_tree / "ASVspoof2019_LA_train" / "flac").iterdir():
        path.rename(path.with_suffix(".bak"))
    with pytest.raises(DataError, match=r"none of the 16 train clips .* exists \(the first would be"):
        open_corpus(config(la_tree), tmp_path / "cache")


def test_held_out_attacks_leave_training_and_are_searched_on(la_tree, tmp_path):
    held = config(la_tree, search_dev=SearchDev(policy="held_out_attacks", attacks=("A02",)))
    view = open_corpus(held, tmp_path / "cache")
    assert set(view.train.attacks) == {"-", "A01"}
    assert set(view.search_dev.attacks) == {"-", "A02"}
    assert view.search_dev.split == "dev"


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ((), r"names none; attacks of asvspoof2019_la: A01, A02"),
        (("A09",), r"has attack A09; known: A01, A02"),
        (("A01", "A02"), r"leaves no spoof to train on"),
    ],
)
def test_impossible_held_out_attacks_are_refused(la_tree, tmp_path, attacks, message):
    held = config(la_tree, search_dev=SearchDev(policy="held_out_attacks", attacks=attacks))
    with pytest.raises(DataError, match=message):
        open_corpus(held, tmp_path / "cache")


def test_a_second_corpus_gives_the_search_dev_clips(la_tree, tmp_path, write_clip):
    lines = ["path,label,split"]
    for i in range(8):
        write_clip(tmp_path / "other" / f"{i}.wav", 500 + i, 3000, 8_000)
        lines.append(f"{i}.wav,{'real' if i % 2 else 'fake'},dev")
    (tmp_path / "other" / "clips.csv").write_text("\n".join(lines) + "\n")
    second = SearchDev(policy="second_corpus", corpus="manifest", root=str(tmp_path / "other"))
    data = config(la_tree, search_dev=second)
    with pytest.raises(DataError, match=r"`data\.manifest` \(--manifest\) is missing"):
        open_corpus(data, tmp_path / "cache")
    data = config(la_tree, search_dev=second.model_copy(update={"manifest": str(tmp_path / "other" / "clips.csv")}))
    view = open_corpus(data, tmp_path / "cache")
    assert len(view.train) == 16
    assert view.search_dev.ids.tolist() == [f"{i}.wav" for i in range(8)]
    assert view.search_dev.lengths[0] == 6000


@pytest.mark.parametrize("corpus", ["asvspoof2021_la", "asvspoof2021_df"])
def test_evaluation_corpora_are_neither_trained_nor_searched_on(la_tree, tmp_path, corpus):
    with pytest.raises(DataError, match="for evaluation only"):
        open_corpus(DataConfig(corpus=corpus, root=str(la_tree)), tmp_path / "cache")
    second = SearchDev(policy="second_corpus", corpus=corpus, root=str(la_tree))
    with pytest.raises(DataError, match="for evaluation only"):
        open_corpus(config(la_tree, search_dev=second), tmp_path / "cache")


def test_the_cap_keeps_proportions_and_is_fixed_by_the_seed(la_tree, tmp_path):
    first = open_corpus(config(la_tree, clips=9), tmp_path / "cache").train
    again = open_corpus(config(la_tree, clips=9), tmp_path / "cache").train
    other = open_corpus(config(la_tree, clips=9, seed=1), tmp_path / "cache").train
    assert first.ids.tolist() == again.ids.tolist() != other.ids.tolist()
    assert {name: int((first.attacks == name).sum()) for name in ("-", "A01", "A02")} == {"-": 3, "A01": 3, "A02": 3}


def test_calibration_is_stratified(la_tree, tmp_path):
    chosen = open_corpus(config(la_tree), tmp_path / "cache").calibration(6, seed=0)
    assert sorted(chosen.attacks.tolist()) == ["-", "-", "A01", "A01", "A02", "A02"]
