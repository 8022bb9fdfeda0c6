"""A sweep and each of its trials are shown with the report's numbers, whatever state they are in."""

import json
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from plastsearch.analysis.results import load_results
from plastsearch.choose.commands import AGAIN, commands
from plastsearch.cli.main import app
from plastsearch.cli.sessions.show import opened, sweep_blocks, trial_blocks, trial_json
from plastsearch.documents import Table
from plastsearch.errors import PlastsearchError
from plastsearch.report.front_section import front_table
from plastsearch.report.publish import report_json
from plastsearch.report.sections import SPACE_FILE
from plastsearch.spec.load import read_trial
from tests.choose.conftest import ringed_
from tests.made_sweep import make_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("show") / "w2v_layers", search=8, seeds=(1,), repeats=2)


def show(*words):
    result = CliRunner().invoke(app, ["show", *map(str, words)], env={"COLUMNS": "200"})
    if isinstance(result.exception, PlastsearchError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_a_sweep_in_one_place(sweep):
    results = load_results(sweep)
    said = show(sweep).stdout
    assert results.question in said
    assert "finished" in said
    for part in (
        "Pareto front",
        "Where it grew",
        "Finalists",
        f"To type for {results.winner.label}",
        "plastsearch trial",
    ):
        assert part in said
    tables = [block for block in sweep_blocks(results) if isinstance(block, Table)]
    assert tables[0] == front_table(results)  # the report's own, not worked out a second time
    document = json.loads(show(sweep, "--json").stdout)
    own = json.loads(json.dumps(report_json(results)))
    for key in ("front", "knee", "verdict", "finalists", "gain"):
        assert document[key] == own[key], key
    assert document["best"] == results.winner.number
    assert set(document["commands"]) == {str(row.number) for row in results.front}


def test_a_trial_in_one_place(sweep):
    results = load_results(sweep)
    row = results.winner
    said = show(sweep, "best").stdout
    assert f"id {row.record.id}" in said
    for site, neurons in row.config.growth().items():
        line = next(line for line in said.splitlines() if line.strip().startswith(site) and "+" in line)
        assert f"+{neurons}" in line
        assert line.count("#") + line.count(".") - site.count(".") >= 1
    for part in ("Configuration", "Where it grew", "Metrics", "The same with other seeds", "To type", "dev_eer"):
        assert part in said
    document = json.loads(show(sweep, row.number, "--json").stdout)
    assert document["metrics"] == row.metrics
    at = [one.metric for one in results.objectives].index("dev_eer")
    assert document["intervals"]["dev_eer"] == list(results.interval(row, at))
    assert len(document["repeats"]) == len(row.again) + len(row.lost)
    again = json.loads(show(sweep, results.finalists[0].of, "--json").stdout)["finalists"]
    assert [run["metrics"]["eval_eer"] for run in again] == results.finalists[0].values("eval_eer")
    assert show(sweep, "knee").stdout != said


def test_every_run_can_be_shown_failed_halted_and_finalists_too(sweep):
    results = load_results(sweep)
    shown = {}
    for row in results.every:
        pieces = [str(getattr(block, "text", "")) for block in trial_blocks(results, row)]
        shown[row.record.state] = "\n".join(pieces)
        assert str(trial_json(results, row, [])["commands"])
    assert {"done", "failed", "halted"} <= set(shown)
    assert "Why: " in shown["failed"]
    assert "plastsearch score" not in shown["failed"]
    finalist = results.finalists[0].rows[0]
    assert f"{finalist.record.of}/seed{finalist.record.seed}" in show(sweep, finalist.number).stdout


@pytest.mark.parametrize("published", [True, False])
def test_the_command_brings_back_the_very_trial(sweep, tmp_path, published):
    folder = tmp_path / "a sweep"
    shutil.copytree(sweep, folder)
    results = load_results(folder)
    if published:
        (folder / "report").mkdir()
        (folder / "report" / SPACE_FILE).write_text(yaml.safe_dump(results.spec, sort_keys=False))  # as `publish` does
    space = folder / "report" / SPACE_FILE
    for row in results.every:
        words = shlex.split(dict(commands(results, row, space))[AGAIN])
        sets = [value for flag, value in pairwise(words) if flag == "--set"]
        config = read_trial(space if published else None, sets)
        assert config.trial_id() == row.record.id, row.number


def test_a_running_sweep_and_one_without_results(tmp_path, sweep):
    lines = (sweep / "trials.jsonl").read_text().splitlines(keepends=True)
    for name, kept, words in (("begun", 2, "no front yet"), ("half", len(lines) // 2, "Pareto front")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trials.jsonl").write_text("".join(lines[:kept]))
        said = show(tmp_path / name).stdout
        assert words in said
        assert "--resume goes on" in said
    with pytest.raises(PlastsearchError, match="no trial is best yet"):
        show(tmp_path / "begun", "best")


def test_a_damaged_sweep_is_shown_by_its_sound_lines(tmp_path, sweep):
    lines = (sweep / "trials.jsonl").read_text().splitlines(keepends=True)
    lines[len(lines) // 2] = '{"event": "report", "trial": \n'
    (tmp_path / "trials.jsonl").write_text("".join(lines))
    result = show(tmp_path)
    assert "left out 1 lines" in result.stderr
    assert "Pareto front" in result.stdout
    assert len(json.loads(show(tmp_path, "--json").stdout)["left_out"]) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [(("999",), "no trial 999; there are best, knee, and numbers: 0 to"), (("first",), "no trial first")],
)
def test_what_is_not_there_is_told(sweep, words, says):
    with pytest.raises(PlastsearchError, match=says):
        show(sweep, *words)
    with pytest.raises(PlastsearchError, match=r"trials\.jsonl"):
        show(Path("/nowhere"))


def test_nothing_is_written(sweep):
    before = {path: path.stat().st_mtime_ns for path in sweep.rglob("*")}
    results, _ = opened(sweep)
    assert trial_blocks(results, results.winner)
    show(sweep)
    assert {path: path.stat().st_mtime_ns for path in sweep.rglob("*")} == before


def test_kernels_that_grew_are_told_in_taps(tmp_path):
    results = load_results(make_sweep(tmp_path / "rings", search=4))
    row = next(row for row in results.rows if row.record.role == "search" and row.record.state == "done")
    ringed_(row)
    blocks = trial_blocks(results, row)
    at = next(n for n, block in enumerate(blocks) if getattr(block, "text", None) == "Where it grew")
    assert blocks[at + 1].text == "Kernels, in taps along an axis."
    assert blocks[at + 2].text == "conv.0  3 → 7, cut to 5\nconv.2  3 → 7, cut to 3"
    assert trial_json(results, row, [])["growth"]["conv.0"] == {"before": 3, "grown": 7, "left": 5}
