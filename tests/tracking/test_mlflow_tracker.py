"""The mirror in MLflow, read back through its client: complete, idempotent, unharmed by outages and resumes."""

import contextlib
import json
import shutil
import socket
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from plastsearch.errors import PlastsearchError
from plastsearch.tracking.events import Ended, Finished, SessionBegun, Started
from plastsearch.tracking.journal import Journal, driver_lives, read
from plastsearch.tracking.mlflow_pages import Rendering
from plastsearch.tracking.mlflow_store import Store, file_of, mlflow_uri, open_store
from plastsearch.tracking.mlflow_sync import locate, sync
from plastsearch.tracking.mlflow_tracker import MlflowTracker
from plastsearch.tracking.records import trials
from tests.made_sweep import make_sweep

FINAL = ("dev_eer", "backward_ms", "backward_ratio", "params_total", "params_trainable", "params_added")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("plastsearch.tracking.mlflow_tracker.PATIENCE_S", 0.0)


def drawn(front):
    def render(folder):
        (folder / "pareto.html").write_text("<p>figure</p>")
        (folder / "pareto.png").write_bytes(b"png")
        files = {"pareto/pareto.html": folder / "pareto.html", "pareto/pareto.png": folder / "pareto.png"}
        marks = {number: {"plastsearch.front": "probable", "plastsearch.runs": "1"} for number in front}
        picture = "pareto/pareto.png"
        return Rendering(files, "pareto/pareto.html", picture, "a note", marks, summary={"front_size": 2.0})

    return render


def content(place):
    """Everything the store says of a sweep, without MLflow's own ids."""
    client = open_store(place.uri)
    found = {}
    for run in client.search_runs([place.experiment], max_results=1000):
        tags = {key: value for key, value in run.data.tags.items() if key.startswith("plastsearch.")}
        history = {
            key: [(m.value, m.timestamp, m.step) for m in client.get_metric_history(run.info.run_id, key)]
            for key in ("dev_eer", "dev/eer")
        }
        info = (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time)
        found[tags.get("plastsearch.sweep"), tags.get("plastsearch.trial")] = (
            info, run.data.metrics, run.data.params, tags, history,
        )  # fmt: skip
    return found


def test_every_trial_is_one_finished_child_and_replaying_changes_nothing(folder, store):
    place = sync(folder, store, drawn([0, 3]))
    first = content(place)
    records = trials(read(folder))
    mine = {key: value for key, value in first.items() if key[1] is not None}
    assert len(mine) == len(records)
    for (_, number), (info, metrics, _, tags, _) in mine.items():
        record = records[int(number)]
        assert info[1] == {"done": "FINISHED", "failed": "FAILED", "halted": "KILLED"}[record.state]
        assert info[2:] == (round(record.begun_at * 1000), round(record.ended_at * 1000))
        assert tags["plastsearch.state"] == record.state
        if record.state == "done" and "backward_ratio" in record.metrics:
            assert {name: metrics[name] for name in FINAL} == {name: record.metrics[name] for name in FINAL}
    assert sync(folder, store, drawn([0, 3])) == place
    assert content(place) == first


def test_what_is_there_is_not_written_again_and_what_is_mirrored_is_let_go(folder, store, monkeypatch):
    place = sync(folder, store)
    client = open_store(store)
    runs = {run.data.tags.get("plastsearch.trial"): run.info.run_id for run in client.search_runs([place.experiment])}
    client.delete_run(runs["2"])
    client.update_run(runs["3"], status="RUNNING")  # as if killed between the last two requests
    logged = []
    log = Store.log
    monkeypatch.setattr(
        Store, "log", lambda self, run, *rest, **more: logged.append(run) or log(self, run, *rest, **more)
    )
    tracker = MlflowTracker(folder, store)
    assert tracker.close() is None
    runs |= {
        run.data.tags.get("plastsearch.trial"): run.info.run_id
        for run in client.search_runs([place.experiment], "tags.`plastsearch.trial` = '2'")
    }
    assert set(logged) == {runs["2"], runs["3"]}
    assert not any(record.config or record.history for record in tracker.followed.records.values() if record.ended)
    states = {number: record.state for number, record in trials(read(folder)).items()}
    assert {number: record.state for number, record in tracker.followed.records.items()} == states


