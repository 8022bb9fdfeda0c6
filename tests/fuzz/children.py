"""Command lines run in forked children with limits: a thousand of them cost what a dozen fresh interpreters would.

The parent imports what commands need, once; each child is its fork, in a session of its own, with its output in files.
"""

import ctypes
import faulthandler
import gc
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

LIMIT_S = 10.0
ROOM = 6 << 30  # bytes of address space beyond what the parent has
LARGEST_FILE = 256 << 20
FILES = 512
CROWDED = 4  # so many times its limit a command may take that hardly gets a processor
INTERRUPTED = 130
READER_GONE = 141  # what a shell calls an end by SIGPIPE


@dataclass(frozen=True)
class Outcome:
    """How a command ended; `status` None: it was still running at the limit, below zero: by that signal."""

    status: int | None
    out: bytes
    err: bytes
    seconds: float
    left: bool = False  # processes of it that outlived it

    @property
    def text(self) -> str:
        """All that it said; what is no UTF-8 by its number."""
        return (self.out + b"\n" + self.err).decode("utf-8", "backslashreplace")


# Surroundings of a command: what is done in its child before it begins. More of them than one never meet.


def _plain() -> None:
    """As most people have it."""


def _c_locale() -> None:
    os.environ.update({"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"})


def _no_home() -> None:
    os.environ.pop("HOME", None)


def _home_is_not_there() -> None:
    os.environ["HOME"] = "/proc/nowhere"


def _no_temporary_folder() -> None:
    os.environ["TMPDIR"] = "/proc/nowhere"


def _no_input() -> None:
    os.close(0)


def _no_output() -> None:
    os.close(1)


def _no_reader() -> None:
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.close(reading)
    os.close(writing)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it


def _read_only() -> None:
    """Nothing may be written but below `out`."""
    for folder, _, _ in os.walk("in"):
        Path(folder).chmod(Path(folder).stat().st_mode & 0o555)
    Path().chmod(0o555)


def _narrow() -> None:
    os.environ["COLUMNS"] = "20"


def _full_disk() -> None:
    handle = os.open("/dev/full", os.O_WRONLY)
    os.dup2(handle, 1)
    os.close(handle)


SURROUNDINGS: dict[str, Callable[[], None]] = {
    "plain": _plain, "C locale": _c_locale, "HOME unset": _no_home, "HOME missing": _home_is_not_there,
    "TMPDIR missing": _no_temporary_folder, "stdin closed": _no_input, "stdout closed": _no_output,
    "| head": _no_reader, "read-only": _read_only, "20 columns": _narrow, "> /dev/full": _full_disk,
}  # fmt: skip
STATUSES = {"| head": (0, 1, 2, READER_GONE)}  # beside 0, 1 and 2


def run(
    arguments: Sequence[str],
    folder: Path,
    stdin: bytes = b"",
    limit_s: float = LIMIT_S,
    around: str = "plain",
    interrupt_s: float | None = None,
) -> Outcome:
    """One `plastsearch` command in a child, where `folder` is the working folder.

    With `interrupt_s` Ctrl-C is typed after so many seconds, and the limit counts from then on.
    """
    gc.freeze()  # what the parent holds, no child needs to look through
    names = {"in": folder / ".stdin", "out": folder / ".stdout", "err": folder / ".stderr"}
    for path in names.values():
        path.write_bytes(b"")
        path.chmod(0o666)
    names["in"].write_bytes(stdin)
    begin = time.monotonic()
    _adopt()
    others = _children()
    child = os.fork()
    if child == 0:
        _be_the_command(arguments, folder, names, around)
    status = _wait(child, limit_s, interrupt_s)
    seconds = time.monotonic() - begin
    left = _end_what_is_left(child, others)
    out, err = names["out"].read_bytes(), names["err"].read_bytes()
    for path in names.values():
        path.unlink()
    return Outcome(status, out, err, seconds, left)


def _wait(child: int, limit_s: float, interrupt_s: float | None) -> int | None:
    handle = os.pidfd_open(child)
    try:
        ended = False
        if interrupt_s is not None:
            ended = _ended(handle, interrupt_s, child)
            for _ in range(2):  # a second time for what first waits for its workers
                if not ended:
                    os.kill(child, signal.SIGINT)
                    ended = _ended(handle, 1.0, child)
        ended = ended or _ended(handle, limit_s, child)
    finally:
        os.close(handle)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if ended else None


