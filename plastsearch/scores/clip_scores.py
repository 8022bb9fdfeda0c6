"""What a network said of every clip of a split, kept beside the stages: two arms are compared clip by clip.

<store>/scores/<key of the last stage>.<split>.tsv   clip, speaker, attack, label, score

Named by the stage that made the network, so that equal networks share a file and none is taken for another. The files
of finalists that the official tools read are written by finalist.py.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from plastsearch.errors import DataError
from plastsearch.files import whole_file

Split = Literal["search_dev", "evaluation"]
FOLDER = "scores"
HEADER = ["clip", "speaker", "attack", "label", "score"]
LABELS = ("spoof", "bonafide")


class Clips(Protocol):
    """What is known of the clips; a ClipSet has it."""

    @property
    def ids(self) -> Iterable[str]: ...
    @property
    def speakers(self) -> Iterable[str]: ...
    @property
    def attacks(self) -> Iterable[str]: ...
    @property
    def labels(self) -> Iterable[int]: ...


@dataclass(frozen=True)
class ClipScores:
    """The content of one file, in its order."""

    ids: tuple[str, ...]
    speakers: NDArray[np.str_]
    attacks: NDArray[np.str_]
    is_bona: NDArray[np.bool_]
    scores: NDArray[np.float64]


def keep_scores(store: Path, key: str, split: Split, clips: Clips, scores: Iterable[float]) -> Path:
    """Write a network's scores, one line for each clip, replaced in one rename."""
    path = store / FOLDER / f"{key}.{split}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = zip(clips.ids, clips.speakers, clips.attacks, clips.labels, scores, strict=True)
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(HEADER)
        # nine digits give a float32 back exactly
        writer.writerows((*who, LABELS[label], f"{score:.9g}") for *who, label, score in columns)
    return path


def read_clip_scores(path: Path) -> ClipScores:
    """A file that `keep_scores` wrote; anything else is an error that says what is wrong."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file, delimiter="\t")
        if head != HEADER or any(len(row) != len(HEADER) or row[3] not in LABELS for row in rows):
            raise ValueError(f"its lines are not {', '.join(HEADER)}")
        scores = np.array([float(row[4]) for row in rows])
        if not np.isfinite(scores).all():
            raise ValueError("a score is no finite number")
    except (OSError, ValueError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path}: no scores of clips can be read there ({why})") from None
    return ClipScores(
        ids=tuple(row[0] for row in rows),
        speakers=np.array([row[1] for row in rows], dtype=np.str_),
        attacks=np.array([row[2] for row in rows], dtype=np.str_),
        is_bona=np.array([row[3] == LABELS[1] for row in rows], dtype=np.bool_),
        scores=scores,
    )
