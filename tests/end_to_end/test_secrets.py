"""A password in the address of an MLflow server: nothing prints it, stores it or hands it on where others can read."""

import functools
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.private_folder import private_folder
from plastsearch.sweep import options
from plastsearch.tracking.journal import Journal
from tests.doors import command_lines
from tests.sweep.fake_trials import FUNCTION
from tests.sweep.session_process import SPACE

PASSWORD = "hunter2-of-the-team"
# The real command line around trials that cost nothing.
TYPED = """
import functools
from plastsearch.sweep import options
from plastsearch.cli.main import main
fake = "tests.sweep.fake_trials:trial"
options.Options = functools.partial(options.Options, trial=fake, finalist=fake)
main()
"""


class Watch:
    """Reads the command lines of all processes, as anybody could, again and again."""

    def __init__(self) -> None:
        self.lines: set[str] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._done.wait(0.1):
            self.lines |= set(
                command_lines(int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()).values()
            )

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


class Person:
    """Types commands in a folder; what they print is kept."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.said = home, ""
        self.begun: list[subprocess.Popen[str]] = []
        self.port = port
        (home / "fake.yaml").write_text(SPACE)
        self.environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"http://me:{PASSWORD}@127.0.0.1:{port}",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "FAKE_TRIAL_S": "0.4",
        }

    def begins(self, *words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", TYPED, *words], cwd=self.home, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.begun.append(process)
        return process

    def ends(self, process: "subprocess.Popen[str]", status: int) -> str:
        out, err = process.communicate(timeout=200)
        self.said += out + err
        assert process.returncode == status, out + err
        return out + err

    def types(self, *words: str, status: int = 0) -> str:
        return self.ends(self.begins(*words), status)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """Nothing of theirs runs on."""
    (tmp_path / "home").mkdir()
    someone = Person(tmp_path / "home", free_port())
    yield someone
    for process in someone.begun:
        if process.poll() is None:
            process.kill()
            process.communicate()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_not_in_files(*folders: Path) -> None:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


def test_an_outage_tells_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep whose server is down, from start to end, then all that can be asked about it."""
    fakes = functools.partial(options.Options, trial=FUNCTION, finalist=FUNCTION)
    monkeypatch.setattr(options, "Options", fakes)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address := f"http://me:{PASSWORD}@127.0.0.1:{free_port()}")
    (tmp_path / "fake.yaml").write_text(SPACE)
    said = ""

    def typed(*words: str) -> str:
        nonlocal said
        result = CliRunner().invoke(app, [*words])
        said += result.output + str(result.exception or "")
        return result.output + str(result.exception or "")

    line = ["sweep", str(tmp_path / "fake.yaml"), "--out", str(tmp_path / "runs"), "--executor", "inline"]
    found = typed(*line, "--trials", "1", "--no-finalists")
    assert "MLflow at http://…@127.0.0.1" in found
    assert "nothing is lost: `plastsearch sync" in found
    assert re.search(r"MLflow:  plastsearch ui \S+fake --mlflow env:MLFLOW_TRACKING_URI$", found, re.MULTILINE)
    folder = str(tmp_path / "runs" / "fake")
    for given in ("env:MLFLOW_TRACKING_URI", address):
        for command in (["report", folder], ["ui", folder, "--no-serve"]):
            assert "MLflow at http://…@127.0.0.1" in typed(*command, "--mlflow", given)
        with Journal(tmp_path / "runs" / "fake"):  # as if its driver lived
            told = typed("ui", folder, "--no-serve", "--mlflow", given)
            assert "MLflow at http://…@127.0.0.1" in told
            assert "cannot be read" in told
    path = tmp_path / "runs" / "fake" / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-200])  # as if it had been killed
    assert re.search(r"--resume .*--mlflow env:MLFLOW_TRACKING_URI$", typed(*line), re.MULTILINE)
    assert PASSWORD not in said
    assert_not_in_files(tmp_path)


@contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    """MLflow, which takes any login."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
               "--artifacts-destination", str(folder / "artifacts"), "--port", str(port), "--workers", "1"]  # fmt: skip
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **quiet}, start_new_session=True
        )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_sweep_its_outage_its_resume_and_its_pages_tell_no_password(tmp_path: Path, person: Person) -> None:
    watch, port = Watch(), person.port
    try:
        with server(tmp_path / "server", port):
            process = person.begins("sweep", "fake.yaml", "--set", "search.parallel=1", "--set", "resources.cpu=1")
            while " 3 started: " not in (line := process.stderr.readline()):
                person.said += line
                assert process.poll() is None, person.said
            assert_not_in_files(private_folder() / str(process.pid))  # Ray's own records and logs
            process.send_signal(signal.SIGINT)
            told = person.ends(process, 130)
        command = next(line for line in told.splitlines() if line.startswith("go on with: "))
        words = shlex.split(command.removeprefix("go on with: plastsearch "))
        assert words[words.index("--mlflow") + 1] == "env:MLFLOW_TRACKING_URI"
        assert "nothing is lost" in person.types(*words, "--no-finalists")  # in an outage
        with server(tmp_path / "server", port):
            folder = str(tmp_path / "home" / "plastsearch-runs" / "fake")
            person.types("report", folder, "--mlflow", "env:MLFLOW_TRACKING_URI")
            person.types(*words)  # with its finalists
            shown = json.loads(
                person.types("ui", folder, "--no-serve", "--json", "--mlflow", "env:MLFLOW_TRACKING_URI")
            )
            assert shown["figure"].startswith(f"http://127.0.0.1:{port}/#/experiments/")
            from mlflow import MlflowClient

            client = MlflowClient(f"http://127.0.0.1:{port}")
            runs = client.search_runs([one.experiment_id for one in client.search_experiments()], max_results=100)
            assert {run.info.status for run in runs} == {"FINISHED"}
            assert len(runs) > 10
    finally:
        watch.stop()
    assert PASSWORD not in person.said
    assert any("raylet" in line for line in watch.lines)
    assert any("plastsearch.report.apart" in line for line in watch.lines)
    assert [line for line in watch.lines if PASSWORD in line] == []
    assert_not_in_files(tmp_path)
