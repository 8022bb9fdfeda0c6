"""Attempts of one submission: what one of them finds that no other could change ends the next at once.

KubeRay starts the same command on a new cluster whenever it exits with anything but 0, and has no word for "do not try
again": a wrong key in a space would cost as many clusters as the job has retries. So the manifest names its submission
in a variable, an attempt that ends for good leaves a verdict in the sweep's folder, and the next one reads it.
"""

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from plastsearch.errors import PlastsearchError
from plastsearch.execute.autoscaler import GROUPS
from plastsearch.files import whole_file
from plastsearch.version import __version__

SUBMISSION = "PLASTSEARCH_SUBMISSION"
FILE = "verdict.json"
PERMANENT = (2, 3, 4)
_LONGEST = 3000  # characters of a message: a tag of MLflow must hold the whole of it


@dataclass(frozen=True)
class Verdict:
    """Why no further attempt of a submission can do better."""

    submission: str
    inputs: str
    exit_code: int
    message: str
    at: str
    host: str


class JudgedError(PlastsearchError):
    """An earlier attempt of this submission has ended for good."""

    permanent = False  # its own verdict stands already

    def __init__(self, verdict: Verdict, path: Path) -> None:
        self.exit_code = verdict.exit_code
        super().__init__(
            f"an attempt of submission '{verdict.submission}' ended for good at {verdict.at} on {verdict.host}, with "
            f"exit status {verdict.exit_code}, and the same would happen again:\n{verdict.message}\n"
            f"mend that; a changed space, image or set of worker groups is tried by itself, anything else after "
            f"{path} is removed, or under another {SUBMISSION}"
        )


@dataclass(frozen=True)
class Submission:
    """One attempt's view: who it belongs to, and what it was given."""

    word: str
    folder: Path
    inputs: str
    leave: Callable[[str, str], str | None]  # tag → text → trouble: the same word where people look (MLflow)
    left: Callable[[str], str | None]

    @property
    def path(self) -> Path:
        """The file of the verdict."""
        return self.folder / FILE

    @property
    def _tag(self) -> str:
        return f"plastsearch.verdict.{self.word}"

    def end_if_judged(self) -> None:
        """Raise what an earlier attempt was ended by, if that still holds."""
        verdict = self._earlier()
        if verdict is not None and (verdict.submission, verdict.inputs) == (self.word, self.inputs):
            raise JudgedError(verdict, self.path)

    def judge(self, exit_code: int, message: str) -> list[str]:
        """Write down that no further attempt can do better; what could not be written."""
        at = time.strftime("%FT%T%z")
        verdict = Verdict(self.word, self.inputs, exit_code, message[:_LONGEST], at, socket.gethostname())
        text = json.dumps(asdict(verdict), indent=1)
        trouble = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as draft:
                draft.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            trouble.append(f"{self.path} cannot be written ({error.strerror}): the next attempt will try in vain")
        not_left = self.leave(self._tag, text)
        if not_left:
            trouble.append(f"MLflow was not told of the verdict ({not_left})")
        return trouble

    def _earlier(self) -> Verdict | None:
        # The file decides, and may be removed by hand. The tag counts only where there is no looking for the file: a
        # volume that is not mounted is a permanent mistake, too.
        if self.folder.parent.is_dir():
            try:
                text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.is_file() else None
            except OSError:
                return None  # a file server that does not answer now: another try costs less than a sweep
        else:
            text = self.left(self._tag)
        if text is None:
            return None
        try:
            verdict = Verdict(**json.loads(text))
            return verdict if verdict.exit_code in PERMANENT else None
        except (ValueError, TypeError):
            return None  # of another version of this program: as good as none


def submission_of(
    folder: Path, space: Path, overrides: Sequence[str], mlflow: str | None, environment: Mapping[str, str] = os.environ
) -> Submission | None:
    """The submission that this process is an attempt of; None for people, who decide themselves what to try again."""
    word = environment.get(SUBMISSION, "").strip()
    if not word:
        return None
    return Submission(
        word, folder, _inputs(space, overrides, environment), _leaving(mlflow, space.stem), _looking(mlflow, space.stem)
    )


def _inputs(space: Path, overrides: Sequence[str], environment: Mapping[str, str]) -> str:
    """A digest of what may be mended between two attempts, so that nobody has to say that it was."""
    content = space.read_bytes() if space.is_file() else b""
    rest = json.dumps([__version__, list(overrides), environment.get(GROUPS, "")])
    return hashlib.sha256(content + rest.encode()).hexdigest()[:16]


def _leaving(mlflow: str | None, experiment: str) -> Callable[[str, str], str | None]:
    if not mlflow or mlflow == "none":
        return lambda key, text: None  # noqa: ARG005 - a store in the sweep's folder is no more to be had than the file
    from plastsearch.tracking.mlflow_verdict import leave_word

    return lambda key, text: leave_word(mlflow, experiment, key, text)


def _looking(mlflow: str | None, experiment: str) -> Callable[[str], str | None]:
    if not mlflow or mlflow == "none":
        return lambda key: None  # noqa: ARG005
    from plastsearch.tracking.mlflow_verdict import word_left

    return lambda key: word_left(mlflow, experiment, key)
