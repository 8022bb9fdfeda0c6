"""A set of clips with classes, on which explanations are put to the test: of a protocol, or a sweep's dev set."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plastsearch.data.corpus import open_corpus
from plastsearch.errors import DataError, PlastsearchError
from plastsearch.scores.keys import read_key
from plastsearch.use.model import Model
from plastsearch.use.protocols import located
from plastsearch.use.stages import TrialStages
from plastsearch.use.windows import Wave, cut

UNKNOWN = "-"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Labelled:
    """Clips by number; `wave` reads one, cut to the model's window."""

    source: str  # in words
    ids: NDArray[np.str_]
    is_bona: NDArray[np.bool_]
    attacks: NDArray[np.str_]
    speakers: NDArray[np.str_]
    wave: Callable[[int], Wave]
    whole: int  # how many there are where these were drawn from

    def __len__(self) -> int:
        return len(self.ids)

    def some(self, most: int, seed: int) -> "Labelled":
        """At most so many, half of them of each class where both have enough, attacks in their proportions."""
        if len(self) <= most:
            return self
        rng = np.random.default_rng(seed)
        classes = [rng.permutation(np.flatnonzero(self.is_bona == wanted)) for wanted in (True, False)]
        smaller = min(len(one) for one in classes)
        first = min(most // 2, smaller)
        chosen = [one[: first if len(one) == smaller else most - first] for one in classes]
        rows = np.sort(np.concatenate(chosen))
        return Labelled(
            self.source, self.ids[rows], self.is_bona[rows], self.attacks[rows], self.speakers[rows],
            lambda n: self.wave(int(rows[n])), len(self),
        )  # fmt: skip

    def described(self) -> str:
        """In words, with numbers."""
        bona = int(self.is_bona.sum())
        part = f" ({len(self):,} of {self.whole:,} clips)" if len(self) < self.whole else ""
        return f"{self.source}{part}: {bona:,} bona fide, {len(self) - bona:,} spoofed"


def of_protocol(model: Model, protocol: Path, audio: Path, subset: str | None) -> Labelled:
    """The clips that a protocol lists, found below a folder."""
    key = read_key(protocol, subset)
    paths = located(audio, key)
    unknown = (UNKNOWN,) * len(paths)
    return _checked(
        Labelled(
            str(protocol), np.array(key.ids), key.is_bona, np.array(key.attacks or unknown),
            np.array(key.speakers or unknown), lambda n: cut(model.read(paths[n]), 0, model.window_samples), len(paths),
        )
    )  # fmt: skip


@contextmanager
def of_sweep(model: Model, stages: TrialStages, cache: Path | None, progress: Progress) -> Iterator[Labelled]:
    """The search-dev clips of a sweep, as its trials heard them; decoded anew only where its cache is gone."""
    kept = cache or stages.folder.parent / "cache"
    with tempfile.TemporaryDirectory(prefix="plastsearch-explain-") as temporary:
        place = kept if kept.is_dir() else Path(temporary)
        clips = open_corpus(stages.config.data, place, progress=progress).search_dev
        length = model.window_samples
        yield _checked(
            Labelled(
                f"the search-dev clips of {stages.folder.name}", clips.ids, clips.labels == 1, clips.attacks,
                clips.speakers, lambda n: clips.batch([n], length)[0], len(clips),
            )
        )  # fmt: skip


def _checked(clips: Labelled) -> Labelled:
    if clips.is_bona.all() or not clips.is_bona.any():
        raise DataError(f"{clips.source}: clips of both classes are needed, and there is only one")
    return clips


def pairs(clips: Labelled, most: int, seed: int) -> Sequence[tuple[int, int]]:
    """Bona fide and spoofed clips, two by two: of one speaker where there is such a spoof, each clip at most once."""
    rng = np.random.default_rng(seed)
    left = {int(n) for n in np.flatnonzero(~clips.is_bona)}
    found: list[tuple[int, int]] = []
    for bona in rng.permutation(np.flatnonzero(clips.is_bona)).tolist():
        if not left or len(found) == most:
            break
        same = [n for n in left if clips.speakers[n] == clips.speakers[bona] != UNKNOWN]
        spoof = int(rng.choice(sorted(same or left)))
        left.discard(spoof)
        found.append((bona, spoof))
    if not found:
        raise PlastsearchError(f"{clips.source}: no bona fide clip to join with a spoof")
    return found
