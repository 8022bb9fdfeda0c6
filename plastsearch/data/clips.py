"""A set of decoded clips, read in place from memory-mapped shards: labels and samples, cheap to pickle and to share."""

import hashlib
import mmap
from collections.abc import Sequence
from copy import copy
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.audio import DTYPES, Samples
from plastsearch.data.evaluation import EvaluationKey, require
from plastsearch.data.index import Located
from plastsearch.errors import DataError

MAPPED_SHARDS = 256  # kept open per process; a descriptor each, far below the usual limit of 1,024
GOLDEN = 0.6180339887498949  # fixed crops spread evenly over the clip, whatever their number; crop 0 is the head

Indices = npt.NDArray[np.int64]
Wave = npt.NDArray[np.float32]


@lru_cache(maxsize=MAPPED_SHARDS)
def _mapped(path: str) -> mmap.mmap:
    try:
        with Path(path).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(
            f"{path}: decoded clips are gone ({error.strerror}); run the command again to prepare them"
        ) from None


class ClipSet:
    """Clips in a fixed order; `labels` are 1 for bona fide and 0 for spoof."""

    def __init__(
        self,
        split: str,
        table: pa.Table,
        located: Located,
        rate_hz: int,
        storage: str,
        key: EvaluationKey | None = None,
    ) -> None:
        require(split, key)
        self.split = split
        self.rate_hz = rate_hz
        self.storage = storage
        self.bad_clips = 0  # left out of an evaluation set; an OpenCorpus counts for its own sets
        self._hold(table, located)

    def _hold(self, table: pa.Table, located: Located) -> None:
        self.table = table
        self._at = located
        self.labels: npt.NDArray[np.int8] = table["label"].to_numpy().astype(np.int8)
        self.lengths: npt.NDArray[np.int64] = located.length
        for name in ("ids", "attacks", "speakers", "fingerprint"):
            self.__dict__.pop(name, None)  # cached for other clips

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        bona = int(self.labels.sum())
        return f"ClipSet({self.split}: {bona:,} bona fide + {len(self) - bona:,} spoof, {self.hours:.2f} h)"

    @property
    def hours(self) -> float:
        """Length of all clips together."""
        return float(self.lengths.sum()) / self.rate_hz / 3600

    # fixed-width text: numpy keeps it in one block, without a Python object per clip
    @cached_property
    def ids(self) -> npt.NDArray[np.str_]:
        """The corpus's own name of each clip."""
        return self._text("id")

    @cached_property
    def attacks(self) -> npt.NDArray[np.str_]:
        """The spoofing system of each clip, `-` for bona fide."""
        return self._text("attack")

    @cached_property
    def speakers(self) -> npt.NDArray[np.str_]:
        """The speaker of each clip, `-` where the corpus does not say."""
        return self._text("speaker")

    @cached_property
    def fingerprint(self) -> str:
        """A hash over ids, labels, attacks and samples: equal only for sets that train and score alike."""
        digest = hashlib.blake2b(f"{self.rate_hz} {self.storage} {len(self)}".encode(), digest_size=16)
        for column in ("id", "label", "attack"):
            for value in pc.cast(self.table[column], pa.string()).to_pylist():
                digest.update(value.encode() + b"\0")
        for value in self._at.audio.to_pylist():
            digest.update(value)
        return digest.hexdigest()

    @property
    def shards(self) -> tuple[str, ...]:
        """The files that hold the samples."""
        return self._at.shards

    def hashes(self) -> pa.Array:
        """One hash per clip over its samples."""
        return self._at.audio

    def select(self, indices: Indices | Sequence[int]) -> Self:
        """The set of these clips, in this order, reading the same shards."""
        rows = np.asarray(indices, np.int64)
        table = self.table.take(pa.array(rows)).combine_chunks()
        chosen = copy(self)  # an open evaluation set stays open without its key
        chosen._hold(table, self._at.take(rows))
        return chosen

    def stored(self, i: int) -> Samples:
        """The samples of clip i as they are stored: a read-only view of the memory map, no copy."""
        at = self._at
        buffer = _mapped(at.shards[int(at.shard[i])])
        return np.frombuffer(buffer, DTYPES[self.storage], int(at.length[i]), int(at.position[i]))

    def wave(self, i: int) -> Wave:
        """The values of clip i; a view if they are stored as float32."""
        samples = self.stored(i)
        if self.storage != "float32":
            samples = samples * self._at.scale[i]
        return samples.astype(np.float32, copy=False)

    def batch(
        self,
        indices: Indices | Sequence[int],
        length_samples: int,
        crop: str | int = "head",
        rng: np.random.Generator | None = None,
    ) -> Wave:
        """Clips cut or repeated to one length, [B, T]; `crop` is head, random (from `rng`) or a fixed crop's number."""
        rows = np.asarray(indices, np.int64)
        room = np.maximum(self.lengths[rows] - length_samples, 0)
        if crop == "head":
            starts = np.zeros(len(rows), np.int64)
        elif crop == "random":
            if rng is None:
                raise ValueError("a random crop needs `rng`")
            starts = rng.integers(0, room, endpoint=True)  # a clip of exactly this length has one start
        elif isinstance(crop, int):
            starts = fixed_starts(room, np.full(len(rows), crop))
        else:
            raise ValueError(f"unknown crop '{crop}'; known: head, random, or a number")
        return self.cut(rows, starts, length_samples)

    def cut(self, rows: Indices, starts: Indices, length_samples: int) -> Wave:
        """Each clip from its start on, repeated from its beginning if it is shorter than wanted, [B, T]."""
        wave_BT = np.empty((len(rows), length_samples), np.float32)
        for target, i, start in zip(wave_BT, rows.tolist(), starts.tolist(), strict=True):
            part = self.stored(i)[start : start + length_samples]
            n = len(part)
            target[:n] = part
            target[:n] *= self._at.scale[i]  # in two steps: a fifth quicker than a product of mixed types
            for position in range(n, length_samples, n):
                target[position : position + n] = target[: min(n, length_samples - position)]
        return wave_BT

    def _text(self, column: str) -> npt.NDArray[np.str_]:
        values = self.table[column].combine_chunks().dictionary_encode()
        if not len(values):
            return np.zeros(0, "<U1")
        words = np.asarray(values.dictionary.to_pylist(), dtype=np.str_)
        chosen: npt.NDArray[np.str_] = words[values.indices.to_numpy()]
        return chosen


def fixed_starts(room: Indices, crop: Indices) -> Indices:
    """Where crop number k of a clip starts, given the room left beside the crop."""
    share = (crop * GOLDEN) % 1.0
    return np.minimum((share * (room + 1)).astype(np.int64), room)
