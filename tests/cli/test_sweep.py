"""`plastsearch sweep` as typed: what it prints, where results lie, exit statuses. Trials are fake and run here."""

import functools
import json

import pytest
from typer.testing import CliRunner

import plastsearch.sweep.options
from plastsearch.cli.main import app
from plastsearch.cli.sessions import sweep as sweep_session
from plastsearch.errors import PlastsearchError
from plastsearch.spec.sweep import Objective
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.mlflow_pages import Rendering
from plastsearch.tracking.ranking import Ranking
from tests.sweep.fake_trials import FUNCTION
from tests.sweep.session_process import SPACE


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Type `plastsearch sweep fake.yaml …`."""
    options = plastsearch.sweep.options.Options
    fakes = functools.partial(options, trial=FUNCTION, finalist=FUNCTION)
    monkeypatch.setattr(plastsearch.sweep.options, "Options", fakes)
    (tmp_path / "fake.yaml").write_text(SPACE)

    def typed(*words):
        line = ["sweep", str(tmp_path / "fake.yaml"), "--out", str(tmp_path / "runs"), "--executor", "inline"]
        return CliRunner().invoke(app, [*line, "--mlflow", "none", *words])

    return typed


def test_what_is_worked_out_for_mlflow_s_figures_stands_in_the_footer(tmp_path, monkeypatch):
    """Drawn for the mirror: the one place where 400 possible fronts are affordable while a sweep runs."""
    trackers = []

    class Tracker:
        lag, feed = 0, None

        def __init__(self, folder, uri, *, render, on_trouble):
            trackers.append(functools.partial(render, folder))

    drawn = Rendering({}, "", "", "", summary={"gain_likely": 0.2, "gain_low": 0.1, "gain_high": 0.3})
    monkeypatch.setattr(sweep_session, "MlflowTracker", Tracker)
    monkeypatch.setattr(sweep_session, "render", lambda folder: drawn)
    view = SweepView({}, Ranking([Objective(metric="dev_eer")]))
    listen = sweep_session._listeners(None, sweep_session.Showing(quiet=True, as_json=False, json_lines=False))
    listen(tmp_path, view)
    assert view.likely_gain is None
    assert trackers[0]() is drawn  # the mirror gets it, too
    assert view.likely_gain == (0.2, 0.1, 0.3)


def test_a_sweep_ends_with_the_front_and_where_the_results_lie(sweep, tmp_path):
    result = sweep("--trials", "3")
    assert result.exit_code == 0, result.output
    assert "dev EER" in result.stdout
    assert f"Results: {tmp_path / 'runs' / 'fake'}" in result.stdout
    assert (tmp_path / "runs" / "fake" / "report" / "report.md").is_file()
    assert "\x1b" not in result.output
    assert "1 started: plasticity" in result.stderr


def test_who_asked_for_it_is_told_of_beginning_and_end(sweep, tmp_path):
    heard = tmp_path / "heard"
    result = sweep("--trials", "2", "--no-finalists", "--notify", f"sh -c 'echo \"$1\" >> {heard}' tell")
    assert result.exit_code == 0, result.output
    lines = heard.read_text().splitlines()
    assert lines[0].startswith("fake begins on ")
    assert lines[-1].startswith("fake has ended: done; 2/2 trials")
    refused = sweep("--notify", "nobody-at-home", "--name", "other")
    assert "'nobody-at-home' is no program" in str(refused.exception)
    assert not (tmp_path / "runs" / "other").exists()


def test_json_is_one_document_and_nothing_else(sweep):
    result = sweep("--trials", "2", "--no-finalists", "--json")
    document = json.loads(result.stdout)
    assert document["status"] == "done"
    assert document["resume"] is None
    assert result.stderr == ""


def test_json_lines_stream_the_events(sweep):
    events = [json.loads(line)["event"] for line in sweep("--trials", "1", "--json-lines").stdout.splitlines()]
    assert events[:3] == ["sweep", "session", "propose"]
    assert events[-1] == "finish"


def test_quiet_says_the_result_alone(sweep):
    result = sweep("--trials", "1", "--no-finalists", "--quiet")
    assert result.stderr == ""
    assert "Results:" in result.stdout


def test_an_unknown_executor_is_refused(sweep):
    with pytest.raises(PlastsearchError, match="--executor slurm: unknown; known: tune, inline"):
        raise sweep("--executor", "slurm").exception


def test_overrides_are_kept_with_the_results(sweep, tmp_path):
    sweep("--trials", "2", "--no-finalists", "--set", "space.neurons.high=32", "--seed", "7", "--name", "other")
    head = json.loads((tmp_path / "runs" / "other" / "trials.jsonl").read_text().splitlines()[0])
    assert head["overrides"] == ["space.neurons.high=32", "search.trials=2", "search.seed=7", "base.seed=7"]
    assert head["spec"]["space"]["neurons"]["high"] == 32
