"""A folder of our own in a place where others may have prepared anything: made for us alone, or refused with why."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from plastsearch.errors import PlastsearchError
from plastsearch.private_folder import private_folder


@pytest.fixture
def temp(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's temporary folder, with a path that is short enough."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def name() -> str:
    return f"ps-{os.geteuid()}"


def test_it_is_made_for_this_user_alone_whatever_the_umask(temp: Path) -> None:
    before = os.umask(0)
    try:
        folder = private_folder()
    finally:
        os.umask(before)
    assert folder == temp / name()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert private_folder() == folder


def test_a_link_is_not_followed(temp: Path) -> None:
    (temp / "elsewhere").mkdir(mode=0o700)
    (temp / name()).symlink_to(temp / "elsewhere")
    with pytest.raises(PlastsearchError, match=rf"{temp}/{name()} is a link, .*; remove it, or name .* in TMPDIR"):
        private_folder()
    (temp / name()).unlink()
    (temp / name()).symlink_to(temp / "nowhere")
    with pytest.raises(PlastsearchError, match="is a link"):
        private_folder()


def test_a_file_in_its_place_is_refused(temp: Path) -> None:
    (temp / name()).touch()
    with pytest.raises(PlastsearchError, match="is no folder"):
        private_folder()


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701])
def test_a_folder_that_others_may_enter_is_refused(temp: Path, mode: int) -> None:
    (temp / name()).mkdir()
    (temp / name()).chmod(mode)
    with pytest.raises(PlastsearchError, match=rf"is open to other users \(mode {mode:o}\)"):
        private_folder()


def test_another_users_folder_is_refused(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from the other side: whoever made it is not who asks."""
    other = os.geteuid() + 1
    (temp / f"ps-{other}").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(PlastsearchError, match=rf"belongs to another user \(uid {other - 1}\)"):
        private_folder()


def test_a_place_that_does_not_exist_says_how_to_name_another(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temp / "gone"))
    with pytest.raises(PlastsearchError, match=r"cannot be made .*TMPDIR"):
        private_folder()


def test_its_path_leaves_room_for_sockets(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (long := temp / ("x" * 40)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert private_folder() == Path("/tmp") / name()