def _ended(handle: int, seconds: float, child: int) -> bool:
    """Whether it ended in that time; on a crowded machine it has until it got half of it from a processor."""
    begin = time.monotonic()
    while not select.select([handle], [], [], seconds)[0]:
        if _computed(child) > seconds / 2 or time.monotonic() - begin > CROWDED * seconds:
            return False
    return True


def _computed(child: int) -> float:
    """Seconds that it and what it waited for had of a processor."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _end_what_is_left(group: int, others: set[int]) -> bool:
    """Whether processes of the ended command are still there a moment later; they are ended."""
    for pause in (0.0, 0.05, 0.2, 0.5, 1.0):
        time.sleep(pause)
        found = _children() - others
        if not found and not _is_there(group):
            return False
    if _is_there(group):
        os.killpg(group, signal.SIGKILL)
    while found := _children() - others:  # those of its children come to us when they go
        for one in found:
            os.kill(one, signal.SIGKILL)
            os.waitpid(one, 0)
    return True


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _children() -> set[int]:
    """Processes of ours, those among them that have ended not counted."""
    mine = set()
    for said in Path("/proc/self/task").glob("*/children"):
        mine |= set(map(int, said.read_text().split()))
    return {one for one in mine if not _reaped(one)}


def _reaped(child: int) -> bool:
    """Of one that was left to us and has ended, nothing remains."""
    try:
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            return False
        os.waitpid(child, os.WNOHANG)
    except (FileNotFoundError, ChildProcessError):
        pass
    return True


def _adopt() -> None:
    """Processes whose parents have gone become ours, so that none of a command's escapes."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _be_the_command(arguments: Sequence[str], folder: Path, names: dict[str, Path], around: str) -> NoReturn:
    """In the child."""
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started us in the background
        os.chdir(folder)
        for number, (name, flags) in enumerate((("in", os.O_RDONLY), ("out", os.O_WRONLY), ("err", os.O_WRONLY))):
            handle = os.open(names[name], flags)
            os.dup2(handle, number)
            os.close(handle)
        for name in ("home", "tmp"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name).chmod(0o777)
        os.environ.update({"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "COLUMNS": "120"})
        tempfile.tempdir = None  # it was asked for before
        faulthandler.disable()  # of pytest: its stream is not the child's
        _warn_as_python_does()
        _limit()
        _obey_permissions()
        SURROUNDINGS[around]()
        _open_streams("ascii" if around == "C locale" else "utf-8")
        sys.argv = ["plastsearch", *arguments]
        sys.orig_argv = list(sys.argv)
        from plastsearch.cli.main import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:  # as Python ends then
        code = INTERRUPTED
        traceback.print_exc()
    except BaseException:  # noqa: BLE001 - whatever a command lets out is what is looked for
        traceback.print_exc()
        code = 1
    finally:
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream and not stream.closed:
                    stream.flush()
        except OSError:
            code = code or 120  # as Python ends when its last words are refused
        finally:
            os._exit(code)


def _warn_as_python_does() -> None:
    """The parent may be pytest, to which warnings are errors."""
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))

    warnings.showwarning = show


def _open_streams(encoding: str) -> None:
    """As Python itself does it at its start: None for one that is closed."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        errors = "strict" if name == "stdout" else "backslashreplace" if name == "stderr" else "surrogateescape"
        try:
            os.fstat(number)
        except OSError:
            setattr(sys, name, None)
        else:
            setattr(sys, name, open(number, mode, encoding=encoding, errors=errors))  # noqa: SIM115, PTH123


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


def _obey_permissions() -> None:
    """Root reads and writes whatever it likes; the child shall be refused what its owner refused to everybody."""
    if os.getuid() == 0:
        passes = 0b1110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        held = (ctypes.c_uint32 * 6)()
        libc = ctypes.CDLL(None, use_errno=True)
        libc.capget(header, held)
        for at in range(3):
            held[at] &= ~passes
        if libc.capset(header, held):
            raise OSError(ctypes.get_errno(), "capset")
