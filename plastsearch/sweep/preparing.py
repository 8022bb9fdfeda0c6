"""The clips of a sweep, generated or decoded before its first trial, in a child process that has all cores.

Without it the first trials would wait for each other's decoding, and a bad evaluation clip would show after the search.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from plastsearch.errors import DataError
from plastsearch.spec.config import DataConfig


class CorpusPreparation:
    """Runs beside whatever else the driver has to start."""

    def __init__(self, configs: Sequence[DataConfig], cache: Path, *, evaluation: bool = False) -> None:
        self._names = ", ".join(dict.fromkeys(config.corpus for config in configs))
        # A file, not a pipe: nobody reads it until the child is gone, and a full pipe would stop the child.
        self._trouble = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the child
        # A process, since decoding imports torch: the driver, which lives as long as the sweep, never does.
        self._child = subprocess.Popen(
            [sys.executable, "-m", "plastsearch.sweep.preparing", str(cache)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._trouble, text=True,
        )  # fmt: skip
        ask = {"configs": [config.model_dump(mode="json") for config in configs], "evaluation": evaluation}
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(ask))
        self._child.stdin.close()

    def wait(self, say: Callable[[str], None]) -> None:
        """Until the clips are there; what is wrong with them is an error before any trial has begun."""
        assert self._child.stdout is not None
        try:
            for line in self._child.stdout:  # how far it is; nothing if all is there already
                say(line.rstrip("\n"))
            if self._child.wait():
                self._trouble.seek(0)
                message = self._trouble.read().strip()
                raise DataError(message if self._child.returncode == 1 else self._broken(message))
        finally:
            self.close()

    def _broken(self, message: str) -> str:
        return f"preparing corpus {self._names} ended with status {self._child.returncode}:\n{message[-2000:]}"

    def close(self) -> None:
        """Leave no process behind; processes that decode for the child end when it is gone, with what they finished."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._trouble.close()


def main() -> int:
    """The child: open every data section once, lines on standard output; 1 if the corpus cannot be used."""
    from plastsearch.data.cache import Decoder
    from plastsearch.data.corpus import open_corpus
    from plastsearch.data.preparing import ProgressLines, prepare_evaluation
    from plastsearch.errors import PlastsearchError

    ask, lines = json.load(sys.stdin), ProgressLines(sys.stdout)
    decoder = Decoder(Path(sys.argv[1]), progress=lines, on_wait=lines.say)
    try:
        for plain in ask["configs"]:
            config = DataConfig.model_validate(plain)
            bad = open_corpus(config, decoder.cache, progress=lines, on_wait=lines.say).bad_clips
            bad += prepare_evaluation(config, decoder) if ask["evaluation"] else 0
            if bad:
                lines.say(f"{config.corpus}: {bad:,} clips cannot be used and are left out (data.on_bad: skip)")
    except PlastsearchError as error:
        sys.stderr.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    try:
        status = main()
    except Exception:  # noqa: BLE001 - 1 means a message for the user, so a bug needs another status
        import traceback

        traceback.print_exc()
        status = 70
    sys.exit(status)
