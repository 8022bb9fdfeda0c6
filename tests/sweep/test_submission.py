"""Attempts of one submission: a verdict ends the next one at once; what was mended, or may pass, is tried again."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.errors import ClusterError, ClusterLostError, PlastsearchError
from plastsearch.execute.autoscaler import GROUPS
from plastsearch.sweep.submission import FILE, SUBMISSION, JudgedError, submission_of
from plastsearch.tracking.mlflow_store import open_store

pytestmark = pytest.mark.usefixtures("one_cache")
SMOKE = Path(__file__).parents[2] / "search_spaces" / "smoke.yaml"


@pytest.fixture
def space(tmp_path):
    return Path(shutil.copy(SMOKE, tmp_path / "smoke.yaml"))


def sweep(space, out, word="one", **environment):
    command = ["sweep", str(space), "--out", str(out), "--name", "it", "--resume", "--executor", "inline"]
    result = CliRunner().invoke(app, [*command, "--mlflow", "none"], env={SUBMISSION: word, **environment})
    error = result.exception
    assert error is None or isinstance(error, PlastsearchError | SystemExit), result.output
    return error


def break_(space):
    space.write_text(space.read_text().replace("name: grnn", "name: gnrr"))


def test_a_mistake_in_a_space_is_looked_at_once(space, tmp_path):
    break_(space)
    first = sweep(space, tmp_path / "out")
    second = sweep(space, tmp_path / "out")
    assert (type(first).__name__, first.exit_code) == ("SpecError", 2)
    assert isinstance(second, JudgedError)
    assert second.exit_code == 2
    assert str(first) in str(second)
    assert str(tmp_path / "out" / "it" / FILE) in str(second)
    kept = json.loads((tmp_path / "out" / "it" / FILE).read_text())
    assert (kept["submission"], kept["exit_code"], kept["message"]) == ("one", 2, str(first))


def test_another_submission_and_people_are_not_bound_by_it(space, tmp_path):
    break_(space)
    sweep(space, tmp_path / "out")
    assert type(sweep(space, tmp_path / "out", "two")).__name__ == "SpecError"
    sweep(space, tmp_path / "out")
    assert type(sweep(space, tmp_path / "out", "")).__name__ == "SpecError"


@pytest.mark.slow
def test_what_was_mended_is_tried_again(space, tmp_path):
    out = tmp_path / "out"
    whole = space.read_text()
    break_(space)
    sweep(space, out)
    assert type(sweep(space, out, **{GROUPS: "[]"})).__name__ == "SpecError"  # other groups: looked at anew
    (out / "it" / FILE).unlink()
    assert type(sweep(space, out)).__name__ == "SpecError"  # removed by hand
    space.write_text(whole + "\nmax_failures: 1\n")
    error = sweep(space, out)
    assert error is None, error
    assert (out / "it" / "trials.jsonl").is_file()


def submission(tmp_path, mlflow=None, word="one", folder=None):
    return submission_of(folder or tmp_path / "out" / "it", tmp_path / "smoke.yaml", [], mlflow, {SUBMISSION: word})


def test_only_what_is_permanent_binds(monkeypatch, space, tmp_path):
    from plastsearch.cli.sessions import sweep as sweep_session

    for error, bound in ((ClusterLostError("no answer"), False), (ClusterError("no such node"), True)):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(sweep_session, "load", fail)
        assert sweep(space, tmp_path / "out") is error
        assert isinstance(sweep(space, tmp_path / "out"), JudgedError) == bound


def test_too_many_failures_bind_the_next_attempt(monkeypatch, space, tmp_path):
    from plastsearch.cli.sessions import sweep as sweep_session
    from plastsearch.sweep.options import Outcome

    ended = Outcome(tmp_path / "out" / "it", "failures", "the command", "6 of 8 trials failed")
    monkeypatch.setattr(sweep_session, "run", lambda *_: ended)
    assert sweep(space, tmp_path / "out").code == 4
    judged = sweep(space, tmp_path / "out")
    assert judged.exit_code == 4
    assert "6 of 8 trials failed" in str(judged)


def test_an_interrupt_binds_nobody(monkeypatch, space, tmp_path):
    from plastsearch.cli.sessions import sweep as sweep_session
    from plastsearch.sweep.options import Outcome

    ended = Outcome(tmp_path / "out" / "it", "interrupted", "the command")
    monkeypatch.setattr(sweep_session, "run", lambda *_: ended)
    assert [sweep(space, tmp_path / "out").code for _ in range(2)] == [130, 130]
    assert not (tmp_path / "out" / "it" / FILE).exists()


def test_the_tag_in_mlflow_speaks_where_the_folder_cannot_be_seen(space, tmp_path):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert submission(tmp_path, store).judge(3, "no group of nodes holds 9 GPU") == []
    tags = open_store(store).get_experiment_by_name("smoke").tags
    assert json.loads(tags["plastsearch.verdict.one"])["exit_code"] == 3
    unseen = tmp_path / "not" / "mounted" / "it"
    with pytest.raises(JudgedError, match="no group of nodes holds 9 GPU"):
        submission(tmp_path, store, folder=unseen).end_if_judged()
    submission(tmp_path, store, "two", folder=unseen).end_if_judged()
    (tmp_path / "out" / "it" / FILE).unlink()
    submission(tmp_path, store).end_if_judged()  # seen and not there: it was removed


def test_a_verdict_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    (said,) = submission(tmp_path).judge(2, "wrong")
    assert str(tmp_path / "out" / "it" / FILE) in said


def test_a_server_that_is_down_is_said_and_costs_no_verdict(space, tmp_path):
    (said,) = submission(tmp_path, "http://127.0.0.1:9").judge(4, "6 of 8 trials failed")
    assert "MLflow was not told" in said
    with pytest.raises(JudgedError, match="6 of 8 trials failed"):
        submission(tmp_path).end_if_judged()


def test_a_damaged_verdict_binds_nobody(tmp_path):
    path = submission(tmp_path).path
    path.parent.mkdir(parents=True)
    path.write_text('{"submission": "one"')
    submission(tmp_path).end_if_judged()


@pytest.mark.parametrize("text", ["\ufffe\x00", '{"exit_code": 0}', "[]", "null"])
def test_a_verdict_that_is_none_binds_nobody(tmp_path, text):
    path = submission(tmp_path).path
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("utf-16"))
    submission(tmp_path).end_if_judged()


def test_an_exit_status_that_no_verdict_has_binds_nobody(tmp_path):
    own = submission(tmp_path)
    own.judge(0, "done")
    own.end_if_judged()


def test_a_long_message_fits_into_its_tag(space, tmp_path):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert submission(tmp_path, store).judge(2, "x" * 20_000) == []
    with pytest.raises(JudgedError, match="xxxx"):
        submission(tmp_path, store, folder=tmp_path / "not" / "mounted" / "it").end_if_judged()


@pytest.mark.slow
def test_a_preparation_that_is_killed_is_tried_again(space, tmp_path, monkeypatch):
    """As when the system is short of memory: another attempt may fare better."""
    monkeypatch.setattr("plastsearch.preflight.preparing._Here.ended", lambda self: (-9, ""))
    for _ in range(2):
        error = sweep(space, tmp_path / "out")
        assert (type(error).__name__, error.permanent) == ("StorageError", False)
    assert not (tmp_path / "out" / "it" / FILE).exists()
