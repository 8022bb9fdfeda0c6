"""What a sweep is in MLflow beside its numbers: datasets, sources, files, system metrics. A replay adds nothing."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.tracking.events import SessionBegun
from plastsearch.tracking.journal import Journal, read
from plastsearch.tracking.mlflow_bulk import MANY
from plastsearch.tracking.mlflow_store import open_store
from plastsearch.tracking.mlflow_sync import sync, synced
from plastsearch.tracking.records import trials
from tests.made_sweep import make_sweep

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WRITTEN_AT = {"experiments": {"creation_time", "last_update_time"}}  # when MLflow itself wrote a row


def told(folder, number):
    """The sweep as a program of today writes it: which code ran, which clips a trial read, what its process took."""
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    for event in lines:
        if event["event"] == "session":
            event |= {"commit": f"{COMMIT}+", "branch": "main", "versions": {"plastsearch": "0.1.0"},
                      "command": "plastsearch sweep spaces/w2v.yaml --out runs --resume"}  # fmt: skip
        if event["event"] == "end" and event["trial"] == number:
            event["details"]["data"] = {
                "train": {"digest": "ab" * 16, "clips": 480, "hours": 0.53},
                "search_dev": {"digest": "cd" * 16, "clips": 96, "hours": 0.11},
            }
            event["details"]["growth_plan"] = [{"sites": {"encoder.3.ffn": 12}}]
        if event["event"] == "report" and event["trial"] == number:
            event["system"] = {"cpu_utilization_percentage": 97.0, "system_memory_usage_megabytes": 512.5}
    (folder / "trials.jsonl").write_text("".join(json.dumps(event) + "\n" for event in lines))
    return folder


def everything(path):
    """All rows of all tables, but for when MLflow wrote them."""
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {}
        for table in tables:
            cells = database.execute(f"SELECT * FROM {table}")
            columns = [column[0] for column in cells.description]
            rows = [dict(zip(columns, row, strict=True)) for row in cells]
            found[table] = sorted(
                str({k: v for k, v in row.items() if k not in WRITTEN_AT.get(table, ())}) for row in rows
            )
        return found


def test_datasets_sources_files_and_system_metrics_are_where_mlflow_shows_them(folder, store):
    told(folder, 4)
    place = sync(folder, store)
    client = open_store(store)
    runs = {run.data.tags.get("plastsearch.trial"): run for run in client.search_runs([place.experiment])}
    parent, trial, other = runs[None], runs["4"], runs["5"]
    for run in (parent, trial):
        assert run.data.tags["mlflow.source.git.commit"] == COMMIT
        assert run.data.tags["plastsearch.commit"] == f"{COMMIT}+"  # tracked files were changed
        assert run.data.tags["mlflow.source.type"] == "LOCAL"
    assert parent.data.tags["mlflow.source.name"] == "plastsearch sweep spaces/w2v.yaml"
    assert parent.data.tags["mlflow.source.git.branch"] == "main"
    assert parent.data.tags["plastsearch.version"] == "0.1.0"
    assert trial.data.tags["plastsearch.device"] == "cpu"

    def datasets(run):
        return {(one.dataset.name, one.dataset.digest, one.tags[0].value) for one in run.inputs.dataset_inputs}

    assert datasets(trial) == {
        ("synthetic train", "ab" * 16, "training"), ("synthetic search_dev", "cd" * 16, "validation"),
    }  # fmt: skip
    assert all(digest.startswith("asked-") for _, digest, _ in datasets(other))  # it could not tell what it read
    assert datasets(parent) == datasets(trial) | datasets(other)
    assert json.loads(trial.inputs.dataset_inputs[0].dataset.profile)["num_rows"] in {480, 96}
    assert trial.data.metrics["system/cpu_utilization_percentage"] == 97.0
    steps = [one.step for one in client.get_metric_history(trial.info.run_id, "system/system_memory_usage_megabytes")]
    assert steps == [one.step for one in client.get_metric_history(trial.info.run_id, "dev/eer")] == [40, 80, 120]

    def files(number):
        paths = [one for at in ("trial", "log") for one in client.list_artifacts(runs[str(number)].info.run_id, at)]
        return {one.path for one in paths}

    records = trials(read(folder))
    assert files(4) == {"trial/config.json", "trial/plan.json", "trial/dev_scores.tsv"}
    root = store.removeprefix("sqlite:///").replace("mlflow.db", "artifacts")
    kept = Path(root) / trial.info.run_id / "artifacts" / "trial"
    assert json.loads((kept / "config.json").read_text()) == records[4].config
    assert (kept / "dev_scores.tsv").read_text() == Path(records[4].details["scores"]["search_dev"]).read_text()


def test_what_a_failed_trial_printed_is_with_its_run_and_no_other_file_of_the_machine_is(folder, store, tmp_path):
    records = trials(read(folder))
    failed = next(one for one in records.values() if one.state == "failed")
    (folder / "log").mkdir()
    (folder / "log" / f"trial-{failed.number}-attempt-2.txt").write_text("x" * 1_200_000 + "loss is NaN\n")
    secret = tmp_path / "secret.tsv"
    secret.write_text("not for others")
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    for event in lines:
        if event["event"] == "end" and event["trial"] == 4:
            event["details"]["scores"] = {"search_dev": str(secret)}
        if event["event"] == "end" and event["trial"] == 5:
            event["details"]["scores"] = {"search_dev": str(tmp_path / "gone.search_dev.tsv")}
    (folder / "trials.jsonl").write_text("".join(json.dumps(event) + "\n" for event in lines))
    done = synced(folder, store)
    assert done.lost_files == 1  # and said
    assert "; files that the journal names and that are gone: 1" in done.sentence
    client = open_store(store)
    runs = {
        run.data.tags.get("plastsearch.trial"): run.info.run_id for run in client.search_runs([done.place.experiment])
    }
    (log,) = client.list_artifacts(runs[str(failed.number)], "log")
    assert (log.path, log.file_size) == (f"log/trial-{failed.number}-attempt-2.txt", 1_000_000)
    for number in ("4", "5"):
        assert {one.path for one in client.list_artifacts(runs[number], "trial")} == {
            "trial/config.json", "trial/plan.json"
        }  # fmt: skip


def test_a_run_begins_with_the_first_attempt_whenever_it_was_made(folder, store):
    place = sync(folder, store)
    again = [one for one in trials(read(folder)).values() if one.attempts > 1]
    assert again
    for record in again:
        assert record.begun_at < record.started_at
        wanted = f"tags.`plastsearch.trial` = '{record.number}'"
        (run,) = open_store(store).search_runs([place.experiment], wanted)
        assert run.info.start_time == round(1000 * record.begun_at)


@pytest.mark.parametrize("search", [4, MANY + 4])  # one by one, and many at once
def test_a_replay_changes_no_row_and_says_that_all_was_level(tmp_path, store, search):
    path = store.removeprefix("sqlite:///")
    folder = make_sweep(tmp_path / "again", search=search)
    first = synced(folder, store)
    before = everything(path)
    files = sorted((one, one.stat().st_size) for one in (tmp_path / "artifacts").rglob("*"))
    second = synced(folder, store)
    assert everything(path) == before
    assert sorted((one, one.stat().st_size) for one in (tmp_path / "artifacts").rglob("*")) == files
    assert (first.made, first.updated, first.level, first.made_sweep) == (first.trials, 0, 0, True)
    assert (second.made, second.updated, second.level, second.made_sweep) == (0, 0, second.trials, False)
    assert first.place == second.place


def test_a_store_that_is_behind_gets_what_it_lacks_and_doubles_go(tmp_path, store):
    folder = make_sweep(tmp_path / "behind", search=6)
    first = synced(folder, store)
    client = open_store(store)
    runs = {run.data.tags.get("plastsearch.trial"): run for run in client.search_runs([first.place.experiment])}
    client.delete_run(runs["3"].info.run_id)  # as a person may
    client.set_tag(runs["4"].info.run_id, "plastsearch.form", "1")  # by an older version
    client.set_terminated(runs["5"].info.run_id, "KILLED")
    # MLflow's client sends a request again that was answered too late: the same run, twice.
    double = client.create_run(first.place.experiment, tags={
        "plastsearch.sweep": runs["6"].data.tags["plastsearch.sweep"], "plastsearch.trial": "6",
        "plastsearch.role": "search", "mlflow.parentRunId": first.place.run,
    })  # fmt: skip
    second = synced(folder, store)
    assert (second.made, second.updated, second.level) == (1, 2, second.trials - 3)
    again = [run.data.tags.get("plastsearch.trial") for run in client.search_runs([first.place.experiment])]
    assert sorted(again, key=str) == sorted(runs, key=str)
    assert client.get_run(double.info.run_id).info.lifecycle_stage == "deleted"


def test_the_command_says_what_it_did_and_leaves_a_living_driver_alone(folder, store):
    one = CliRunner().invoke(app, ["sync", str(folder), "--mlflow", store, "--no-figures"])
    assert one.exit_code == 0, one.output
    count = len(trials(read(folder)))
    assert f"of {count} trials {count} runs made, 0 brought up to date, 0 level already" in one.output
    two = CliRunner().invoke(app, ["sync", str(folder), "--mlflow", store, "--no-figures", "--json"])
    found = json.loads(two.output)
    assert (found["made"], found["level"], found["made_sweep"], found["models"]) == (0, count, False, [])
    with Journal(folder) as journal:
        journal.append(SessionBegun(session="x", host="here", resumed=True))
        refused = CliRunner().invoke(app, ["sync", str(folder), "--mlflow", store])
    assert "its driver lives and brings MLflow level itself" in str(refused.exception)
