"""`report` of a sweep whose folder cannot be written, or should not be, or has lines that nobody can read."""

import os

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from tests.made_sweep import make_sweep


@pytest.fixture
def sweep(tmp_path):
    return make_sweep(tmp_path / "sweep", search=3)


def _refuse(monkeypatch, folder):
    """As a file system that is mounted for reading alone does; root is refused by nothing less."""
    real = os.mkdir

    def refused(path, *rest, **more):
        if str(path).startswith(str(folder)):
            raise OSError(30, "Read-only file system", str(path))
        real(path, *rest, **more)

    monkeypatch.setattr(os, "mkdir", refused)


def test_a_sweep_of_others_is_shown_and_nothing_written(sweep, monkeypatch):
    _refuse(monkeypatch, sweep)
    before = sorted(sweep.rglob("*"))
    done = CliRunner().invoke(app, ["report", str(sweep)])
    assert done.exit_code == 0, done.output
    assert "Pareto front" in done.output
    assert "cannot be written (Read-only file system); no file of the report was written. With --out" in done.output
    assert sorted(sweep.rglob("*")) == before


def test_with_out_all_goes_there(sweep, tmp_path):
    before = sorted(sweep.rglob("*"))
    done = CliRunner().invoke(app, ["report", str(sweep), "--out", str(tmp_path / "mine")])
    assert done.exit_code == 0, done.output
    assert {"report.md", "pareto.html", "trials.csv"} <= {path.name for path in (tmp_path / "mine").iterdir()}
    assert sorted(sweep.rglob("*")) == before


def test_bad_lines_are_skipped_only_if_asked_and_told(sweep):
    path = sweep / "trials.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], "{", *lines[5:]]) + "\n")
    asked = CliRunner().invoke(app, ["report", str(sweep)])
    assert isinstance(asked.exception, PlastsearchError)
    assert "trials.jsonl:5: a damaged line" in str(asked.exception)
    done = CliRunner().invoke(app, ["report", str(sweep), "--skip-bad-lines"])
    assert done.exit_code == 0, done.output
    assert "line 5: Expecting" in done.output