def test_the_parent_holds_figure_note_and_views(folder, store):
    place = sync(folder, store, drawn([0, 3]))
    client = open_store(store)
    parent = client.get_run(place.run)
    assert parent.info.status == "FINISHED"
    assert "![Pareto front]" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics["front_size"] == 2
    assert parent.data.params["objectives"].startswith("min dev_eer")
    assert {file.path for file in client.list_artifacts(place.run, "pareto")} == {
        "pareto/pareto.html",
        "pareto/pareto.png",
    }
    tags = client.get_experiment(place.experiment).tags
    names = [json.loads(value)["name"] for key, value in tags.items() if key.startswith("mlflow.sharedViewState.")]
    assert sorted(names) == ["All trials", "Finalists by member", "Pareto front"]


def test_front_tags_follow_the_front(folder, store):
    def members(place):
        query = f"tags.`plastsearch.front` != 'false' AND tags.`mlflow.parentRunId` = '{place.run}'"
        runs = open_store(store).search_runs([place.experiment], query)
        return {int(run.data.tags["plastsearch.trial"]) for run in runs}

    assert members(sync(folder, store, drawn([0, 3]))) == {0, 3}
    assert members(sync(folder, store, drawn([3, 5]))) == {3, 5}


def test_a_file_is_opened_when_the_first_trial_has_ended_or_has_taken_long(tmp_path, store, monkeypatch):
    whole = make_sweep(tmp_path / "whole", search=2)
    events = list(read(whole))
    started = next(event for event in events if isinstance(event, Started))
    ended = next(event for event in events if isinstance(event, Ended))
    file = file_of(store)

    def opened(patience_s, event, within_s):
        monkeypatch.setattr("plastsearch.tracking.mlflow_tracker.PATIENCE_S", patience_s)
        file.unlink(missing_ok=True)
        tracker = MlflowTracker(whole, store)
        tracker.feed(event)
        until = time.monotonic() + within_s
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.02)
        found = file.exists()
        assert tracker.close() is None
        return found

    assert not opened(60.0, started, 0.5)
    assert opened(60.0, ended, 30.0)
    assert opened(0.1, started, 30.0)


