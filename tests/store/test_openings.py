"""Openings of the evaluation split are counted beside the store, whoever opens it, and the count is said."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.cli.sessions.sweep_end import print_openings
from plastsearch.store.openings import FILE, note_opening
from plastsearch.tracking.events import Ended, Proposed
from plastsearch.tracking.journal import Journal
from plastsearch.trial.finalist import run_finalist
from plastsearch.trial.run import run_trial
from tests.trial.conftest import make_config

BESIDE = """
import sys
from pathlib import Path
from plastsearch.store.openings import note_opening
for k in range(20):
    note_opening(Path(sys.argv[1]), "synthetic", "same", f"{sys.argv[2]}")
"""


@pytest.mark.slow
def test_only_a_finalist_opens_it_and_each_time_counts(settings) -> None:
    ledger = settings().store.parent / FILE
    config = make_config(method="baseline")
    list(run_trial(config, settings()))
    assert not ledger.exists()
    for count in (1, 2):
        *_, final = run_finalist(config, settings())
        assert final.details["eval_openings"] == count
        assert len(ledger.read_text().splitlines()) == count
    *_, other = run_finalist(make_config(method="baseline", seed=1), settings())
    assert other.details["eval_openings"] == 3
    assert "opened 3 times here, for 2 configurations" in other.details["eval_openings_said"]
    *_, elsewhere = run_finalist(make_config(method="baseline", data={"seed": 5}), settings())
    assert elsewhere.details["eval_openings"] == 1  # of other clips


def test_many_at_once_lose_no_opening(tmp_path) -> None:
    words = [sys.executable, "-c", BESIDE, str(tmp_path / "store")]
    for process in [subprocess.Popen([*words, name]) for name in "abc"]:
        assert process.wait(120) == 0
    found = note_opening(tmp_path / "store", "synthetic", "same", "d")
    assert (found.count, found.configurations) == (61, 4)
    assert all(json.loads(line)["clips"] == "same" for line in (tmp_path / FILE).read_text().splitlines())


def test_a_line_that_a_crash_cut_counts(tmp_path) -> None:
    note_opening(tmp_path / "store", "synthetic", "same", "a")
    with (tmp_path / FILE).open("a") as file:
        file.write('{"at": "2026-')
    found = note_opening(tmp_path / "store", "synthetic", "same", "a")
    assert (found.count, found.configurations) == (3, 2)
    assert found.text().endswith(f"({tmp_path / FILE}); a result that is chosen among them looks better than it is")


@pytest.mark.slow
def test_the_command_says_it(tmp_path, cache) -> None:
    sets = [
        "model.name=grnn", "method=baseline", "train.steps=4", "train.batch_size=8", "train.evaluations=1",
        "timing_batch=2", "timing_steps=3", "data.length_samples=8000", "data.clips=48",
    ]  # fmt: skip
    (tmp_path / "cache").symlink_to(cache)
    words = ["trial", "--final", "--out", str(tmp_path), *(word for text in sets for word in ("--set", text))]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert f"this evaluation split has been opened once here, for 1 configuration ({tmp_path / FILE})" in done.stdout


def test_a_sweep_says_the_last_count_at_its_end(tmp_path, capsys) -> None:
    journal = Journal(tmp_path)
    for number, count in enumerate((7, 8)):
        said = {"eval_openings": count, "eval_openings_said": f"this evaluation split has been opened {count} times"}
        journal.append(Proposed(trial=number, id="x", role="finalist", params={}, config={}))
        journal.append(Ended(trial=number, attempt=1, state="done", metrics={}, details=said))
    journal.close()
    print_openings(tmp_path)
    assert capsys.readouterr().out == "This evaluation split has been opened 8 times\n"
