"""MLflow's server for one person: on loopback, for requests to this machine by name, behind a key of its session.

Without the key every account of the machine could use its API as this user: read what was tracked, create experiments,
and name any folder as an experiment's artifacts.
"""

import hmac
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs

HOST = "127.0.0.1"
# MLflow's own list lets `10.evil.example` in: its patterns for private addresses match names. Any port: people forward.
_HOSTS = "localhost,localhost:*,127.0.0.1,127.0.0.1:*"
_STORE, _ARTIFACTS, _KEY = "PLASTSEARCH_UI_STORE", "PLASTSEARCH_UI_ARTIFACTS", "PLASTSEARCH_UI_KEY"
_SETTINGS = ("MLFLOW_", "_MLFLOW_", "UVICORN_")  # what people set for other servers must not open this one

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Send], Awaitable[None]]


def new_key() -> str:
    """The secret of one session; it stands in the printed address and in no file."""
    return secrets.token_urlsafe(24)


def start(listener: socket.socket, uri: str, artifacts: Path, key: str, log: IO[str]) -> "subprocess.Popen[bytes]":
    """One process, leader of its own group, that serves a store on a port that is bound already."""
    # By environment, not by arguments: a command line is open to every account of the machine.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    environment |= {
        _STORE: uri, _ARTIFACTS: artifacts.as_uri(), _KEY: key, "MLFLOW_SERVER_ALLOWED_HOSTS": _HOSTS,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "plastsearch.tracking.mlflow_server", str(listener.fileno())],
        stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
        pass_fds=[listener.fileno()], start_new_session=True,
    )  # fmt: skip


class KeyedApp:
    """An ASGI application that serves only who has the key: in the address first, then in a cookie, or as a token."""

    def __init__(self, app: App, key: str, port: int) -> None:
        self._app = app
        self._key = key
        self._cookie = f"plastsearch-{port}"  # browsers keep cookies by host, not by port

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        """Pass a request on, set the cookie for one that had the key in its address, refuse one without it."""
        # Not by MLflow's own login, which needs a user's password in a database and hashes it at every request.
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif self._right(*parse_qs(scope["query_string"].decode("latin-1")).get("key", [])):
            await self._app(scope, receive, self._remembering(send))
        elif self._right(*self._carried(scope)):
            await self._app(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"Open the address that `plastsearch ui` printed.\n"})

    def _carried(self, scope: Scope) -> list[str]:
        """What a request's cookies and its token claim to be the key."""
        found = []
        for name, value in scope["headers"]:
            text = value.decode("latin-1")
            if name == b"cookie":
                pairs = [pair.strip().partition("=") for pair in text.split(";")]
                found += [claim for kept, _, claim in pairs if kept == self._cookie]
            elif name == b"authorization":
                found.append(text.removeprefix("Bearer "))
        return found

    def _right(self, *claims: str) -> bool:
        return any(hmac.compare_digest(claim.encode(), self._key.encode()) for claim in claims)

    def _remembering(self, send: Send) -> Send:
        cookie = f"{self._cookie}={self._key}; HttpOnly; SameSite=Strict; Path=/".encode()

        async def told(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"set-cookie", cookie)]
            await send(message)

        return told


def main() -> None:
    """The process of its own: MLflow as its command would set it up, then served behind the key."""
    # Popped, so that no child of MLflow inherits them.
    uri, artifacts, key = (os.environ.pop(name) for name in (_STORE, _ARTIFACTS, _KEY))
    listener = socket.socket(fileno=int(sys.argv[1]))
    import uvicorn  # before mlflow, which looks for it to know that it is a server
    from mlflow.server import constants

    os.environ |= {constants.BACKEND_STORE_URI_ENV_VAR: uri, constants.ARTIFACT_ROOT_ENV_VAR: artifacts}
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(uri, uri, artifacts)
    # No log of requests: the first one's address holds the key.
    config = uvicorn.Config(
        KeyedApp(app, key, listener.getsockname()[1]),
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
