"""Budgets of cache and store and the time between checkpoints, as typed, reach every trial and the next session."""

import functools
import json
import shlex

import pytest
from typer.testing import CliRunner

import plastsearch.sweep.options
from plastsearch.cli.main import app
from plastsearch.execute.messages import Task
from plastsearch.spec.running import Report, RunSettings
from plastsearch.sweep import tasks as parts
from plastsearch.sweep.options import Options
from tests.sweep.fake_trials import FUNCTION
from tests.sweep.session_process import SPACE

LIMITS = ["--cache-max-gb", "2.5", "--store-max-gb", "7", "--checkpoint-s", "0"]


@pytest.fixture
def tasks(monkeypatch):
    """What workers were handed."""
    handed = []

    def noted(**words):
        handed.append(words["settings"])
        return Task(**words)

    monkeypatch.setattr(parts, "Task", noted)
    fakes = functools.partial(Options, trial=FUNCTION, finalist=FUNCTION)
    monkeypatch.setattr(plastsearch.sweep.options, "Options", fakes)
    return handed


def typed(tmp_path, *words):
    (tmp_path / "fake.yaml").write_text(SPACE)
    line = ["sweep", str(tmp_path / "fake.yaml"), "--out", str(tmp_path / "runs"), "--executor", "inline"]
    return CliRunner().invoke(app, [*line, "--mlflow", "none", "--trials", "1", "--no-finalists", *words])


def test_limits_reach_every_trial(tmp_path, tasks):
    assert typed(tmp_path, *LIMITS).exit_code == 0
    assert tasks
    assert {(s.cache_max_gb, s.store_max_gb, s.checkpoint_s) for s in tasks} == {(2.5, 7.0, 0.0)}


def test_without_them_the_defaults_hold(tmp_path, tasks):
    assert typed(tmp_path).exit_code == 0
    fresh = RunSettings(store=tmp_path, cache=tmp_path)
    assert (fresh.cache_max_gb, fresh.store_max_gb, fresh.checkpoint_s) == (None, None, 60.0)
    assert {(s.cache_max_gb, s.store_max_gb, s.checkpoint_s) for s in tasks} == {(None, None, 60.0)}


def test_the_command_that_resumes_keeps_them(tmp_path):
    options = Options(root=tmp_path, cache_max_gb=2.5, store_max_gb=7.0, checkpoint_s=0.0)
    words = shlex.split(options.command(tmp_path / "fake"))
    assert words[-6:] == LIMITS


@pytest.mark.parametrize("word", ["--cache-max-gb", "--store-max-gb"])
def test_a_budget_of_nothing_is_refused(word, tmp_path, tasks):
    done = typed(tmp_path, word, "0")
    assert done.exit_code == 2
    assert word in done.stderr
    assert not tasks


def test_a_trial_takes_them_too(monkeypatch):
    handed = []
    final = Report("result", 6, 6, {}, final=True, details={})
    monkeypatch.setattr(
        "plastsearch.trial.run.run_trial", lambda config, settings: handed.append(settings) or iter([final])
    )
    done = CliRunner().invoke(app, ["trial", "--json", *LIMITS], catch_exceptions=False)
    assert json.loads(done.stdout)["metrics"] == {}
    assert [(s.cache_max_gb, s.store_max_gb, s.checkpoint_s) for s in handed] == [(2.5, 7.0, 0.0)]
