"""Ends of real sweeps under every limit of an account: one clear sentence, a folder to go on in, no process left."""

import re

import pytest

from plastsearch.tracking.journal import FILE, read
from plastsearch.tracking.records import trials
from tests.faults.small_sweep import Ended, humble_possible, run, sweep

permissions = pytest.mark.skipif(not humble_possible(), reason="root may write everywhere, and setpriv is missing")
LONG = "ä ö ü ß " + "x" * 180 + " ß"  # 193 characters, more bytes, blanks

# Before the command; its status; what its one sentence says; in which way it is run.
REFUSED = {
    "little address space": ("ulimit -v 2000000", "2.05 GB of addresses (`ulimit -v`)"),
    "hardly any": ("ulimit -v 300000", "raise that limit"),
    "very few files": ("ulimit -n 32", "32 files open (`ulimit -n`), and a sweep needs 64"),
}
QUICK = {
    "Ray needs more files than 64": ("ulimit -n 64", "and Ray needs 512", "or take --executor inline"),
    "and than 256": ("ulimit -n 256", "and Ray needs 512", "ulimit -n 4096"),
}


def one_sentence(ended: Ended, *words: str) -> None:
    assert "Traceback" not in ended.err, ended.err
    assert ended.status == 2, ended.err
    assert ended.left == ""
    for word in words:
        assert word in ended.sentence, ended.err


@pytest.mark.parametrize("case", REFUSED)
def test_a_limit_that_no_sweep_can_live_with_is_told_before_any_work(case, tmp_path):
    before, words = REFUSED[case]
    one_sentence(run(sweep("--out", "out"), tmp_path, before), words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", QUICK)
def test_what_ray_cannot_live_with_is_told_before_it_starts(case, tmp_path):
    before, *words = QUICK[case]
    command = [word for word in sweep("--out", "out") if word not in ("--executor", "inline")]
    one_sentence(run(command, tmp_path, before), *words)


# Nothing is wrong with these.
FINE = {
    "64 open files": "ulimit -n 64",
    "a low limit that may be raised": "ulimit -S -n 40",
    "no HOME, a TMPDIR that is not there": "unset HOME; export TMPDIR=/no/such/folder",
    "a home that is not there": "export HOME=/no/such/home",
    "a C locale and nobody else may read": "umask 077; export LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", FINE)
def test_a_sweep_runs_all_the_same(case, tmp_path):
    ended = run(sweep("--out", f"{LONG}/out"), tmp_path, FINE[case])
    assert ended.status == 0, ended.err
    assert "Traceback" not in ended.err
    assert ended.left == ""
    (folder,) = tmp_path.glob("*/out/smoke")
    assert [record.state for record in trials(read(folder)).values()] == ["done"]
    if "umask" in FINE[case]:
        assert {path.stat().st_mode & 0o077 for path in folder.rglob("*")} == {0}
    if "TMPDIR" in FINE[case]:
        assert "TMPDIR=/no/such/folder: cannot be used" in ended.err


@pytest.mark.slow
@permissions
def test_a_folder_to_work_in_need_not_be_writable(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o555)
    ended = run(sweep("--out", str(tmp_path / "out")), tmp_path, "cd shut", humble=True)
    assert ended.status == 0, ended.err
    assert list((tmp_path / "shut").iterdir()) == []


@permissions
@pytest.mark.slow
@pytest.mark.parametrize("shut", [".", "smoke"])
def test_a_folder_that_may_not_be_written_is_named(shut, tmp_path):
    root = tmp_path / "out"
    (root / shut).mkdir(parents=True)
    (root / shut).chmod(0o555)
    ended = run(sweep("--out", "out"), tmp_path, humble=True)
    one_sentence(ended, "Permission denied")
    assert re.search(r"out(/\S+)?: ", ended.sentence), ended.err
    assert not list(root.glob(f"*/{FILE}"))


@permissions
def test_pretraining_meets_a_folder_that_cannot_be_before_it_trains(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o555)
    for place, words in (("shut/model", "Permission denied"), (f"{'x' * 300}/model", "File name too long")):
        ended = run([*sweep()[:3], "pretrain", place], tmp_path, humble=True)
        assert "Traceback" not in ended.err
        assert (ended.status, words in ended.err) == (2, True), ended.err
        assert "epoch" not in ended.err


@permissions
def test_a_store_of_others_and_a_subfolder_that_is_shut_are_told(tmp_path):
    shut = tmp_path / "store" / "stages" / "ab"
    shut.mkdir(parents=True)
    shut.chmod(0)
    try:
        for words in (("store", "gc", "--store", "store", "--max-gb", "1"), ("store", "ls", "--store", "store")):
            ended = run([*sweep()[:3], *words], tmp_path, humble=True)
            assert "Traceback" not in ended.err, ended.err
            assert ended.status in (0, 2), ended.err
            assert "Permission denied" in ended.err, ended.err
    finally:
        shut.chmod(0o755)


def test_a_c_locale_that_python_was_told_to_heed_is_spoken_to_in_utf8(tmp_path):
    ended = run([*sweep()[:3], "evaluate", "größe.txt"], tmp_path, "export LC_ALL=C PYTHONUTF8=0")
    one_sentence(ended, "größe.txt: no such file")
