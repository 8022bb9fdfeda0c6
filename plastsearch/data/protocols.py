"""Protocol and key files of ASVspoof 2019, 2021 and 5: columns, labels and line numbers, read without Python rows."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from plastsearch.data.manifest import label_of, rows
from plastsearch.data.problems import KEPT, Problem, Problems
from plastsearch.errors import DataError
from plastsearch.scores.columns import NONE, ProtocolLayout

ODD_BLANKS = re.compile(rb"[ \t\r\f\v]{2,}|[\t\r\f\v]")  # a single blank, by far the most common, needs no work
NO_ATTACK = pa.array(["bonafide", "bona-fide", ""])


def read_columns(
    path: Path, columns: int, wanted: Iterable[int], example: str, split: str, problems: Problems
) -> tuple[pa.Table, np.ndarray]:
    """The wanted ones of the columns `c0`, `c1`, … of a file as strings, and the line number of each row."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such protocol file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    text = ODD_BLANKS.sub(b" ", raw.removeprefix(b"\xef\xbb\xbf"))
    text = text.replace(b" \n", b"\n").replace(b"\n ", b"\n").strip(b" ").rstrip(b" \n")
    if not text:
        raise DataError(f"{path}: the protocol is empty; expected lines like `{example}`")
    skipped: list[int] = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        skipped.append(row.number)
        if row.text.strip():
            detail = f"{row.actual_columns} columns instead of {columns} (`{example}`)"
            problems.add(Problem(split, str(path), row.number, row.text.strip()[:80], "wrong column count", detail))
        return "skip"

    names = [f"c{i}" for i in range(columns)]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text + b"\n"),
            read_options=pa_csv.ReadOptions(column_names=names, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=" ", quote_char=False, ignore_empty_lines=False, invalid_row_handler=refuse
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                include_columns=[f"c{i}" for i in sorted(wanted)],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a protocol ({error}); expected lines like `{example}`") from None
    lines = np.setdiff1d(np.arange(1, len(table) + len(skipped) + 1), np.array(skipped, int), assume_unique=True)
    empty = np.asarray(pc.equal(table[table.column_names[0]], ""))
    if empty.any():
        table, lines = table.filter(pa.array(~empty)), lines[~empty]
    if not len(table):
        raise DataError(f"{path}: no line has {columns} columns; expected lines like `{example}`")
    return table.combine_chunks(), lines


def read_protocol(
    path: Path, layout: ProtocolLayout, audio: str, suffix: str, split: str, problems: Problems
) -> pa.Table:
    """A protocol as a table of clips; `audio` is the folder of its files below the root."""
    table, lines = read_columns(path, layout.columns, layout.used, layout.example, split, problems)
    label = label_of(table[f"c{layout.key}"])
    unknown = np.asarray(pc.is_null(label))
    for i in np.flatnonzero(unknown)[:KEPT]:
        word, clip = table[f"c{layout.key}"][int(i)].as_py(), table[f"c{layout.id}"][int(i)].as_py()
        detail = f"'{word}' in column {layout.key + 1} is neither bonafide nor spoof"
        problems.add(Problem(split, str(path), int(lines[i]), clip, "unknown label", detail))
    ids = table[f"c{layout.id}"]
    columns = {
        "id": ids,
        "path": pc.binary_join_element_wise(f"{audio}/", pc.binary_join_element_wise(ids, suffix, ""), ""),
        "label": label,
        "attack": _attack(table[f"c{layout.attack}"], label),
        "speaker": table[f"c{layout.speaker}"],
        "line": pa.array(lines, pa.int32()),
    }
    if layout.condition >= 0:
        columns["condition"] = table[f"c{layout.condition}"]
    problems.count_more(split, "unknown label", max(0, int(unknown.sum()) - KEPT))
    result = rows(columns)
    if layout.subset >= 0:
        result = result.append_column("subset", table[f"c{layout.subset}"])
    return result.filter(pa.array(~unknown)).combine_chunks() if unknown.any() else result


def _attack(words: pa.ChunkedArray, label: pa.Array) -> pa.ChunkedArray:
    """The system's name for spoof, `-` for bona fide (some protocols write `bonafide` there)."""
    none = pc.or_(pc.is_in(words, NO_ATTACK), pc.equal(pc.fill_null(label, 0), 1))
    return pc.if_else(none, NONE, words)
