"""The clips of a sweep, generated or decoded before its first trial, in a child process that has all cores.

Without it the first trials would wait for each other's decoding, each with a share of the cores and without a word.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from plastsearch.errors import DataError
from plastsearch.spec.config import DataConfig

QUIET_S = 1.0  # clips that are there already are opened faster: nothing to tell


class Preparing:
    """Runs beside whatever else the driver has to start."""

    def __init__(self, configs: Sequence[DataConfig], cache: Path) -> None:
        self._names = ", ".join(dict.fromkeys(config.corpus for config in configs))
        self._began = time.monotonic()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "plastsearch.search.preparing", str(cache)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps([config.model_dump(mode="json") for config in configs]))
        self._child.stdin.close()
        self._child.stdin = None

    def wait(self, say: Callable[[str], None]) -> None:
        """Until the clips are there; what is wrong with them is an error before any trial has begun."""
        try:
            try:
                out, err = self._child.communicate(timeout=QUIET_S)
            except subprocess.TimeoutExpired:
                say(f"preparing corpus {self._names} …")
                out, err = self._child.communicate()
                say(f"corpus {self._names} is ready after {time.monotonic() - self._began:.0f} s")
        finally:
            self.close()
        if self._child.returncode:
            raise DataError(out.strip() or f"preparing corpus {self._names} failed:\n{err.strip()[-2000:]}")

    def close(self) -> None:
        """Leave no process behind."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.communicate()


def main() -> None:
    """The child: open every data section once; a message on standard output if that fails."""
    from plastsearch.data.corpus import open_corpus
    from plastsearch.errors import PlastsearchError

    try:
        for plain in json.load(sys.stdin):
            open_corpus(DataConfig.model_validate(plain), Path(sys.argv[1]))
    except PlastsearchError as error:
        sys.stdout.write(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
