"""A real MLflow server in a process group of its own, which tests may kill, stop and replace."""

import http.server
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

START_S = 120.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """`mlflow server` with one worker on a store below `folder`, or on another backend."""

    def __init__(self, folder: Path, backend: str | None = None, port: int | None = None) -> None:
        self.folder, self.port = folder, port or free_port()
        self.backend = backend or f"sqlite:///{folder / 'server.db'}"
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", self.backend, "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **quiet}, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """At once, with all its children, as a node that goes down."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def cpu_s(self) -> float:
        """Processor time that it has used, with its workers."""
        total = 0.0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and self._process is not None:
                try:
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue  # it has ended meanwhile
                if int(fields[2]) == self._process.pid:  # its process group
                    total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return total

    def _wait(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError("the server did not come up")


class Between:
    """Stands before a server: passes requests on after `delay_s`, or answers `status` in its place."""

    def __init__(self, behind: str) -> None:
        self.delay_s, self.status, self.asked = 0.0, 0, 0
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):  # its methods are named by the library
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                between.asked += 1
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                time.sleep(between.delay_s)
                if between.status:
                    self._send(between.status, b"out of order", {})
                    return
                kept = {key: text for key, text in self.headers.items() if key.lower() not in {"host", "connection"}}
                request = urllib.request.Request(behind + self.path, body or None, kept, method=self.command)
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        self._send(answer.status, answer.read(), dict(answer.headers))
                except urllib.error.HTTPError as refused:
                    self._send(refused.code, refused.read(), dict(refused.headers))

            def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                try:
                    self.send_response(status)
                    if "Content-Type" in headers:
                        self.send_header("Content-Type", headers["Content-Type"])
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:  # whoever asked has lost patience
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Nothing."""

        for verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{verb}", Handler._answer)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a real PostgreSQL with an empty database, on a socket in a folder that goes with it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed here: Debian's package postgresql has the server")
    # Apart from pytest's folders, which only their owner can enter: PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="plastsearch-pg-"))
    alone = os.getuid() == 0
    if alone:
        known = pwd.getpwnam("postgres")
        os.chown(folder, known.pw_uid, known.pw_gid)
    user = "postgres" if alone else pwd.getpwuid(os.getuid()).pw_name

    def call(program: str, *words: str) -> None:
        command = [str(programs[-1] / program), *words]
        command = ["runuser", "-u", user, "--", *command] if alone else command
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)

    data, log = str(folder / "data"), str(folder / "log")
    try:
        call("initdb", "-D", data, "-U", user, "-A", "trust", "--no-sync")
        call("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-k {folder} -c listen_addresses='' -c fsync=off", "start")
        try:
            call("createdb", "-h", str(folder), "-U", user, "mlflow")
            yield f"postgresql+psycopg://{user}@/mlflow?host={folder}"
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
