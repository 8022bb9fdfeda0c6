"""`plastsearch ls` lists sweeps by the ends of their journals; what is damaged is a line of the table, not its end."""

import json
import os
import time

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.tracking import standing as module
from plastsearch.tracking.journal import FILE, Journal
from plastsearch.tracking.standing import standing, sweeps_below
from tests.made_sweep import SPEC, make_sweep


def listed(*words):
    result = CliRunner().invoke(app, ["ls", *map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def without_tally(folder):
    """As an older driver left it."""
    path = folder / FILE
    *lines, last = path.read_text().splitlines(True)
    plain = json.loads(last)
    assert plain.pop("tally")
    path.write_text("".join(lines) + json.dumps(plain) + "\n")


def test_the_last_line_says_what_all_lines_say(tmp_path):
    folder = make_sweep(tmp_path / "a", search=6)
    quick = standing(folder, whole=False)
    without_tally(folder)
    assert standing(folder) == quick
    assert (quick.state, quick.tally.ended, quick.tally.failed, quick.tally.planned) == ("finished", 9, 1, 24)
    assert quick.tally.best == min(
        line["metrics"]["dev_eer"] for line in map(json.loads, (folder / FILE).read_text().splitlines())
        if line["event"] == "end" and line["state"] == "done" and "backward_ratio" in line["metrics"]
        and 3 <= line["trial"] < 9
    )  # fmt: skip


def test_a_limit_is_kept_when_the_best_is_named(tmp_path):
    limited = {**SPEC, "constraints": ["params_total <= 1.02 * baseline"]}
    free, tight = make_sweep(tmp_path / "free"), make_sweep(tmp_path / "tight", spec=limited)
    without_tally(free)
    without_tally(tight)
    assert standing(tight).tally.best > standing(free).tally.best


def test_no_line_between_is_read_where_the_last_tells(tmp_path):
    folder = make_sweep(tmp_path / "a", search=4)
    lines = (folder / FILE).read_text().splitlines(True)
    lines[9] = "{damaged\n"
    (folder / FILE).write_text("".join(lines))
    assert standing(folder).state == "finished"
    without_tally(folder)
    found = standing(folder)
    assert (found.state, found.tally) == ("damaged", None)
    assert "line 10" in found.why


def test_every_state_newest_first(tmp_path):
    now = time.time()
    for at, (name, status) in enumerate(
        {"done": "done", "budget": "budget", "stopped": "interrupted", "broken": "failures", "killed": None}.items()
    ):
        folder = make_sweep(tmp_path / name, search=2, finish=False)
        with (folder / FILE).open("a") as file:
            line = {"event": "note", "text": "x"} if status is None else {"event": "finish", "status": status}
            file.write(json.dumps({**line, "at": now - 60 * (at + 1)}) + "\n")
    make_sweep(tmp_path / "lives", search=2, finish=False)
    with Journal(tmp_path / "lives"):
        found = listed(tmp_path)["sweeps"]
    assert [(one["name"], one["state"]) for one in found] == [
        ("done", "finished"), ("budget", "finished"), ("stopped", "interrupted"), ("broken", "failed"),
        ("killed", "interrupted"), ("lives", "running"),
    ]  # fmt: skip
    assert found[0]["age_s"] == pytest.approx(60, abs=30)
    assert listed(tmp_path)["sweeps"][-1]["state"] == "interrupted"  # its driver has gone


def test_what_cannot_be_read_is_a_line(tmp_path, monkeypatch):
    sound = make_sweep(tmp_path / "deep" / "er" / "sound", search=2)
    for name, text in {
        "empty": "",
        "torn": '{"event":"sw',
        "alien": "hello\n",
        "later": '{"event":"sweep","at":1,"version":99}\n',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(text)
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "round").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(sound)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "store" / "x").mkdir(parents=True)
    make_sweep(tmp_path / "store" / "x" / "no-sweep-of-ours", search=1)
    (tmp_path / "shut").mkdir()
    scandir = os.scandir

    def shut(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(module.os, "scandir", shut)
    found = listed(tmp_path)
    states = {os.path.relpath(one["folder"], tmp_path): one["state"] for one in found["sweeps"]}
    assert states == {"deep/er/sound": "finished", "again": "finished", "empty": "damaged", "torn": "damaged",
                      "alien": "damaged", "later": "damaged"}  # fmt: skip
    assert found["unread"] == [f"{tmp_path}/shut: cannot be looked into (Permission denied)"]
    shown = CliRunner().invoke(app, ["ls", str(tmp_path)])
    assert shown.exit_code == 0
    assert "damaged" in shown.stdout
    assert "of version 99" in shown.stderr


def test_only_so_long_are_whole_journals_read(tmp_path):
    for name in ("a", "b"):
        without_tally(make_sweep(tmp_path / name, search=2))
    make_sweep(tmp_path / "c", search=2)
    found = sweeps_below(tmp_path, patience_s=0)
    assert found.left == 2
    assert sorted(one.tally is None for one in found.sweeps) == [False, True, True]
    assert sweeps_below(tmp_path).left == 0


def test_no_sweeps_and_no_folder(tmp_path):
    result = CliRunner().invoke(app, ["ls", str(tmp_path)])
    assert (result.exit_code, "no sweeps there" in result.stdout) == (0, True)
    for path, words in ((tmp_path / "none", "there is no such folder"), (__file__, "is a file")):
        result = CliRunner().invoke(app, ["ls", str(path)])
        assert isinstance(result.exception, PlastsearchError)
        assert words in str(result.exception)


def test_a_sweep_itself_may_be_named(tmp_path):
    folder = make_sweep(tmp_path / "w2v", search=2)
    assert [one["folder"] for one in listed(folder)["sweeps"]] == [str(folder)]
