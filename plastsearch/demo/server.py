"""The demo's server: one process, this machine alone, a page and one question that it asks.

The standard library's server is enough for one person's browser and adds no dependency. Other sites open in that
browser must not reach it: the Host has to be this machine's (against names that are made to point here), and whoever
asks for a score has to send a header that no foreign page may send unasked.
"""

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from urllib.parse import parse_qs, unquote, urlsplit

from plastsearch.demo.hearing import heard
from plastsearch.errors import PlastsearchError
from plastsearch.files import plain
from plastsearch.use.model import Model

HOSTS = ("127.0.0.1", "localhost")
ASKS = "X-Plastsearch"  # a header of one's own makes a browser ask first, and nobody here answers that
MOST_BYTES = 100 << 20
PAGE = "page.html"
_SAFE = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data: blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class DemoServer(ThreadingHTTPServer):
    """Holds the model; requests queue for it, since one network is run at a time."""

    daemon_threads = True

    def __init__(self, model: Model, port: int) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise PlastsearchError(
                f"port {port} of this machine cannot be used ({error.strerror}); choose another with --port (0: any)"
            ) from None
        except OverflowError:
            raise PlastsearchError(f"--port {port}: ports are numbers from 0 to 65535") from None
        self.model = model
        self.turn = threading.Lock()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer
    protocol_version = "HTTP/1.1"
    timeout = 60  # of a browser that says nothing more

    def do_GET(self) -> None:
        if not self._ours():
            return
        if urlsplit(self.path).path == "/":
            self._send(HTTPStatus.OK, _page(), "text/html; charset=utf-8")
        elif urlsplit(self.path).path == "/model":
            self._json(HTTPStatus.OK, _about(self.server.model))
        else:
            self._json(HTTPStatus.NOT_FOUND, {"error": "there is no such page"})

    def do_POST(self) -> None:
        if not self._ours():
            return
        split = urlsplit(self.path)
        if split.path != "/score" or self.headers.get(ASKS) != "1":
            self._refuse(HTTPStatus.FORBIDDEN, "only the page of this server may ask")
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > MOST_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"clips of up to {MOST_BYTES >> 20} MB, with their length"
            )
            return
        asked = parse_qs(split.query)
        audio = self.rfile.read(int(length))
        try:
            prior = float(asked.get("prior", ["0.5"])[0])
            name = unquote(asked.get("name", ["clip"])[0])[:200]
            with self.server.turn:
                found = heard(self.server.model, audio, name, prior)
        except (PlastsearchError, ValueError) as error:
            self._json(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        else:
            self._json(HTTPStatus.OK, found)

    def _ours(self) -> bool:
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host in HOSTS:
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "this server answers this machine alone")
        return False

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # whatever else was sent is not read
        self._json(status, {"error": why})

    def _json(self, status: HTTPStatus, content: object) -> None:
        self._send(status, json.dumps(plain(content), allow_nan=False).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **_SAFE}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: who looks at the page sees what happened."""


def _page() -> bytes:
    return files("plastsearch.demo").joinpath(PAGE).read_bytes()


def _about(model: Model) -> dict[str, object]:
    facts = model.facts
    return {
        "name": facts.name,
        "network": facts.network.get("model_type"),
        "parameters": sum(parameter.numel() for parameter in model.detector.parameters()),
        "rate_hz": model.rate_hz,
        "window_s": model.window_samples / model.rate_hz,
        "calibrated": model.calibrated,
        "calibration": None if facts.calibration is None else facts.calibration.model_dump(),
        "threshold": model.threshold(),
    }
