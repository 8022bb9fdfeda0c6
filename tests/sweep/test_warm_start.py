"""`search.warm_start` from the command to the journal: looked at before a sweep, kept with it, gone on with."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.cli.sessions.sweep import load
from plastsearch.errors import SpecError
from plastsearch.spec.load import load_sweep
from plastsearch.tracking.journal import read
from plastsearch.tracking.records import trials
from tests.sweep.session_process import session, spec

FEW = ("controls=[]", "search.trials=12")


@pytest.fixture
def old(tmp_path):
    """A finished sweep of the same space."""
    return session(tmp_path / "old", *FEW, finalists=False).folder


def searched(outcome):
    return [record for record in trials(read(outcome.folder)).values() if record.role == "search"]


def test_a_session_opens_with_what_was_found_and_goes_on_without_it(old, tmp_path):
    more = (*FEW, f"search.warm_start=[{old}]", "search.sampler=tpe")
    whole = searched(session(tmp_path / "whole", *more, finalists=False))
    assert [record.origin for record in whole[:7]] == [*["warm_start"] * 6, "anchor"]
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    path = tmp_path / "part" / "fake" / "trials.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert json.loads(lines[0])["spec"]["search"]["warm_start"] == [str(old)]
    last = next(at for at, line in enumerate(lines) if json.loads(line).get("trial") == 5)
    path.write_text("".join(lines[:last]))
    shutil.rmtree(old)
    again = searched(session(tmp_path / "part", *more, finalists=False, resume=True))
    assert [record.id for record in again] == [record.id for record in whole]
    with pytest.raises(SpecError, match=r"search.warm_start.0: .*nothing is there"):
        load(tmp_path / "part" / "fake.yaml", more, "inline", False)
    load(tmp_path / "part" / "fake.yaml", more, "inline", False, (tmp_path / "part", None))


def test_check_says_what_fits(old, tmp_path):
    space = tmp_path / "space.yaml"
    spec(tmp_path)
    space.write_text((tmp_path / "fake.yaml").read_text() + "controls: []\n")
    narrow = ["--set", f"search.warm_start=[{old}]", "--set", "space.neurons.high=112"]
    found = json.loads(CliRunner().invoke(app, ["check", str(space), "--json", *narrow]).stdout)
    said = [note for note in found["notes"] if "trials fit this space" in note]
    assert len(said) == 1
    assert "neurons lies outside 16 to 112, such as 128" in said[0] or said[0].endswith(
        "12 of 12 trials fit this space"
    )
    assert "3 of 6 trials open the search with what earlier sweeps found best" in found["notes"]
    assert any("sampler random takes openings from earlier sweeps and nothing more" in note for note in found["notes"])


@pytest.mark.slow  # it grows networks in a process of its own
def test_a_dry_run_says_it_too(old, tmp_path):
    spec(tmp_path)
    arguments = ["sweep", str(tmp_path / "fake.yaml"), "--dry-run", "--set", f"search.warm_start=[{old}]"]
    dry = CliRunner().invoke(app, arguments)
    assert dry.exit_code == 0, dry.output
    assert "trials fit this space" in " ".join(dry.output.split())


def test_mistakes_have_file_line_and_key(tmp_path):
    space = tmp_path / "space.yaml"
    spec(tmp_path)
    text = (tmp_path / "fake.yaml").read_text()
    earlier = "sampler: random,\n  warm_start: [nowhere, nowhere]}"
    space.write_text(text.replace("sampler: random}", earlier))
    output = CliRunner().invoke(app, ["check", str(space)]).output
    line = space.read_text().splitlines().index("  warm_start: [nowhere, nowhere]}") + 1
    assert f"space.yaml:{line}: search.warm_start.0: " in output
    assert "nothing is there" in output
    assert "search.warm_start: a sweep is listed twice" in output
    assert CliRunner().invoke(app, ["check", str(space), "--no-data"]).exit_code == 0


def test_relative_places_become_absolute_and_servers_stay(tmp_path, monkeypatch):
    spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    sources = "search.warm_start=[old/a, old/b.parquet, 'mlflow:sqlite:///old/mlflow.db#old', 's3://bucket/old']"
    found = load_sweep(tmp_path / "fake.yaml", [sources]).search.warm_start
    here = (f"{tmp_path}/old/a", f"{tmp_path}/old/b.parquet")
    assert found == (*here, "mlflow:sqlite:///old/mlflow.db#old", "s3://bucket/old")


def test_a_sweep_of_before_there_was_warm_start_goes_on(old):
    """A journal's head lacks settings that came later; they have their defaults."""
    path = old / "trials.jsonl"
    head, *rest = path.read_text().splitlines()
    opened = json.loads(head)
    del opened["spec"]["search"]["warm_start"]
    path.write_text("\n".join([json.dumps(opened), *rest]) + "\n")
    assert len(searched(session(old.parent, "controls=[]", "search.trials=13", finalists=False, resume=True))) == 13
    with pytest.raises(SpecError, match=r"differs in search.warm_start"):
        session(old.parent, *FEW, f"search.warm_start=[{old}]", finalists=False, resume=True)
