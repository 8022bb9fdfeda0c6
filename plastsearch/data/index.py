"""The index of a folder of shards: which clips they hold, where these lie, and which cannot be used."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.evaluation import EvaluationKey, require
from plastsearch.data.shards import KEY_BYTES, ShardIndex, read_index
from plastsearch.errors import StorageError

Kind = TypeVar("Kind", bound=np.generic)
NO_AUDIO = pa.scalar(bytes(KEY_BYTES), pa.binary(KEY_BYTES))


@dataclass(frozen=True)
class Located:
    """Where the clips of a request lie, row by row."""

    shards: tuple[str, ...]
    shard: npt.NDArray[np.int32]
    position: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float32]
    audio: pa.Array  # hash of the samples

    def take(self, rows: npt.NDArray[np.int64]) -> "Located":
        """The places of some of the rows."""
        chosen = pa.array(rows)
        return Located(
            self.shards, self.shard[rows], self.position[rows], self.length[rows], self.scale[rows],
            self.audio.take(chosen),
        )  # fmt: skip


@dataclass(frozen=True)
class ClipIndex:
    """Every row of every shard, without samples."""

    split: str
    shards: tuple[str, ...]
    number: tuple[int, ...]  # of the shard that each part belongs to
    parts: tuple[ShardIndex, ...]
    broken: tuple[Path, ...] = ()  # shards that a crash of the machine cut; their clips count as lacking

    @cached_property
    def keys(self) -> pa.Array:
        """The keys of all rows."""
        return self._column("keys", pa.binary(KEY_BYTES))

    def lacks(self, keys: pa.Array) -> npt.NDArray[np.bool_]:
        """Which of these clips the folder does not hold."""
        there: npt.NDArray[np.bool_] = np.asarray(pc.is_in(keys, value_set=self.keys))
        return ~there

    def bad(self, keys: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array, pa.Array]:
        """Which of these clips cannot be used, with the kind of reason and its particulars."""
        row = self._rows(keys)
        kinds = self._column("kinds", pa.string()).take(row)
        where = np.flatnonzero(np.asarray(pc.is_valid(kinds)))
        chosen = pa.array(where)
        return where, kinds.take(chosen), self._column("details", pa.string()).take(row).take(chosen)

    def samples(self, keys: pa.Array) -> int:
        """How many samples these clips have together."""
        lengths = _joined([part.length for part in self.parts], np.int64)
        return int(lengths[pc.drop_null(self._rows(keys)).to_numpy()].sum())

    def audio(self, keys: pa.Array) -> pa.Array:
        """The audio hashes of those of these clips that the folder holds and could decode."""
        there = pc.drop_null(self._rows(keys))
        hashes = self._column("audio", pa.binary(KEY_BYTES)).take(there)
        return hashes.filter(pc.not_equal(hashes, NO_AUDIO))

    def locate(self, keys: pa.Array, key: EvaluationKey | None = None) -> Located:
        """Where these clips lie; all must be there. Of an evaluation split only for the holder of the key."""
        require(self.split, key)
        row = self._rows(keys)
        at = row.to_numpy()
        numbered = zip(self.number, self.parts, strict=True)
        shard = [np.full(len(part.keys), number, np.int32) for number, part in numbered]
        return Located(
            self.shards,
            _joined(shard, np.int32)[at],
            _joined([part.position for part in self.parts], np.int64)[at],
            _joined([part.length for part in self.parts], np.int64)[at],
            _joined([part.scale for part in self.parts], np.float32)[at],
            self._column("audio", pa.binary(KEY_BYTES)).take(row),
        )

    def _rows(self, keys: pa.Array) -> pa.Array:
        return pc.index_in(keys, value_set=self.keys)

    def _column(self, name: str, kind: pa.DataType) -> pa.Array:
        return pa.concat_arrays([getattr(part, name) for part in self.parts]) if self.parts else pa.array([], kind)


def read_clip_index(folder: Path) -> ClipIndex:
    """The index of all complete shards of a folder; an empty one if there is none."""
    shards: list[Path] = []
    broken: list[Path] = []
    parts: list[tuple[int, ShardIndex]] = []
    for path in sorted(folder.glob("*.arrow")):
        try:
            found = read_index(path)
        except FileNotFoundError:
            continue  # whoever prepares this folder has just taken a broken one away
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            if getattr(
                error, "errno", None
            ):  # the system's word, which may pass; Arrow's own complaints have no number
                raise StorageError(f"{path}: cannot be read now ({error}); nothing was deleted") from error
            broken.append(path)
            continue
        parts += [(len(shards), part) for part in found]
        shards.append(path)
    return ClipIndex(
        folder.name.rsplit("-", 2)[1],  # the folder's own word for it, so that no caller can mislabel it
        tuple(str(path) for path in shards),
        tuple(number for number, _ in parts),
        tuple(part for _, part in parts),
        tuple(broken),
    )


def _joined(arrays: list[npt.NDArray[Kind]], dtype: type[Kind]) -> npt.NDArray[Kind]:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)
