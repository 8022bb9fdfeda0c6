"""What the driver says, in the sweep's folder as well: a terminal is closed, and a cluster's logs go with its nodes.

`log/driver.log` is for people; what a program wants to know stands in the journal. Beside it lies what failed attempts
printed (execute/worker_output.py).
"""

import os
import platform
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

from plastsearch.sweep.display import Lines
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.events import Ended, Event, Retried
from plastsearch.version import __version__

FOLDER, FILE = "log", "driver.log"
_TOLD = ("ray", "torch", "torchaudio", "transformers", "optuna", "mlflow")


def output_of(folder: Path, trial: int, attempt: int) -> Path:
    """Where an attempt's output goes."""
    return folder / FOLDER / f"trial-{trial}-attempt-{attempt}.txt"


def append(folder: Path, text: str) -> None:
    """A line more, dated, if there is a log that can be written: what is appended is shown in any case."""
    path = folder / FOLDER / FILE
    if path.is_file():
        with suppress(OSError), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{time.strftime('%F %T')} {text.rstrip()}\n")


class DriverLog:
    """One session's lines, appended to those of earlier ones; the sweep goes on without them if the disk is full."""

    def __init__(self, folder: Path, view: SweepView) -> None:
        self._folder, self._view = folder, view
        self._file: IO[str] | None = None

    def begin(self, what: str, surroundings: Iterable[str]) -> None:
        """Who runs it, with what, and where; from here on events are written, too."""
        path = self._folder / FOLDER / FILE
        with self._spared():
            path.parent.mkdir(exist_ok=True)
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
            self._lines = Lines(self._view, self._file, dated=True)
        pod = os.environ.get("POD_NAME")
        host = f"{socket.gethostname()}{f' (Pod {pod})' if pod and pod != socket.gethostname() else ''}"
        who = f"process {os.getpid()} on {host}"
        self._block(what, [who, " · ".join(f"{name} {number}" for name, number in versions().items()), *surroundings])

    def feed(self, event: Event) -> None:
        """What a person would be told, and where a failed attempt's output is."""
        if self._file is None:
            return
        with self._spared():
            self._lines.feed(event)
        failed = isinstance(event, Retried) or (isinstance(event, Ended) and event.state == "failed")
        if failed and isinstance(event, Ended | Retried):
            path = output_of(self._folder, event.trial, self._view.records[event.trial].attempts)
            if path.is_file() and path.stat().st_size:
                self._block(f"  its output: {path.relative_to(self._folder)}", [])

    def end(self, surroundings: Iterable[str]) -> None:
        """How things stood when nothing ran any more; files of attempts that were killed without a word go."""
        self._block("the session ends", surroundings)
        # Here, right after the last word was written: in `close` the folder may be another driver's.
        for path in (self._folder / FOLDER).glob("trial-*.txt"):
            with suppress(FileNotFoundError):  # a worker that was stopped may tidy up just now
                if not path.stat().st_size:
                    path.unlink()

    def close(self) -> None:
        """A last summary."""
        if self._file is None:
            return
        with self._spared():
            self._lines.close()
            self._file.close()
        self._file = None

    def _block(self, head: str, lines: Iterable[str]) -> None:
        if self._file is None:
            return
        with self._spared():
            self._file.write("\n".join([f"{time.strftime('%F %T')} {head}", *(f"    {line}" for line in lines)]) + "\n")
            self._file.flush()

    @contextmanager
    def _spared(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            lost, self._file = self._file, None
            with suppress(OSError):  # it tries once more to write what it holds
                if lost is not None:
                    lost.close()
            path = self._folder / FOLDER / FILE
            sys.stderr.write(f"Note: {path} cannot be written ({error.strerror}); the sweep goes on without it.\n")


def versions() -> dict[str, str]:
    """Of plastsearch, Python and the libraries that results rest on, as far as they are installed here."""
    found = {"plastsearch": __version__, "Python": platform.python_version()}
    for name in _TOLD:
        with suppress(PackageNotFoundError):  # the image of a head may lack what only workers need
            found[name] = version(name)
    return found
