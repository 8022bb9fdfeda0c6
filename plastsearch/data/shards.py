"""The file format of decoded clips: Arrow files with one row per clip, read in place through a memory map.

A row holds the clip's key (a hash of its path, size and time of change), a hash of its samples, their scale and the
samples themselves, or no samples and the reason why the file cannot be used. A shard appears under its name only when
it is complete.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import GCM

from plastsearch.audio import DTYPES, BadAudioError, Samples, Storage, decode
from plastsearch.files import whole_file

FORMAT = 2  # part of every folder's name: a new format never meets old shards
CLIPS_PER_BATCH = 64  # rows held in memory while writing,
SAMPLES_PER_BATCH = 1 << 24  # or fewer of long clips
FIRST_SAMPLES = 1 << 22  # of a buffer that grows
KEY_BYTES = 16
HASH_KEY = b"samples of clips"
HASH_STEP = 1 << 28  # samples; one call takes less than 2^31 bytes
ARROW_TYPES: dict[str, pa.DataType] = {"int16": pa.int16(), "float32": pa.float32()}


@dataclass(frozen=True)
class Job:
    """Clips that one worker decodes into one shard."""

    folder: str
    root: str
    paths: list[str]
    keys: list[bytes]
    rate_hz: int
    storage: Storage


def schema(storage: Storage) -> pa.Schema:
    """The columns of a shard."""
    return pa.schema(
        [
            ("key", pa.binary(KEY_BYTES)),
            ("audio", pa.binary(KEY_BYTES)),  # hash of the stored samples; zeros for a bad file
            ("scale", pa.float32()),
            ("kind", pa.string()),  # null, or why the file cannot be used
            ("detail", pa.string()),
            ("samples", pa.large_list(ARROW_TYPES[storage])),
        ]
    )


class Rows:
    """Clips on their way into a shard: decoded side by side into one buffer, which the next rows use again."""

    def __init__(self, storage: Storage) -> None:
        self.schema = schema(storage)
        self._samples: Samples = np.empty(FIRST_SAMPLES, DTYPES[storage])
        self._clear()

    def _clear(self) -> None:
        self._ends = [0]
        self._columns: dict[str, list[object]] = {name: [] for name in self.schema.names if name != "samples"}

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def full(self) -> bool:
        """Whether it is time to write: many clips, or long ones."""
        return len(self) >= CLIPS_PER_BATCH or self._ends[-1] >= SAMPLES_PER_BATCH

    def room(self, n: int) -> Samples:
        """Where the next clip's samples go; asked again before `add`, it is the same place."""
        start = self._ends[-1]
        if start + n > len(self._samples):
            # twice as large each time: a long clip is not copied again for every one that follows
            grown = np.empty(max(start + n, 2 * len(self._samples)), self._samples.dtype)
            grown[:start] = self._samples[:start]
            self._samples = grown
        return self._samples[start : start + n]

    def add(self, path: str, key: bytes, rate_hz: int, storage: Storage) -> None:
        """Decode one more clip, or note why it cannot be used."""
        kind = detail = None
        try:
            samples, scale = decode(path, rate_hz, storage, self.room)
        except BadAudioError as error:
            # a row all the same: it says that nobody need try this file again
            kind = error.kind
            detail = error.detail
            samples = self.room(0)
            scale = 0.0
        for name, value in (("key", key), ("scale", scale), ("kind", kind), ("detail", detail)):
            self._columns[name].append(value)
        self._ends.append(self._ends[-1] + len(samples))

    def take(self) -> pa.RecordBatch:
        """The rows so far; to be written before the next clip is added, for their samples are not copied."""
        # All at once: in between decoding, the wide vector units that hashing wakes would cost more than the hashing.
        self._columns["audio"] = [
            audio_hash(self._samples[start:end]) if end > start else bytes(KEY_BYTES)
            for start, end in pairwise(self._ends)
        ]
        columns = [pa.array(values, self.schema.field(name).type) for name, values in self._columns.items()]
        kind = self.schema.field("samples").type.value_type
        n = self._ends[-1]
        samples = pa.Array.from_buffers(kind, n, [None, pa.py_buffer(self._samples[:n])])
        lists = pa.LargeListArray.from_arrays(pa.array(self._ends, pa.int64()), samples)
        self._clear()
        return pa.record_batch([*columns, lists], schema=self.schema)


def write_shard(job: Job) -> Iterator[int]:
    """Decode the clips of a job into one shard, a few rows at a time; yields the rows done."""
    folder = Path(job.folder)
    # a name by content: whoever decodes the same clips after a crash replaces the shard rather than doubling it
    name = hashlib.blake2b(b"".join(job.keys), digest_size=12).hexdigest()
    rows = Rows(job.storage)
    with (
        whole_file(folder / f"{name}.arrow") as draft,
        pa.OSFile(str(draft), "wb") as sink,
        pa.ipc.new_file(sink, rows.schema) as writer,
    ):
        for done, (path, key) in enumerate(zip(job.paths, job.keys, strict=True), 1):
            whole = os.path.join(job.root, path)  # noqa: PTH118 - a hundredth of the time is spent on Path
            rows.add(whole, key, job.rate_hz, job.storage)
            if rows.full or done == len(job.keys):
                writer.write_batch(rows.take())
                yield done


def audio_hash(samples: Samples) -> bytes:
    """128 bits by which equal audio is recognised in another file, split or container.

    GMAC under a fixed key: a polynomial of the samples at one point of a field of 2^128 elements. Two clips of n bytes
    that differ, and were not made with the key in mind, share it with a probability of about n / 2^132.
    """
    tag = Cipher(AES128(HASH_KEY), GCM(bytes(12))).encryptor()
    for start in range(0, len(samples), HASH_STEP):
        tag.authenticate_additional_data(samples[start : start + HASH_STEP].data.cast("B"))
    tag.finalize()
    return tag.tag


@dataclass(frozen=True)
class ShardIndex:
    """Where each row of a shard lies: byte position in the file and number of samples."""

    keys: pa.Array
    audio: pa.Array
    kinds: pa.Array
    details: pa.Array
    scale: npt.NDArray[np.float32]
    position: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]


def read_index(path: Path) -> list[ShardIndex]:
    """The rows of a shard without its samples, one part per record batch."""
    with pa.memory_map(str(path)) as source:
        base = source.read_buffer().address
        source.seek(0)
        reader = pa.ipc.open_file(source)
        return [_locate(reader.get_batch(i), base) for i in range(reader.num_record_batches)]


def _locate(batch: pa.RecordBatch, base: int) -> ShardIndex:
    samples = batch.column("samples")
    offsets = samples.offsets.to_numpy()
    values = samples.values
    width = values.type.bit_width // 8
    buffer = values.buffers()[1]
    start = (buffer.address - base if buffer is not None and len(values) else 0) + offsets[:-1] * width
    # copies of the small columns, or an index would keep the whole file mapped
    small = [pa.concat_arrays([batch.column(name)]).take(pa.array(np.arange(len(batch))))
             for name in ("key", "audio", "kind", "detail")]  # fmt: skip
    return ShardIndex(
        small[0], small[1], small[2], small[3], batch.column("scale").to_numpy().copy(), start, np.diff(offsets)
    )
