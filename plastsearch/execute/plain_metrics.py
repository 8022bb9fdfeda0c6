"""A sweep's numbers for Prometheus where no Ray cluster serves them: one page of text, on this machine's own address.

Prometheus's client library would do it, and comes with Ray's dashboard only; the format is a line for each number.
"""

import http.server
import math
import threading
from collections.abc import Mapping
from typing import Self

from plastsearch.errors import PlastsearchError

HOST = "127.0.0.1"
PATH = "/metrics"
TYPE = "text/plain; version=0.0.4; charset=utf-8"
Tags = tuple[tuple[str, str], ...]


class PlainMeters:
    """Gauges and counters by name, and the server that shows them while the block lasts."""

    def __init__(self, port: int, host: str = HOST) -> None:
        self._about: dict[str, tuple[str, str]] = {}  # name → kind and what it is
        self._values: dict[str, dict[Tags, float]] = {}
        self._lock = threading.Lock()
        meters = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path.partition("?")[0] == PATH
                body = (meters.text() if found else f"the numbers are at {PATH}\n").encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", TYPE if found else "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: the terminal is the sweep's."""

        try:
            self._server = _Server((host, port), Handler)
        except (OSError, OverflowError) as error:
            said = getattr(error, "strerror", None) or error
            raise PlastsearchError(
                f"--metrics-port {port}: {host} cannot be listened on ({said}); give a free port, or 0 for any"
            ) from None
        self.address = f"http://{host}:{self._server.server_address[1]}{PATH}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics page", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def set(self, name: str, text: str, value: float, tags: Mapping[str, str]) -> None:
        """A number that goes up and down; `text` says what it is."""
        self._note("gauge", name, text, value, tags)

    def count(self, name: str, text: str, total: float, tags: Mapping[str, str]) -> None:
        """A number that only grows, told as it stands."""
        self._note("counter", name, text, total, tags)

    def text(self) -> str:
        """All of them in Prometheus's text format."""
        with self._lock:
            lines: list[str] = []
            for name, values in self._values.items():
                kind, text = self._about[name]
                lines += [f"# HELP {name} {_escaped(text)}", f"# TYPE {name} {kind}"]
                for tags, value in values.items():
                    labels = ",".join(f'{key}="{_quoted(word)}"' for key, word in tags)
                    lines.append(f"{name}{{{labels}}} {_number(value)}")
        return "".join(f"{line}\n" for line in lines)

    def _note(self, kind: str, name: str, text: str, value: float, tags: Mapping[str, str]) -> None:
        with self._lock:
            self._about[name] = kind, text
            self._values.setdefault(name, {})[tuple(sorted(tags.items()))] = value


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True  # somebody who never reads the answer must not keep the process from ending
    allow_reuse_address = True


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
