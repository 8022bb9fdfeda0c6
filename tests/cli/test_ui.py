"""`plastsearch ui` prints the address of the very page with the figure, serves it, and leaves no process behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from plastsearch.cli.look.ui import HOST, _bound, _end, _server
from plastsearch.errors import PlastsearchError
from plastsearch.tracking.mlflow_server import KeyedApp
from tests.doors import command_lines, doors, tree
from tests.made_sweep import make_sweep


def test_a_port_in_use_is_not_taken():
    with closing(socket.socket()) as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with _bound(port) as other:
            assert other.getsockname()[1] not in {0, port}
    with _bound(0) as free:
        assert free.getsockname()[0] == HOST


def test_ending_a_server_ends_its_whole_group():
    child = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    code = f"import subprocess, sys, time; subprocess.Popen({child}); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    group = process.pid
    time.sleep(0.5)
    _end(process)
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "mlflow").mkdir()
    with (
        _bound(0) as listener,
        pytest.raises(PlastsearchError, match=r"ended at once .*server\.log"),
        _server("nonsense://x", tmp_path, listener, "key"),
    ):
        pass


class Visitor:
    """Somebody with a browser, with or without the printed address."""

    def __init__(self, base, key=None):
        self.base = base
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        if key is not None:
            assert self.visit(f"/?key={key}") == 200

    def visit(self, path, host=None):
        """The status of the answer; its body is kept."""
        request = urllib.request.Request(self.base + path, headers={"Host": host} if host else {})
        try:
            with self.opener.open(request, timeout=60) as answer:
                self.body = answer.read()
                return answer.status
        except urllib.error.HTTPError as refused:
            with refused:
                self.body = refused.read()
                return refused.code


OPEN_TO_ALL = {  # what a user's shell may hold for other servers
    "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
    "MLFLOW_HOST": "0.0.0.0",
    "UVICORN_HOST": "0.0.0.0",
}


@pytest.mark.slow
def test_the_figure_is_served_to_its_owner_alone_and_ctrl_c_leaves_nothing(tmp_path):
    folder = make_sweep(tmp_path / "w2v_layers")
    command = [sys.executable, "-m", "plastsearch.cli.main", "ui", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, **OPEN_TO_ALL}
    )
    try:
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, "ended without an address"
            text += line
        found = json.loads(text)
        base, _, rest = found["figure"].partition("/?key=")
        key, _, route = rest.partition("#/experiments/")
        experiment, _, rest = route.partition("/runs/")
        run = rest.partition("/artifacts/")[0]
        assert route.startswith(f"{experiment}/runs/{run}/artifacts/pareto/pareto.html?workflowType=machine_learning")
        figure = f"/get-artifact?path=pareto%2Fpareto.html&run_uuid={run}"
        owner = Visitor(base, key)
        assert owner.visit(figure) == 200
        assert b"Plotly.newPlot" in owner.body
        for path in (
            "/",
            "/health",
            figure,
            "/ajax-api/2.0/mlflow/experiments/search?max_results=1",
            "/?key=",
            "/?key=x",
        ):
            stranger = Visitor(base)
            assert stranger.visit(path) == 401, path
            assert stranger.body == b"Open the address that `plastsearch ui` printed.\n"
        for host in ("evil.example", "10.evil.example", "192.168.evil.example"):  # names that may lead to this machine
            assert owner.visit(figure, host) == 403, host
        assert owner.visit(figure, "localhost:8080") == 200  # a forwarded port
        pids = tree(process.pid)
        assert [door for door in doors(pids) if not door.inside] == []
        assert [door.port for door in doors(pids) if door.kind == "tcp"] == [int(base.rpartition(":")[2])]
        assert not [line for line in command_lines(pids).values() if key in line]
        assert not [path for path in folder.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert not [pid for pid in pids[1:] if _lives(pid)]
    finally:
        if process.poll() is None:
            process.terminate()
        process.stdout.close()
        process.wait(timeout=30)


@pytest.mark.parametrize("carried", ["cookie", "authorization", "query_string"])
def test_only_the_key_itself_opens_the_server(carried):
    """The lock alone, around an application that says that it was reached."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def status(claim):
        texts = {"cookie": f"a=b; plastsearch-5000={claim}", "authorization": f"Bearer {claim}"}
        headers = [(carried.encode(), texts[carried].encode())] if carried in texts else []
        query = f"key={claim}".encode() if carried == "query_string" else b""
        said = []

        async def send(message):
            said.append(message)

        scope = {"type": "http", "headers": headers, "query_string": query}
        asyncio.run(KeyedApp(app, "right", 5000)(scope, None, send))
        return said[0]["status"], dict(said[0]["headers"]).get(b"set-cookie")

    cookie = b"plastsearch-5000=right; HttpOnly; SameSite=Strict; Path=/" if carried == "query_string" else None
    assert status("right") == (200, cookie)
    for wrong in ("", "Right", "right2", "r", "\xff"):
        assert status(wrong) == (401, None)


def test_other_protocols_are_turned_away():
    said = []

    async def send(message):
        said.append(message)

    asyncio.run(KeyedApp(None, "right", 5000)({"type": "websocket"}, None, send))
    assert said == [{"type": "websocket.close", "code": 1008}]


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
