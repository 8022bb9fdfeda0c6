"""An export is whole or not at all, and replaces nothing but an export that nobody has touched."""

import pytest

from plastsearch.errors import PlastsearchError
from plastsearch.export.place import SUMS, checksum, files_in, whole_export


def written(folder, text="one", force=False):
    with whole_export(folder, force) as draft:
        (draft / "inner").mkdir()
        (draft / "weights").write_text(text)
        (draft / "inner" / "more").write_text("more")


def interrupted(folder, force):
    with whole_export(folder, force) as draft:
        (draft / "weights").write_text("half")
        raise KeyboardInterrupt


def test_it_holds_the_checksums_of_its_files(tmp_path):
    written(tmp_path / "new" / "out")
    lines = (tmp_path / "new" / "out" / SUMS).read_text().splitlines()
    assert lines == [f"{checksum(tmp_path / 'new' / 'out' / name)}  {name}" for name in ("inner/more", "weights")]


def test_an_earlier_export_goes_if_asked_and_leaves_nothing_behind(tmp_path):
    written(tmp_path / "out")
    with pytest.raises(PlastsearchError, match="out: holds an export already; --force replaces it"):
        written(tmp_path / "out", "two")
    (tmp_path / "out" / "__pycache__").mkdir()
    (tmp_path / "out" / "__pycache__" / "detector.cpython-311.pyc").write_bytes(b"what an import left")
    written(tmp_path / "out", "two", force=True)
    assert (tmp_path / "out" / "weights").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_and_a_link_to_one_are_used(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    written(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert files_in(tmp_path / "real") == [SUMS, "inner/more", "weights"]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_of_an_export_stays(tmp_path, force):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years")
    with pytest.raises(PlastsearchError, match=r"thesis: holds chapter\.tex, which no export wrote"):
        written(tmp_path / "thesis", force=force)
    written(tmp_path / "out")
    (tmp_path / "out" / "notes").write_text("mine")
    with pytest.raises(PlastsearchError, match="out: holds notes, which no export wrote"):
        written(tmp_path / "out", force=force)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(PlastsearchError, match="file: is a file; name a folder"):
        written(tmp_path / "file", force=force)
    (tmp_path / "deep" / "empty").mkdir(parents=True)
    with pytest.raises(PlastsearchError, match="deep: holds other folders"):
        written(tmp_path / "deep", force=force)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years"
    assert (tmp_path / "out" / "weights").read_text() == "one"


def test_a_card_that_somebody_wrote_on_is_kept(tmp_path):
    written(tmp_path / "out")
    (tmp_path / "out" / "weights").write_text("edited")
    with pytest.raises(PlastsearchError, match="weights was changed since it was exported; keep it elsewhere"):
        written(tmp_path / "out", "two", force=True)
    assert (tmp_path / "out" / "weights").read_text() == "edited"


@pytest.mark.parametrize("force", [False, True])
def test_what_fails_half_way_leaves_everything_as_it_was(tmp_path, force):
    if force:
        written(tmp_path / "out")
    before = files_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out", force)
    assert files_in(tmp_path) == before
    assert (tmp_path / "out").exists() is force


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PlastsearchError, match="cannot be written"):
        written(tmp_path / "file" / "out")
