"""What lies in a store and is none of its own: it is told, left alone, and never followed out of the store."""

import json

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.store.records import StageRecords
from plastsearch.store.room import collect, entries, foreign

RECORD = {"key": "aa", "stage": "train", "parent": None, "reads": {}, "seconds": 3.0, "format": 1}
TENSOR = {"digest": "d", "key": "aa", "name": "w"}


def _stage(root, name="aa", content=None, **fields):
    folder = root / "stages" / name
    folder.mkdir(parents=True)
    text = json.dumps({**RECORD, **fields}) if content is None else content
    (folder / "stage.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("content", "fields", "why"),
    [
        ("[" * 100_000, {}, "nested too deeply"),
        ("[]", {}, "no object"),
        ("", {}, "Expecting value"),
        ('{"format": 1}', {}, "key: Field required"),
        (None, {"seconds": "long"}, "seconds"),
        (None, {"seconds": 1e300}, "seconds"),
        (None, {"key": "../../aa"}, "it is the record of stage ../../aa"),
        (None, {"tensors": {"w": {**TENSOR, "key": "../../aa"}}}, "tensors.w.key"),
        (None, {"tensors": {"w": 5}}, "tensors.w"),
        (None, {"parent": ["aa"]}, "parent"),
    ],
)
def test_a_damaged_record_is_told_and_left_where_it_is(tmp_path, content, fields, why):
    folder = _stage(tmp_path, content=content, **fields)
    store = StageRecords(tmp_path)
    assert entries(store) == []
    [(path, said)] = foreign(store)
    assert path == folder
    assert why in said
    assert folder.is_dir()
    assert store.find("aa") is None  # whoever needs it computes it again
    assert not folder.exists()


def test_more_than_we_know_of_a_stage_is_no_damage(tmp_path):
    _stage(tmp_path, learnt_later=[1])
    assert [entry.key for entry in entries(StageRecords(tmp_path))] == ["aa"]


@pytest.mark.parametrize("place", ["uses/x", "leases/x", "work/x", "drafts/x", "stages/x"])
@pytest.mark.parametrize("kind", ["folder", "loop", "torn"])
def test_foreign_folders_links_and_torn_files_stop_nothing(tmp_path, place, kind):
    _stage(tmp_path)
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    else:
        path.write_bytes(b'\xff{"note": 5}')
    store = StageRecords(tmp_path)
    assert [entry.key for entry in entries(store)] == ["aa"]
    assert [entry.key for entry in collect(store, max_bytes=0)] == ["aa"]


def test_a_folder_that_is_no_store_is_not_made_one(tmp_path):
    done = CliRunner().invoke(app, ["store", "gc", "--store", str(tmp_path), "--max-gb", "1"])
    assert "no store" in str(done.exception)
    assert list(tmp_path.iterdir()) == []
