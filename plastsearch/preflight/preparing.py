"""The clips of a sweep, generated or decoded before its first trial: here, in a child process that has all cores, or
on a worker of a cluster that has no GPU.

Without it the first trials would wait for each other's decoding, and a bad evaluation clip would show after the search.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from plastsearch.errors import DataError, StorageError
from plastsearch.spec.data import DataConfig

MODULE = "plastsearch.preflight.preparing"  # run as a program, see `main`
MAY_PASS = 75  # a file server did not answer, say; so may be whatever kills the child
REFUSED = 65  # the corpus cannot be used, and standard error says why; not 1, with which a traceback ends


class Child(Protocol):
    """Who prepares."""

    def lines(self, say: Callable[[str], None]) -> Iterator[str]:
        """How far it is; nothing if all is there already."""

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it wrote on standard error, after the last line."""

    def close(self) -> None:
        """Leave no process behind."""


class CorpusPreparation:
    """Runs beside whatever else the driver has to start."""

    def __init__(self, configs: Sequence[DataConfig], child: Child) -> None:
        self._names = ", ".join(dict.fromkeys(config.corpus for config in configs))
        self._child = child

    def wait(self, say: Callable[[str], None]) -> None:
        """Until the clips are there; what is wrong with them is an error before any trial has begun."""
        try:
            for line in self._child.lines(say):
                say(line)
            status, trouble = self._child.ended()
            if status:
                if status == REFUSED:
                    raise DataError(trouble.strip())
                raise StorageError(trouble.strip() if status == MAY_PASS else self._broken(status, trouble.strip()))
        finally:
            self.close()

    def _broken(self, status: int, message: str) -> str:
        return f"preparing corpus {self._names} ended with status {status}:\n{message[-2000:]}"

    def close(self) -> None:
        """Leave no process behind; processes that decode for the child end when it is gone, with what they finished."""
        self._child.close()


def request_for(configs: Sequence[DataConfig], *, evaluation: bool) -> str:
    """What the child reads on its standard input."""
    return json.dumps({"configs": [config.model_dump(mode="json") for config in configs], "evaluation": evaluation})


def prepare_here(configs: Sequence[DataConfig], clips: Path, *, evaluation: bool = False) -> CorpusPreparation:
    """In a process of this machine."""
    return CorpusPreparation(configs, _Here(clips, request_for(configs, evaluation=evaluation)))


class _Here:
    """A process, since decoding imports torch: the driver, which lives as long as the sweep, never does."""

    def __init__(self, clips: Path, text: str) -> None:
        # A file, not a pipe: nobody reads it until the child is gone, and a full pipe would stop the child.
        self._trouble = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the child
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(clips)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._trouble, text=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.close()

    def lines(self, say: Callable[[str], None]) -> Iterator[str]:  # noqa: ARG002 - nothing to wait for here
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.rstrip("\n")

    def ended(self) -> tuple[int, str]:
        status = self._process.wait()
        self._trouble.seek(0)
        return status, self._trouble.read()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._trouble.close()


def main() -> int:
    """The child: open every data section once, lines on standard output; REFUSED if the corpus cannot be used."""
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
            # Nothing can be wrong with clips that are generated: finalists have them written when they come.
            ahead = ask["evaluation"] and config.corpus != "synthetic"
            bad += prepare_evaluation(config, decoder) if ahead else 0
            if bad:
                lines.say(f"{config.corpus}: {bad:,} clips cannot be used and are left out (data.on_bad: skip)")
    except PlastsearchError as error:
        sys.stderr.write(str(error))
        return REFUSED if error.permanent else MAY_PASS
    return 0


if __name__ == "__main__":
    try:
        status = main()
    except Exception:  # noqa: BLE001 - 1 means a message for the user, so a bug needs another status
        import traceback

        traceback.print_exc()
        status = 70
    sys.exit(status)
