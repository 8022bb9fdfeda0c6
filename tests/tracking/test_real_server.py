"""Whatever happens to a real server while a sweep runs, training never waits and MLflow ends up with each number once.

Every test starts `mlflow server`, which takes ten seconds and more.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from plastsearch.tracking.events import Started
from plastsearch.tracking.journal import read
from plastsearch.tracking.mlflow_store import open_store
from plastsearch.tracking.mlflow_sync import sync, synced
from plastsearch.tracking.mlflow_tracker import MlflowTracker
from tests.made_sweep import make_sweep
from tests.tracking.servers import Between, Server, postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FEED_S = 0.05  # what telling a tracker of an event may take of the driver's time: it only wakes a thread
ROLES = "tags.`plastsearch.role` != 'sweep'"


@pytest.fixture(autouse=True)
def soon_again(monkeypatch):
    """After a failure, try again after half a second instead of fifteen."""
    monkeypatch.setattr("plastsearch.tracking.follower._FIRST_PAUSE_S", 0.5)


def content(uri):
    """What a store says of every run but for ids: two that agree hold the same."""
    client = open_store(uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "w2v_layers"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    names = {run.info.run_id: run.info.run_name for run in runs}
    found = []
    for run in runs:
        tags = dict(run.data.tags)
        tags["mlflow.parentRunId"] = names.get(tags.get("mlflow.parentRunId"))
        tags.pop("mlflow.note.content", None)
        info = (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time)
        inputs = sorted((one.dataset.name, one.dataset.digest, one.tags[0].value) for one in run.inputs.dataset_inputs)
        curve = [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, "dev/eer")]
        files = sorted((one.path, one.file_size) for one in client.list_artifacts(run.info.run_id, "trial"))
        found.append((info, sorted(tags.items()), sorted(run.data.params.items()), sorted(run.data.metrics.items()),
                      inputs, curve, files))  # fmt: skip
    return sorted(found, key=str)


def expected(folder, place):
    """The same from a store to which nothing ever happened."""
    uri = f"sqlite:///{place / 'calm' / 'mlflow.db'}"
    sync(folder, uri)
    return content(uri)


class Live:
    """A driver that writes a sweep's journal event by event and tells a tracker of each."""

    def __init__(self, place, uri, search=10):
        source = make_sweep(place / "source" / "w2v_layers", search=search)
        self.lines = (source / "trials.jsonl").read_bytes().splitlines(keepends=True)
        self.events = read(source)
        self.folder = place / "w2v_layers"
        self.folder.mkdir()
        self.longest_s = 0.0
        self.at = 0
        self.told = []
        self.tracker = None if uri is None else MlflowTracker(self.folder, uri, on_trouble=self.told.append)

    def go(self, share):
        """Up to that share of the sweep."""
        until = round(share * len(self.lines))
        with (self.folder / "trials.jsonl").open("ab") as file:
            for line, event in zip(self.lines[self.at : until], self.events[self.at : until], strict=True):
                file.write(line)
                file.flush()
                began = time.monotonic()
                if self.tracker is not None:
                    self.tracker.feed(event)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                time.sleep(0.01)
        self.at = until

    def until_level(self, patience_s=240.0):
        """Wait as a sweep's next events would make it: a follower tries again when it is told of something."""
        end = time.monotonic() + patience_s
        while self.tracker.lag:
            assert time.monotonic() < end, (self.tracker.trouble, self.tracker.lag)
            if self.tracker.trouble is not None:
                self.tracker.feed(self.events[self.at - 1])
            time.sleep(1.0)


@pytest.fixture(params=["sqlite", "postgres"])
def server(request, tmp_path):
    if request.param == "sqlite":
        with Server(tmp_path / "server") as found:
            yield found
    else:
        with postgres() as address, Server(tmp_path / "server", address) as found:
            yield found


def test_a_server_that_is_killed_and_restarted_loses_and_doubles_nothing(tmp_path, server):
    live = Live(tmp_path, server.uri)
    live.go(0.3)
    live.until_level()
    server.kill()
    live.go(0.6)
    time.sleep(4)
    assert live.tracker.lag > 0  # said by a number as long as it lasts
    assert [text for text in live.told if "the sweep goes on and its journal keeps everything" in text]
    with server:
        live.go(1)
        live.until_level()
        assert live.tracker.close(120) is None
        assert live.longest_s < FEED_S
        assert content(server.uri) == expected(live.folder, tmp_path)
        again = synced(live.folder, server.uri)
        assert (again.made, again.updated) == (0, 0)


