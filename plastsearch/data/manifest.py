"""The table of clips of a corpus: one Arrow table per split, and the checks that need no audio. No torch here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.problems import IN_TWO_SPLITS, KEPT, Problem, Problems
from plastsearch.scores.columns import BONA_FIDE, NONE, SPOOF

SPLITS = ("train", "dev", "eval")  # 2021 adds `progress` and `hidden`

ROWS = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),  # below the corpus root, or absolute
        ("label", pa.int8()),  # 1 = bona fide, 0 = spoof
        ("attack", pa.string()),
        ("speaker", pa.string()),
        ("condition", pa.string()),  # environment (PA), codec (2021, ASVspoof 5)
        ("line", pa.int32()),
    ]
)


@dataclass
class Manifest:
    """The splits of one corpus as its protocols say, with everything that is wrong in them."""

    corpus: str
    root: Path
    variant: str | None
    splits: dict[str, pa.Table]
    sources: dict[str, str]  # split → the file or folder that lists it
    problems: Problems = field(default_factory=Problems)
    notes: list[str] = field(default_factory=list)


def rows(columns: dict[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """A table in the common schema; absent optional columns are filled with `-`."""
    n = len(columns["id"])
    absent = pa.array([NONE], pa.string()).take(pa.array(np.zeros(n, np.int64)))
    return pa.table({name: columns.get(name, absent) for name in ROWS.names}).cast(ROWS).combine_chunks()


def label_of(words: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Key words → 1 (bona fide), 0 (spoof) or null (unknown word)."""
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(words))
    bona = pc.is_in(lower, pa.array(sorted(BONA_FIDE)))
    known = pc.or_(bona, pc.is_in(lower, pa.array(sorted(SPOOF))))
    label = pc.if_else(known, pc.cast(bona, pa.int8()), pa.scalar(None, pa.int8()))
    return label.combine_chunks() if isinstance(label, pa.ChunkedArray) else label


def keep(table: pa.Table, mask: np.ndarray) -> pa.Table:
    """The rows where the mask holds, in one chunk."""
    return table if mask.all() else table.filter(pa.array(mask)).combine_chunks()


def check_ids(manifest: Manifest, splits: Iterable[str] | None = None) -> None:
    """Drop duplicated ids and files that are in two splits from the tables, and note them as problems."""
    before: dict[str, pa.Table] = {}
    for split in splits if splits is not None else list(manifest.splits):
        table = manifest.splits[split]
        mask = _first_of_each(manifest, split, table)
        for earlier, other in before.items():
            mask &= _not_in(manifest, split, table, earlier, other)
        manifest.splits[split] = table = keep(table, mask)
        before[split] = table


def _first_of_each(manifest: Manifest, split: str, table: pa.Table) -> np.ndarray:
    codes = pc.dictionary_encode(table["id"]).combine_chunks().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    mask = np.zeros(len(table), bool)
    mask[first] = True
    if not mask.all():
        lines = table["line"].to_numpy()
        first_line = lines[first][codes]
        labels = table["label"].to_numpy()
        first_label = labels[first][codes]

        def detail(i: int) -> str:
            other = "" if labels[i] == first_label[i] else ", with the other label"
            return f"already on line {first_line[i]}{other}" if first_line[i] else f"listed twice{other}"

        note_rows(manifest, split, table, ~mask, "duplicated id", detail)
    return mask


def _not_in(manifest: Manifest, split: str, table: pa.Table, earlier: str, other: pa.Table) -> np.ndarray:
    twice = np.zeros(len(table), bool)
    for column in ("id", "path"):
        twice |= np.asarray(pc.is_in(table[column], value_set=other[column].combine_chunks()))
    if twice.any():
        note_rows(manifest, split, table, twice, IN_TWO_SPLITS, lambda _: f"also in {earlier}")
    return ~twice


def note_rows(
    manifest: Manifest, split: str, table: pa.Table, bad: np.ndarray, kind: str, detail: Callable[[int], str]
) -> None:
    """Note the marked rows of a split as problems of one kind."""
    room = max(0, KEPT - len(manifest.problems.entries))
    where = np.flatnonzero(bad)
    for i in where[:room]:
        clip, line = table["id"][int(i)].as_py(), table["line"][int(i)].as_py()
        manifest.problems.add(Problem(split, manifest.sources[split], line, clip, kind, detail(int(i))))
    manifest.problems.count_more(split, kind, len(where) - min(room, len(where)))
