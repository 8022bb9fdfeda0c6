"""The commit of the code that runs, not of the folder one stands in; an installed package has none of its own."""

import subprocess

import pytest

from plastsearch.sweep import source as module
from plastsearch.sweep.source import Source, source


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a package in it, as a checkout has it."""
    root = tmp_path / "checkout"
    (root / "package").mkdir(parents=True)
    (root / "package" / "version.py").write_text("1\n")
    run = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q", "-b", "trunk"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*run, *words], check=True, capture_output=True)
    monkeypatch.setattr(module.version, "__file__", str(root / "package" / "version.py"))
    return root, run


def test_a_checkout_tells_commit_branch_and_whether_it_was_changed(checkout, monkeypatch, tmp_path):
    root, run = checkout
    monkeypatch.chdir(tmp_path)
    head = subprocess.run([*run, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert source() == Source(head, "trunk")
    (root / "package" / "version.py").write_text("2\n")
    assert source() == Source(f"{head}+", "trunk")


def test_a_package_within_somebodys_repository_is_not_part_of_it(checkout, monkeypatch):
    root, _ = checkout
    inside = root / "venv" / "plastsearch"
    inside.mkdir(parents=True)
    monkeypatch.setattr(module.version, "__file__", str(inside / "version.py"))
    assert source() == Source()
    monkeypatch.setenv("PLASTSEARCH_REVISION", "abc123")
    assert source() == Source("abc123")
    monkeypatch.setenv("PLASTSEARCH_REVISION", "unknown")  # what an image is told where nobody knows
    assert source() == Source()


def test_without_git_nothing_is_said(checkout, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert source() == Source()