def test_following_live_ends_where_replaying_does(tmp_path, store):
    whole = make_sweep(tmp_path / "whole", search=15)
    live = tmp_path / "live"
    live.mkdir()
    lines = (whole / "trials.jsonl").read_text().splitlines(keepends=True)
    with (live / "trials.jsonl").open("w") as file:
        tracker = MlflowTracker(live, store, render=drawn([0]), render_every_s=0)
        for n, line in enumerate(lines):
            file.write(line[: len(line) // 2])
            file.flush()  # half a line is no event
            file.write(line[len(line) // 2 :])
            file.flush()
            tracker.feed(json.loads(line))
            if n % 40 == 0:
                time.sleep(0.2)
        assert tracker.close() is None
    place = tracker.place()
    followed = content(place)
    assert sync(whole, store, drawn([0])) == place  # the same sweep by its content
    assert content(place) == followed


def test_a_resumed_sweep_goes_on_in_the_same_runs(tmp_path, store):
    whole = (make_sweep(tmp_path / "w", search=15, seed=3) / "trials.jsonl").read_text().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(whole) if '"event": "start"' in line and '"trial": 6,' in line) + 1
    folder = tmp_path / "resumed"
    folder.mkdir()
    (folder / "trials.jsonl").write_text("".join(whole[:cut]))
    place = sync(folder, store)
    before = {key[1]: value[0] for key, value in content(place).items()}
    assert before["6"][1] == "KILLED"  # nothing claims to be running
    assert open_store(store).get_run(place.run).info.status == "KILLED"
    (folder / "trials.jsonl").write_text("".join(whole))
    assert sync(folder, store) == place
    after = {key[1]: value[0] for key, value in content(place).items() if key[0] == _sweep(place, store)}
    assert after["6"][1] == "FINISHED"
    assert len(after) == len([line for line in whole if '"propose"' in line]) + 1


def _sweep(place, store):
    return open_store(store).get_run(place.run).data.tags["plastsearch.sweep"]


def test_a_server_that_is_down_is_told_once_and_harms_nothing(folder):
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = []
    started = time.monotonic()
    tracker = MlflowTracker(folder, f"http://user:secret@127.0.0.1:{port}", on_trouble=told.append)
    for event in read(folder):
        tracker.feed(event)
    message = tracker.close(timeout_s=60)
    assert time.monotonic() - started < 45
    assert len(told) == 1
    assert "the sweep goes on" in told[0]
    assert "nothing is lost" in message
    assert "secret" not in message + told[0]
    with pytest.raises(PlastsearchError, match="cannot be written"):
        sync(folder, f"http://127.0.0.1:{port}")


def test_an_outage_is_made_up_for(folder, store, monkeypatch):
    from plastsearch.tracking import follower, mlflow_tracker

    monkeypatch.setattr(follower, "_FIRST_PAUSE_S", 0.0)
    real, calls = mlflow_tracker.open_store, []

    def flaky(uri):
        calls.append(uri)
        if len(calls) < 3:
            raise ConnectionError("refused")
        return real(uri)

    monkeypatch.setattr(mlflow_tracker, "open_store", flaky)
    tracker = MlflowTracker(folder, store)
    for _ in range(4):
        tracker.feed({})
        time.sleep(0.1)
    assert tracker.close() is None
    assert tracker.failures == 2
    assert len({key[1] for key in content(tracker.place())}) > 15


def test_a_renderer_that_breaks_costs_only_the_figure(folder, store):
    def broken(_):
        raise ZeroDivisionError("no figure")

    tracker = MlflowTracker(folder, store, render=broken)
    assert "ZeroDivisionError: no figure" in tracker.close()
    assert tracker.failures == 1


def test_the_default_store_is_in_write_ahead_mode_and_survives_a_move(tmp_path, empty):
    folder = make_sweep(tmp_path / "here", search=15)
    (folder / "mlflow").mkdir()
    shutil.copy(empty, folder / "mlflow" / "mlflow.db")
    place = sync(folder, render=drawn([0]))
    assert place.uri == mlflow_uri(folder)
    with closing(sqlite3.connect(folder / "mlflow" / "mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    moved = folder.rename(tmp_path / "there")
    place = locate(moved, render=drawn([0]))
    files = open_store(place.uri).list_artifacts(place.run, "pareto")
    assert len(files) == 2
    assert str(moved) in open_store(place.uri).get_run(place.run).info.artifact_uri


def test_a_living_driver_is_not_raced(tmp_path, store):
    folder = make_sweep(tmp_path / "w2v_layers", search=15, seed=9)
    assert not driver_lives(folder)
    with Journal(folder):
        assert driver_lives(folder)
        with pytest.raises(PlastsearchError, match="not in MLflow yet"):
            locate(folder, store)
    place = sync(folder, store)
    with Journal(folder):
        assert locate(folder, store) == place


def test_closing_waits_no_longer_than_told(folder, store):
    gate = threading.Event()

    def slow(_):
        gate.wait(20)
        raise ValueError("late")

    tracker = MlflowTracker(folder, store, render=slow)
    started = time.monotonic()
    assert "still busy" in tracker.close(timeout_s=0.3)
    assert time.monotonic() - started < 5
    gate.set()


def test_nothing_is_written_outside_the_store_and_a_deleted_experiment_comes_back(folder, store, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    place = sync(folder, store, drawn([0]))
    assert not list((tmp_path / "elsewhere").iterdir())
    assert (tmp_path / "artifacts" / place.run / "artifacts" / "pareto" / "pareto.html").exists()
    open_store(store).delete_experiment(place.experiment)
    assert sync(folder, store).experiment == place.experiment


def test_a_folder_without_a_sweep(tmp_path):
    with pytest.raises(PlastsearchError, match="no sweep here"):
        sync(tmp_path)


def test_the_parent_says_how_often_it_was_resumed_and_how_it_ended(store, tmp_path):
    folder = make_sweep(tmp_path / "sweep")
    first = sync(folder, store)
    tags = open_store(store).get_run(first.run).data.tags
    assert tags["plastsearch.sessions"] == "1"
    assert "plastsearch.resumed_at" not in tags
    with contextlib.closing(Journal(folder)) as journal:
        journal.append(SessionBegun(session="later", host="another-pod", resumed=True))
        journal.append(Finished(status="failures", reason="6 of 8 trials failed"))
    tags = open_store(store).get_run(sync(folder, store).run).data.tags
    assert (tags["plastsearch.sessions"], tags["plastsearch.host"]) == ("2", "another-pod")
    assert tags["plastsearch.resumed_at"].endswith("Z")
    assert tags["plastsearch.ended"] == "failures: 6 of 8 trials failed"


def test_runs_with_further_seeds_lie_under_their_trial_and_marks_follow_the_figures(tmp_path, store):
    folder = make_sweep(tmp_path / "noisy", search=9, repeats=2)
    records = trials(read(folder))

    def marked(marks, means):
        drawing = drawn([])
        return lambda folder: replace(drawing(folder), marks=marks, means=means, tags={"plastsearch.knee": "4"})

    certain = {"plastsearch.front": "certain", "plastsearch.membership": "0.97", "plastsearch.runs": "3"}
    likely = {"plastsearch.front": "probable", "plastsearch.membership": "0.61", "plastsearch.runs": "1"}
    place = sync(folder, store, marked({4: certain, 5: likely}, {4: {"mean_dev_eer": 9.5}}))
    client = open_store(store)
    every = {int(run.data.tags["plastsearch.trial"]): run
             for run in client.search_runs([place.experiment], "tags.`plastsearch.role` != 'sweep'")}  # fmt: skip
    repeats = [record for record in records.values() if record.role == "replicate"]
    assert repeats
    for record in repeats:
        run = every[record.number]
        assert run.data.tags["mlflow.parentRunId"] == every[record.of].info.run_id
        assert run.info.run_name == f"seed {record.seed} of {record.control or 'trial'} {record.of}"
    assert certain.items() <= every[4].data.tags.items()
    assert every[4].data.metrics["mean_dev_eer"] == 9.5
    parent = client.get_run(place.run)
    assert parent.data.tags["plastsearch.knee"] == "4"
    # What the saved views ask for finds trials alone, and members of either kind.
    front, finalists, whole = (
        json.loads(json.loads(value)["state"])["searchFilter"]
        for key, value in sorted(client.get_experiment(place.experiment).tags.items(), reverse=True)
        if key.startswith("mlflow.sharedViewState.")
    )
    found = client.search_runs([place.experiment], front)
    assert {int(run.data.tags["plastsearch.trial"]) for run in found} == {4, 5}
    found = client.search_runs([place.experiment], whole)
    assert {run.data.tags["plastsearch.role"] for run in found} == {"search", "control"}
    found = client.search_runs([place.experiment], finalists)
    members = {int(run.data.tags["plastsearch.trial"]): run.data.tags["mlflow.parentRunId"] for run in found}
    assert members == {
        record.number: every[record.of].info.run_id for record in records.values() if record.role == "finalist"
    }
    # The next figures know better.
    sync(folder, store, marked({5: certain | {"plastsearch.runs": "4"}}, {}))
    tags = {number: client.get_run(every[number].info.run_id).data.tags for number in (4, 5)}
    assert not {"plastsearch.front", "plastsearch.membership", "plastsearch.runs"} & tags[4].keys()
    assert (tags[5]["plastsearch.front"], tags[5]["plastsearch.runs"]) == ("certain", "4")
