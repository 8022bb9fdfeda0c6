"""Activations below the lowest place that learns: computed once per clip, shared by epochs and by trials.

    <root>/<key>/values.bin    clips × crops activations, memory-mapped
    <root>/<key>/shape.json    their shape and type, and what they are of

The folder belongs on a disk of the node. It is bounded: the longest unused goes first.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastsearch.spec.config import content_id
from plastsearch.trial.lease import Lease

Rows = NDArray[np.int64]
Parts = Iterator[Tensor]  # activations of consecutive clips, crop by crop: all clips of crop 0, then of crop 1, …

TYPES: dict[str, tuple[np.dtype[Any], torch.dtype]] = {
    "float32": (np.dtype(np.float32), torch.float32),
    "float16": (np.dtype(np.float16), torch.float16),
}


@dataclass(frozen=True)
class PrefixOf:
    """What activations depend on: all of it is in their key."""

    weights: str  # key of the stage whose frozen weights compute them
    cut: str
    clips: str  # the clips' fingerprint
    length_samples: int
    crops: int
    type: str  # float32 | float16
    precision: str  # float32 | bf16 autocast while computing

    @property
    def key(self) -> str:
        return content_id(vars(self), 24)


class KeptActivations:
    """A memory-mapped array [crops × clips, …]; reading copies only the rows asked for."""

    def __init__(self, folder: Path) -> None:
        shape = json.loads((folder / "shape.json").read_text())
        self._clips = int(shape["count"])
        self._values: NDArray[Any] = np.memmap(
            folder / "values.bin", TYPES[shape["type"]][0], "r", shape=tuple(shape["shape"])
        )

    def read(self, rows: Rows, crops: Rows | int = 0) -> Tensor:
        """Activations of these clips in float32."""
        return torch.from_numpy(self._values[rows + self._clips * np.asarray(crops)].astype(np.float32, copy=False))


class PrefixCache:
    """All kept activations of a node."""

    def __init__(self, root: Path, max_bytes: float) -> None:
        self.root = root
        self.max_bytes = max_bytes

    def find(self, of: PrefixOf) -> KeptActivations | None:
        """What is there already."""
        folder = self.root / of.key
        try:
            kept = KeptActivations(folder)
            os.utime(folder)
        except FileNotFoundError:
            return None
        except (KeyError, ValueError):  # cut short by a full or damaged disk: computed again
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return kept

    def make(
        self, of: PrefixOf, clips: int, item_bytes: int, parts: Callable[[], Parts], poll: Callable[[], None]
    ) -> KeptActivations | None:
        """Compute and keep; None if it does not fit. One process computes, others wait (`poll` between looks)."""
        expected = clips * of.crops * item_bytes * TYPES[of.type][0].itemsize // 4
        lease = Lease(self.root / f"{of.key}.lease")
        while not lease.acquire():
            poll()
        try:
            found = self.find(of)
            if found is not None:
                return found
            if not self._make_room(expected):
                return None
            return self._fill(of, clips, parts())
        finally:
            lease.release()

    def _fill(self, of: PrefixOf, clips: int, parts: Parts) -> KeptActivations:
        draft = self.root / f".draft-{uuid.uuid4().hex}"
        draft.mkdir(parents=True)
        try:
            shape: tuple[int, ...] = ()
            with (draft / "values.bin").open("wb") as file:
                for part in parts:
                    shape = tuple(part.shape[1:])
                    file.write(part.to(TYPES[of.type][1]).cpu().contiguous().numpy().tobytes())
            what = {"shape": [clips * of.crops, *shape], "count": clips, **vars(of)}
            (draft / "shape.json").write_text(json.dumps(what))
            draft.rename(self.root / of.key)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return KeptActivations(self.root / of.key)

    def _make_room(self, wanted: int) -> bool:
        """Drop the longest unused until `wanted` bytes fit; what is mapped elsewhere stays readable there."""
        sizes: list[tuple[float, int, Path]] = []
        for path in self.root.iterdir():
            try:
                sizes.append((path.stat().st_mtime, (path / "values.bin").stat().st_size, path))
            except (FileNotFoundError, NotADirectoryError):
                continue  # a lease, or dropped by another process meanwhile
        sizes.sort()
        room = self.max_bytes - sum(size for _, size, _ in sizes)
        disk = shutil.disk_usage(self.root).free
        if wanted > self.max_bytes or wanted > disk + sum(size for _, size, _ in sizes):
            return False
        for _, size, path in sizes:
            if room >= wanted and disk >= wanted:
                break
            shutil.rmtree(path, ignore_errors=True)
            room, disk = room + size, disk + size
        return True
