"""Many trials written at once are, row for row, what MLflow's own client writes; what it cannot do is left to that."""

import json
import shutil
import sqlite3
import sys
from contextlib import closing

import pytest

from plastsearch.tracking import mlflow_bulk as bulk
from plastsearch.tracking.mlflow_store import Store, open_store
from plastsearch.tracking.mlflow_sync import sync
from tests.made_sweep import make_sweep

TABLES = ("tags", "params", "metrics", "latest_metrics", "runs", "datasets", "inputs", "input_tags")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    open_store(f"sqlite:///{path}").create_experiment("w2v_layers", artifact_location="file:///artifacts")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trials of every end, some with further seeds, one with reports out of order."""
    folder = make_sweep(tmp_path_factory.mktemp("sweeps") / "s", search=12, repeats=1, finish=False)
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    number = next(event["trial"] for event in lines if event["event"] == "end")
    reports = [event for event in lines if event["event"] == "report" and event["trial"] == number]
    # Two reports in the same millisecond and step, and one of a lower step later: which is the latest?
    reports[1] |= {"at": reports[0]["at"], "step": reports[0]["step"]}
    reports[2]["step"] = 1
    (folder / "trials.jsonl").write_text("".join(json.dumps(event) + "\n" for event in lines))
    return folder


def mirrored(folder, empty, place):
    place.mkdir()
    shutil.copy(empty, place / "mlflow.db")
    sync(folder, f"sqlite:///{place / 'mlflow.db'}")
    return place / "mlflow.db"


def rows(path):
    """Everything in the tables that hold runs, whose own ids are replaced by names."""
    with closing(sqlite3.connect(path)) as database:
        names = dict(database.execute("SELECT run_uuid, name FROM runs"))
        names |= dict(database.execute("SELECT dataset_uuid, name || ' ' || digest FROM datasets"))
        names |= {of: f"{names[source]} into {names[run]}" for of, source, run in
                  database.execute("SELECT input_uuid, source_id, destination_id FROM inputs")}  # fmt: skip
        found = {}
        for table in TABLES:
            cells = database.execute(f"SELECT * FROM {table}")
            columns = [column[0] for column in cells.description]
            plain = [[_named(cell, names) for cell in row] for row in cells]
            found[table] = sorted(str(dict(zip(columns, row, strict=True))) for row in plain)
        return found


def _named(cell, names):
    if cell in names:
        return f"run {names[cell]}"
    for run, name in names.items():
        cell = cell.replace(run, name) if isinstance(cell, str) and run in cell else cell
    return cell


def test_many_are_written_as_the_client_writes_them(folder, empty, tmp_path, monkeypatch):
    at_once = rows(mirrored(folder, empty, tmp_path / "at_once"))
    monkeypatch.setattr(bulk, "MANY", 10**6)
    one_by_one = rows(mirrored(folder, empty, tmp_path / "one_by_one"))
    assert len(at_once["runs"]) > bulk.EACH / 20
    for table in TABLES:
        assert at_once[table] == one_by_one[table], table


def test_lots_are_whole_and_go_on_where_they_ended(folder, empty, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "EACH", 5)
    written = []
    write = bulk.write

    def breaking(path, parent, runs):
        if len(written) == 2:
            written.append([])
            raise sqlite3.OperationalError("database is locked")
        written.append(runs)
        write(path, parent, runs)

    monkeypatch.setattr(bulk, "write", breaking)
    place = tmp_path / "mlflow.db"
    shutil.copy(empty, place)
    with pytest.raises(Exception, match="database is locked"):
        sync(folder, f"sqlite:///{place}")
    assert len(rows(place)["runs"]) == 1 + 5 + 5
    sync(folder, f"sqlite:///{place}")
    again = [run.name for runs in written for run in runs]
    assert len(again) == len(set(again))  # what was there is not written again
    assert rows(place) == rows(mirrored(folder, empty, tmp_path / "whole"))


def test_the_client_writes_where_tables_are_other_ones_or_keys_are_odd(folder, empty, tmp_path, monkeypatch):
    assert bulk.takes(empty)  # of the MLflow that is locked; else every mirror of a large sweep takes minutes again
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(empty, other / "mlflow.db")
    with closing(sqlite3.connect(other / "mlflow.db")) as database, database:
        database.execute("ALTER TABLE metrics ADD COLUMN model_id VARCHAR(36)")
    assert not bulk.takes(other / "mlflow.db")
    logged = []
    log = Store.log
    monkeypatch.setattr(
        Store, "log", lambda self, run, *rest, **more: logged.append(run) or log(self, run, *rest, **more)
    )
    sync(folder, f"sqlite:///{other / 'mlflow.db'}")
    assert len(logged) > bulk.MANY
    # As the client keeps what is no number; a journal holds none, so this is asked of one function.
    assert [bulk._number(value) for value in (float("nan"), float("inf"), float("-inf"), 2.0)] == [
        (0.0, 1), (sys.float_info.max, 0), (-sys.float_info.max, 0), (2.0, 0)
    ]  # fmt: skip
    run = bulk.NewRun("1", "n", "FINISHED", 0, 1, {"a": ""}, {"b.c/d": ""}, [])
    assert run.plain
    for key in ("", "a//b", "../a", "/a", ".", "a/"):
        assert not bulk.NewRun("1", "n", "FINISHED", 0, 1, {"a": ""}, {key: ""}, []).plain
