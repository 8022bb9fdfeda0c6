"""What was scored so far, kept beside the output `scores.csv` as `.scores.csv.scored`: a run that was stopped goes on.

The first line names the job: the network by its weights, its window, hop and batch. Each further line is one whole
block of clips, so that a run goes on where a block ended. Scores are plain: calibration, prior, threshold, aggregation
and format may change without anything being scored anew. A file that changed since is scored again.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from plastsearch.errors import PlastsearchError
from plastsearch.files import told
from plastsearch.lock import take
from plastsearch.use.model import Model
from plastsearch.use.scoring import Heard, How, batch_of

Stamp = tuple[int, int]  # size and time of change
MOST_WINDOWS = 1 << 24  # of a clip, in a line that somebody may have changed


def journal_of(out: Path) -> Path:
    """Where the journal of an output lies."""
    return out.with_name(f".{out.name}.scored")


def job_of(model: Model, how: How) -> dict[str, object]:
    """What must be equal for a score to be the same."""
    digest = hashlib.blake2b(json.dumps(model.facts.network, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(model.detector.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data.cast("B") if tensor.numel() else b"")
    return {
        "format": 1, "model": model.facts.name, "weights": digest.hexdigest(), "rate_hz": model.rate_hz,
        "window": model.window_samples, "storage": model.facts.storage, "hop_s": how.hop_s,
        "only_first": how.only_first, "batch": batch_of(model, how), "device": model.device.type,
    }  # fmt: skip


class ScoreJournal:
    """An open journal: what it knew, and room for more."""

    def __init__(self, file: BinaryIO, known: dict[str, tuple[Stamp, Heard]]) -> None:
        self._file = file
        self._known = known

    def get(self, path: str) -> Heard | None:
        """What is known of a file that has not changed since."""
        found = self._known.get(path)
        return found[1] if found is not None and found[0] == stamp(path) else None

    def add(self, block: Iterable[Heard]) -> None:
        """One line for a block; clips that cannot be used are left out, to be tried again."""
        rows = []
        for heard in block:
            at = stamp(heard.path)
            if heard.error is None and at is not None:
                rows.append([heard.path, *at, heard.samples, heard.scores])
                self._known[heard.path] = (at, heard)
        if rows:
            self._file.write(json.dumps(rows).encode() + b"\n")
            self._file.flush()


@contextlib.contextmanager
def opened(out: Path, job: dict[str, object], overwrite: bool) -> Iterator[ScoreJournal]:
    """The journal of an output for this process alone; another job's is refused, or begun anew by `overwrite`."""
    path = journal_of(out)
    with told(path):
        if not out.parent.is_dir():
            raise PlastsearchError(f"{out}: {out.parent} is no folder; make it first")
        fresh = not path.exists()
        if fresh and out.exists() and not overwrite:
            raise PlastsearchError(
                f"{out}: is there already, and not by a run that can go on; name another, or --overwrite"
            )
        file = path.open("a+b")
    with file:
        if not take(file.fileno(), path):
            raise PlastsearchError(f"{out}: another process is writing it; wait for it, or name another file")
        known = {} if overwrite else _known(file, out, job)
        if not known:
            file.truncate(0)
            file.write(json.dumps(job).encode() + b"\n")
            file.flush()
        yield ScoreJournal(file, known)


def _known(file: BinaryIO, out: Path, job: dict[str, object]) -> dict[str, tuple[Stamp, Heard]]:
    """The content of a journal up to its last whole line; what a crash cut off is taken away."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(whole)
    head, *lines = content[:whole].splitlines() or [b""]
    found: dict[str, tuple[Stamp, Heard]] = {}
    if not head:
        return found
    try:
        before = json.loads(head)
        if {**before, "model": None} != {**job, "model": None}:  # one network may have two names
            raise PlastsearchError(f"{out}: {_other(before, job)}; name another file, or begin anew with --overwrite")
        for line in lines:
            for path, size, changed, samples, scores in json.loads(line):
                found[str(path)] = ((int(size), int(changed)), _checked(path, samples, scores))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PlastsearchError(
            f"{journal_of(out)}: no journal of a run ({str(error)[:100]}); begin anew with --overwrite"
        ) from None
    return found


def _checked(path: object, samples: object, scores: list[object]) -> Heard:
    values = tuple(float(str(score)) for score in scores)
    if not 0 < len(values) <= MOST_WINDOWS or not all(abs(value) < float("inf") for value in values):
        raise ValueError("scores that are no numbers")
    return Heard(str(path), int(str(samples)), values)


def _other(before: dict[str, object], job: dict[str, object]) -> str:
    """In which words a journal is another job's."""
    names = {
        "weights": "other weights", "window": "another window", "hop_s": "another hop", "batch": "another --batch",
        "only_first": "another set of windows", "device": "another device", "rate_hz": "another rate",
    }  # fmt: skip
    differ = [words for name, words in names.items() if before.get(name) != job.get(name)]
    return f"holds scores of {before.get('model')} by {', '.join(differ) or 'another version'}"


def stamp(path: str) -> Stamp | None:
    """Size and time of change of a file; None where there is none."""
    try:
        at = os.stat(path)  # noqa: PTH116 - of many
    except (OSError, ValueError):
        return None
    return at.st_size, at.st_mtime_ns
