"""MLflow as the platform starts it: the containers' own commands, arguments and environment, on this machine."""

import base64
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import pytest

from tests.rendering import K8S, containers, environment, expanded, of_kind, one, render

PASSWORD = "a-password-of-a-secret-0123456789"
SECRETS = {
    "MLFLOW_AUTH_ADMIN_USERNAME": "plastsearch",
    "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "0" * 64,
}


@dataclass
class Server:
    address: str
    volume: Path

    def asked(self, path: str, *, host: str = "mlflow:5000", password: str | None = None, body: str = "") -> int:
        """The status of an answer, to somebody who calls the server by this name."""
        headers = {"Host": host, "Content-Type": "application/json"}
        if password is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"plastsearch:{password}".encode()).decode()
        request = urllib.request.Request(self.address + path, body.encode() or None, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("flask_wtf", reason="MLflow's logins need mlflow[auth], which the server's lock has")
    documents = render(K8S / "platform")
    template = one(documents, "Deployment", "mlflow")["spec"]["template"]
    (config,) = [d for d in of_kind(documents, "ConfigMap") if d["metadata"]["name"].startswith("mlflow-auth")]
    volume, auth = tmp_path_factory.mktemp("mlflow"), tmp_path_factory.mktemp("auth")
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def here(text: str) -> str:
        for there, path in {"/mlflow/": f"{volume}/", "/auth/": f"{auth}/", "0.0.0.0": "127.0.0.1"}.items():
            text = text.replace(there, path)
        return text.replace("--port=5000", f"--port={port}")

    for name, content in config["data"].items():
        (auth / name).write_text(here(content))
    process = None
    log = tmp_path_factory.mktemp("log") / "log"
    for container in containers(template):
        seen = {**environment(container, "other"), **SECRETS, "HOME": str(auth), "PYTHONWARNINGS": "ignore"}
        seen = {name: here(value) for name, value in seen.items()}
        program, *arguments = [here(expanded(a, seen)) for a in [*container["command"], *container.get("args", ())]]
        program = sys.executable if program == "python" else str(Path(sys.executable).with_name(program))
        seen["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        with log.open("a") as written:
            process = subprocess.Popen([program, *arguments], env=seen, stdout=written, stderr=written)
        if container["name"] != "mlflow":
            assert process.wait(120) == 0, log.read_text()
    assert process is not None
    made = Server(f"http://127.0.0.1:{port}", volume)
    try:
        _wait(lambda: made.asked("/health", host="10.0.0.7:5000") == 200, process, log)
        yield made
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(volume)


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(480):
        assert process.poll() is None, log.read_text()
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.25)
    raise AssertionError(log.read_text())


SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.mark.slow
def test_nothing_is_answered_without_a_password(server: Server) -> None:
    for path in SEARCH, "/ajax-api/2.0/mlflow/runs/search", "/graphql", "/":
        assert server.asked(path) == 401, path
        assert server.asked(path, password="password1234") == 401, path
    made = "/api/2.0/mlflow/experiments/create"
    assert server.asked(made, body='{"name": "theirs"}') == 401
    assert server.asked(made, body='{"name": "ours"}', password=PASSWORD) == 200
    assert server.asked(SEARCH, password=PASSWORD) == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("mlflow:5000", 200),
        ("mlflow.other:5000", 200),
        ("mlflow.other.svc:5000", 200),
        ("mlflow.other.svc.cluster.local:5000", 200),
        ("localhost:15000", 200),
        ("mlflow.plastsearch.svc:5000", 403),
        ("mlflow:80", 403),
        ("example.org:5000", 403),
    ],
)
def test_it_answers_to_its_own_names_in_its_own_namespace(server: Server, host: str, status: int) -> None:
    assert server.asked(SEARCH, host=host, password=PASSWORD) == status


@pytest.mark.slow
def test_its_files_are_written_ahead(server: Server) -> None:
    for name in "mlflow.db", "auth.db":
        (mode,) = sqlite3.connect(server.volume / name).execute("PRAGMA journal_mode").fetchone()
        assert mode == "wal", name