def test_a_server_that_answers_500_or_5_seconds_late_is_caught_up_with(tmp_path):
    with Server(tmp_path / "server") as server, Between(server.uri) as between:
        live = Live(tmp_path, between.uri)
        live.go(0.3)
        live.until_level()
        between.status = 500
        live.go(0.5)
        time.sleep(8)
        assert live.tracker.failures
        between.status, between.delay_s = 0, 5.0
        live.go(1)
        assert live.longest_s < FEED_S
        said = live.tracker.close(12)  # a sweep ends all the same, and says what is missing
        assert "still busy after 12 s; nothing is lost: `plastsearch sync " in said
        assert f"--mlflow {between.uri}` brings it up to date" in said
        assert content(server.uri) != expected(live.folder, tmp_path)
        between.delay_s = 0.0
        time.sleep(12)  # what was under way ends, and where the driver lives on, all that is left
        synced(live.folder, between.uri)
        assert content(server.uri) == expected(live.folder, tmp_path)


def test_answers_that_come_after_patience_has_ended_make_no_second_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with Server(tmp_path / "server") as server, Between(server.uri) as between:
        live = Live(tmp_path, between.uri, search=3)
        starts = [n for n, event in enumerate(live.events) if isinstance(event, Started)]
        live.go(starts[4] / len(live.lines))  # the next thing to do is to make a run
        live.until_level()
        client = open_store(server.uri)
        (experiment,) = [one.experiment_id for one in client.search_experiments() if one.name == "w2v_layers"]
        between.delay_s = 3.0  # every request is done, and MLflow's client asks again for what was done
        live.go(1)
        time.sleep(25)
        trial = [run.data.tags["plastsearch.trial"] for run in client.search_runs([experiment], ROLES)]
        doubled = len(trial) - len(set(trial))
        between.delay_s = 0.0
        live.until_level()
        assert live.tracker.close(120) is None
        synced(live.folder, between.uri)
        assert doubled > 0, "the fault did not happen"
        assert content(server.uri) == expected(live.folder, tmp_path)


def test_a_locked_database_is_waited_for(tmp_path):
    with Server(tmp_path / "server") as server:
        live = Live(tmp_path, server.uri)
        live.go(0.3)
        live.until_level()
        with closing(sqlite3.connect(tmp_path / "server" / "server.db", timeout=30)) as database:
            database.execute("BEGIN EXCLUSIVE")
            live.go(1)
            time.sleep(25)  # MLflow itself waits for 20 s
            assert live.tracker.lag > 0
            database.execute("ROLLBACK")
        live.until_level()
        assert live.tracker.close(120) is None
        assert live.longest_s < FEED_S
        assert content(server.uri) == expected(live.folder, tmp_path)


FOLLOWER = """
import sys, time
from plastsearch.tracking.events import Note
from plastsearch.tracking.mlflow_tracker import MlflowTracker
tracker = MlflowTracker(sys.argv[1], sys.argv[2])
while True:
    tracker.feed(Note())
    time.sleep(0.05)
"""


def test_a_driver_that_is_killed_while_it_writes_leaves_what_sync_completes(tmp_path, server):
    live = Live(tmp_path, None, search=30)
    live.go(0.8)
    driver = subprocess.Popen([sys.executable, "-c", FOLLOWER, str(live.folder), server.uri], start_new_session=True)
    client = open_store(server.uri)
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end:
            experiments = [one.experiment_id for one in client.search_experiments() if one.name == "w2v_layers"]
            if experiments and len(client.search_runs(experiments)) >= 8:
                break
            time.sleep(0.05)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    half = len(client.search_runs(experiments))
    assert half >= 8
    live.go(1)
    done = synced(live.folder, server.uri)
    assert done.made > 0
    assert done.level > 0
    assert content(server.uri) == expected(live.folder, tmp_path)


def test_postgresql_without_a_server_before_it(tmp_path):
    folder = make_sweep(tmp_path / "w2v_layers", search=10)
    with postgres() as address:
        first = synced(folder, address)
        assert first.made == first.trials
        once = content(address)
        second = synced(folder, address)
        assert (second.made, second.updated) == (0, 0)
        assert content(address) == once == expected(folder, tmp_path)
    assert (tmp_path / "mlflow-artifacts").is_dir()  # not where one happens to stand
