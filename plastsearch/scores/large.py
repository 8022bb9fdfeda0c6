"""Large score files and keys by columns: a million lines in a second, as long as each is what it should be.

Where anything is out of the ordinary (a blank too many, a letter that is no ASCII, a mistake) nothing is read here:
rows.py then reads line by line and says what is wrong.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from plastsearch.scores.columns import FewWords
from plastsearch.scores.rows import HEADERS

_LONGEST = 1 << 16  # bytes of a first line
_PART = 1 << 16  # words told at a time
_PLAIN = bytes(range(0x21, 0x7F))
_MARK = b"\xef\xbb\xbf"  # which some editors put before a text in UTF-8
_FEW = pa.dictionary(pa.int32(), pa.string())  # of a column of few different words


class Words(Sequence[str]):
    """A column of words that stay where pyarrow has them: a million Python strings would take 70 MB."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "Words": ...
    def __getitem__(self, at: int | slice) -> "str | Words":
        if isinstance(at, slice):
            return Words(self.array[at])
        found: str = self.array[at].as_py()
        return found

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self.array), _PART):
            part = self.array[first : first + _PART]
            yield from part.to_numpy(zero_copy_only=False)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NDArray[np.str_]:
        return np.array(self.array.to_numpy(zero_copy_only=False), dtype=np.str_)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Words):
            return bool(self.array.equals(other.array))
        return isinstance(other, tuple) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))


class Order(NamedTuple):
    """What is read of a line: a word that stands in no other line, words of which there are few, a finite number."""

    width: int
    once: int
    few: tuple[int, ...] = ()
    number: int | None = None


@dataclass(frozen=True)
class Columns:
    """Those columns that were asked for, by their place in a line."""

    lines: Sequence[int]
    arrays: dict[int, pa.Array]

    def words(self, n: int) -> Words:
        """One column of words."""
        return Words(self.arrays[n])

    def few(self, n: int) -> FewWords:
        """One column of few different words."""
        return FewWords.of(self.arrays[n].dictionary.to_pylist(), self.arrays[n].indices.to_numpy())

    def numbers(self, n: int) -> NDArray[np.float64]:
        """One column of numbers."""
        found: NDArray[np.float64] = self.arrays[n].to_numpy()
        return found

    def where(self, mask: NDArray[np.bool_]) -> "Columns":
        """Some of the lines."""
        chosen = pa.array(mask)
        lines = np.asarray(self.lines)[mask]
        return Columns(tuple(lines.tolist()), {n: array.filter(chosen) for n, array in self.arrays.items()})


def first_words(path: Path) -> list[str]:
    """The words of the first line; none if it is not one of plain words, or of a pipe, which is read only once."""
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST).removeprefix(_MARK)
    except OSError:
        return []
    return line.decode().split() if line.isascii() else []


def columns_of(path: Path, first: Sequence[str], order: Order) -> Columns | None:
    """Those columns of a file that begins with these words; None where a line is not as it should be."""
    headed = first[0].lower() in HEADERS
    kinds = dict.fromkeys(order.few, _FEW) | {order.once: pa.string()}
    if order.number is not None:
        kinds[order.number] = pa.float64()
    # One thread: more would gain little beside what follows, and hold a table each.
    reading = csv.ReadOptions(
        use_threads=False, column_names=[str(n) for n in range(order.width)], skip_rows=int(headed)
    )
    converting = csv.ConvertOptions(
        column_types={str(n): kind for n, kind in kinds.items()}, include_columns=[str(n) for n in kinds],
        null_values=[], strings_can_be_null=False,
    )  # fmt: skip
    content = _plain_content(path)
    if content is None:
        return None
    parsing = csv.ParseOptions(
        delimiter="\t" if b"\t" in content[:_LONGEST] else " ", quote_char=False, double_quote=False,
        escape_char=False, ignore_empty_lines=False,
    )  # fmt: skip
    try:
        table = csv.read_csv(pa.BufferReader(content), reading, parsing, converting)
    except pa.ArrowInvalid:
        return None
    del content
    arrays = {n: _whole(table.column(str(n))) for n in kinds}
    lines = range(1 + headed, 1 + headed + len(table))
    del table
    _give_back()
    if not lines or pc.count_distinct(arrays[order.once]).as_py() < len(lines):
        return None
    _give_back()
    if order.number is not None and not pc.all(pc.is_finite(arrays[order.number])).as_py():
        return None
    return Columns(lines, arrays)


def _plain_content(path: Path) -> bytes | None:
    """What the file holds, if its words are plain and stand one blank apart."""
    try:
        content = path.read_bytes().removeprefix(_MARK)
    except OSError:
        return None
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
    blank = b"\t" if b"\t" in content[:_LONGEST] else b" "
    # Words are what `str.split` finds: none is empty, at neither end of a line.
    odd = content.translate(None, _PLAIN + blank + b"\n") or content[:1] == blank
    return None if odd or any(two in content for two in (blank * 2, b"\n" + blank, blank + b"\n")) else content


def _give_back() -> None:
    """What was only needed on the way: pyarrow would keep it for the next time."""
    pa.default_memory_pool().release_unused()


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    found = column.combine_chunks()
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) else found


def places(of: Words, among: Words, elsewhere: Collection[str]) -> NDArray[np.int64] | None:
    """Where each word stands among others; None if one does not, or another is neither one of these nor `elsewhere`."""
    if of == among:
        return np.arange(len(of))
    found = pc.index_in(of.array, value_set=among.array)
    if found.null_count:
        return None
    if len(among) > len(of):
        others = elsewhere.array if isinstance(elsewhere, Words) else pa.array(list(elsewhere), pa.string())
        if not pc.all(pc.is_in(among.array, value_set=pa.concat_arrays([of.array, others]))).as_py():
            return None
    return found.to_numpy().astype(np.int64)  # type: ignore[no-any-return]
