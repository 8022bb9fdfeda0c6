"""Command lines run in forked children with limits: a thousand of them cost what a dozen fresh interpreters would.

The parent imports what commands need, once; each child is its fork, in a session of its own, with its output in files.
"""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 10.0
ROOM = 6 << 30  # bytes of address space beyond what the parent has
LARGEST_FILE = 256 << 20
FILES = 512


@dataclass(frozen=True)
class Outcome:
    """How a command ended; `status` None: it was still running at the limit, below zero: by that signal."""

    status: int | None
    out: str
    err: str
    seconds: float

    def fault(self) -> str | None:
        """What no input may lead to, or None."""
        if self.status is None:
            return f"still running after {self.seconds:.0f} s"
        if self.status not in (0, 1, 2):
            return f"exit status {self.status}"
        if "Traceback (most recent call last)" in self.err + self.out:
            return "a traceback"
        raw = [mark for mark in self.out + self.err if ord(mark) < 32 and mark not in "\n\t\r"]
        if raw:
            return f"the control character {raw[0]!r} reached the terminal"
        if self.status == 2 and not (self.err + self.out).strip():  # with --json the words are on standard output
            return "exit status 2 without a word"
        return None


def run(arguments: Sequence[str], folder: Path, stdin: bytes = b"", limit_s: float = LIMIT_S) -> Outcome:
    """One `plastsearch` command in a child; `folder` takes its output and is where it runs."""
    names = {"in": folder / ".stdin", "out": folder / ".stdout", "err": folder / ".stderr"}
    names["in"].write_bytes(stdin)
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(arguments, folder, names)
    status = _wait(child, begin + limit_s)
    texts = [names[name].read_bytes().decode("utf-8", "replace") for name in ("out", "err")]
    for path in names.values():
        path.unlink()
    return Outcome(status, *texts, time.monotonic() - begin)


def _wait(child: int, end: float) -> int | None:
    pause = 0.002
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _be_the_command(arguments: Sequence[str], folder: Path, names: dict[str, Path]) -> None:
    """In the child: never returns."""
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        for number, (name, flags) in enumerate((("in", os.O_RDONLY), ("out", _FRESH), ("err", _FRESH))):
            handle = os.open(names[name], flags, 0o600)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        _limit()
        sys.argv = ["plastsearch", *arguments]
        sys.orig_argv = list(sys.argv)
        from plastsearch.cli.main import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - whatever a command lets out is what is looked for
        traceback.print_exc()
        code = 1
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


_FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def _limit() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, held + ROOM),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
