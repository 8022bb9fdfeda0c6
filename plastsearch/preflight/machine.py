"""What this process may have of its machine: limits (`ulimit`) too low for a sweep are met before any work."""

import os
import resource
import sys
import tempfile

from plastsearch.errors import PlastsearchError
from plastsearch.words import shown, sized

# PyTorch alone maps 3 GB when it is loaded; below, libraries end the process in the middle of a word.
LEAST_BYTES = {False: 4 << 30, True: 8 << 30}  # with Ray
LEAST_FILES = {False: 64, True: 512}  # Ray keeps sockets and logs of each worker open
_ENOUGH_FILES = 4096


def check_limits(executor: str) -> None:
    """Refuse what cannot work, and take as many open files as this process may have."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    ray = executor != "inline"
    least = LEAST_BYTES[ray]
    if allowed != resource.RLIM_INFINITY and allowed < least:
        raise PlastsearchError(
            f"this process may have {sized(allowed)} of addresses (`ulimit -v`), and PyTorch with its libraries takes "
            f"{sized(least)} of them, used or not; raise that limit, e.g. `ulimit -v unlimited`"
        )
    files = _files()
    if files < LEAST_FILES[ray]:
        other = ", or take --executor inline" if ray else ""
        raise PlastsearchError(
            f"this process may have {files} files open (`ulimit -n`), and {'Ray' if ray else 'a sweep'} "
            f"needs {LEAST_FILES[ray]}; raise that limit, e.g. `ulimit -n {_ENOUGH_FILES}`{other}"
        )
    _look_at_temporary()


def _files() -> int:
    """How many files may be open, after asking for enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return max(soft, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _look_at_temporary() -> None:
    """A TMPDIR that cannot be used is told and forgotten, here and for every process that is started from here."""
    asked = os.environ.get("TMPDIR")
    if asked is None:
        return
    try:
        with tempfile.TemporaryFile(dir=asked):
            return
    except OSError as error:
        del os.environ["TMPDIR"]
        # Python would take another folder without a word, and Ray yet another.
        sys.stderr.write(
            f"Note: TMPDIR={shown(asked)}: cannot be used ({error.strerror or error}); temporary files go to "
            f"{tempfile.gettempdir()}.\n"
        )
