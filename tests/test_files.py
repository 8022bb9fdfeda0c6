"""A file or folder is whole under its name, or not there; JSON has no NaN."""

import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plastsearch.files import drafts_of, opened, plain, text_of, whole_file, whole_folder


def test_a_file_keeps_its_old_content_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def cut_short() -> None:
        with whole_file(path) as draft:
            draft.write_text("ne")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        cut_short()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"
    with whole_file(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
        assert drafts_of(tmp_path) == drafts_of(tmp_path, "a.txt") == [draft]
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_and_a_device_are_written_to_and_stay(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with whole_file(pipe) as draft:
            draft.write_text("new")

    with pytest.raises(OSError, match="No such device or address") as refused:  # nobody reads: no wait
        write()
    assert refused.value.filename == str(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write()
    assert os.read(reading, 10) == b"new"
    os.close(reading)
    assert list(tmp_path.iterdir()) == [pipe]
    assert pipe.is_fifo()

    full = tmp_path / "full"  # a link, so that a replaced device would not be the machine's
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as refused, whole_file(full) as draft:
        draft.write_text("new")
    assert refused.value.filename == str(full)
    assert full.is_symlink()


def test_a_pipe_is_read_to_its_end_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert text_of(pipe, 100) == ""
    kept, out = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), os.open(pipe, os.O_WRONLY)
    with ThreadPoolExecutor() as pool:
        found = pool.submit(text_of, pipe, 100)
        os.write(out, b"word\n")
        time.sleep(0.1)
        os.write(out, b"more\n")
        os.close(out)
        assert found.result(timeout=20) == "word\nmore\n"
    os.close(kept)
    with pytest.raises(IsADirectoryError), opened(tmp_path):
        pass


def test_a_folder_appears_at_once_and_never_over_another(tmp_path: Path) -> None:
    place = tmp_path / "folder"

    def fill(text: str) -> None:
        with whole_folder(place) as draft:
            draft.mkdir()
            (draft / "a").write_text(text)
            assert not (place / "a").exists() or (place / "a").read_text() != text

    place.mkdir()  # an empty one is no obstacle
    fill("first")
    with pytest.raises(OSError, match="not empty"):
        fill("second")
    assert (place / "a").read_text() == "first"
    assert list(tmp_path.iterdir()) == [place]


def test_two_writers_of_one_file_do_not_share_a_draft(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as one, whole_file(tmp_path / "a") as two:
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "a").read_text() == "one"  # the one that ended last


def test_numbers_that_json_does_not_know_become_null() -> None:
    value = {"a": math.nan, "b": [math.inf, (1.5, -math.inf)], 3: "nan", "c": None, "d": True}
    assert json.dumps(plain(value), allow_nan=False) == (
        '{"a": null, "b": [null, [1.5, null]], "3": "nan", "c": null, "d": true}'
    )
