"""The lists that name a corpus's clips: tables with named columns, and the protocols of ASVspoof, which have none."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from plastsearch.data.manifest import ANY_SPLIT, KEPT, Manifest, Problem, Problems, keep, label_of, note_rows, rows
from plastsearch.errors import DataError
from plastsearch.files import opened
from plastsearch.scores.columns import NONE, ColumnOrder

SPLIT_WORDS = {
    "train": ("train", "training"),
    "dev": ("dev", "development", "valid", "validation", "val"),
    "eval": ("eval", "evaluation", "test", "testing"),
}
REQUIRED = ("path", "label", "split")
OPTIONAL = ("id", "attack", "speaker")
MOST_HEAD = 1 << 16  # bytes of the line that names a table's columns
SHARES = (("train", 0.6), ("dev", 0.8), ("eval", 1.0))  # In-the-Wild has no splits of its own


def read_table(path: Path, root: Path) -> Manifest:
    """A manifest with the columns path, label, split and optionally id, attack, speaker; paths are below `root`."""
    # two manifests are two corpora, whatever their clips: each has its own folder of decoded ones
    place = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]
    result = Manifest("manifest", root, place, {}, {}, Problems())
    table, lines = _read(path, result.problems)
    table = _words(path, table, REQUIRED, OPTIONAL)
    split = _split_of(table["split"])
    whole = _rows(table, lines)
    result.sources = dict.fromkeys((*SPLIT_WORDS, ANY_SPLIT), str(path))
    fine = np.ones(len(table), bool)
    for kind, bad, column in (
        ("no path", np.asarray(pc.equal(table["path"], "")), "path"),
        ("unknown label", np.asarray(pc.is_null(label_of(table["label"]))), "label"),
        ("unknown split", split == ANY_SPLIT, "split"),
    ):
        note_rows(result, ANY_SPLIT, whole, bad & fine, kind, partial(_quoted, table[column]))
        fine &= ~bad
    for name in SPLIT_WORDS:
        part = keep(whole, fine & (split == name))
        if len(part):
            result.splits[name] = part
    return result


def _quoted(column: pa.ChunkedArray, i: int) -> str:
    return f"'{column[i].as_py()}'"


def _rows(table: pa.Table, lines: np.ndarray) -> pa.Table:
    label = pc.fill_null(label_of(table["label"]), -1)
    columns = {
        "id": table["id"] if "id" in table.column_names else table["path"],
        "path": table["path"],
        "label": label,
        "line": pa.array(lines, pa.int32()),
    }
    attack = table["attack"] if "attack" in table.column_names else pa.scalar("spoof")
    attack = pc.if_else(pc.equal(attack, ""), "spoof", attack)
    columns["attack"] = pc.if_else(pc.equal(label, 1), NONE, attack)
    if "speaker" in table.column_names:
        columns["speaker"] = pc.if_else(pc.equal(table["speaker"], ""), NONE, table["speaker"])
    return rows(columns)


def _split_of(words: pa.ChunkedArray) -> np.ndarray:
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(words))
    split = np.full(len(words), ANY_SPLIT, "<U5")
    for name, spellings in SPLIT_WORDS.items():
        split[np.asarray(pc.is_in(lower, value_set=pa.array(spellings)))] = name
    return split


def _words(path: Path, table: pa.Table, required: Sequence[str], optional: Sequence[str]) -> pa.Table:
    """The columns that are read, as words; each is there at most once."""
    names = table.column_names
    lacking = [name for name in required if name not in names]
    if lacking:
        told = f"; optional: {', '.join(optional)}" if optional else ""
        raise DataError(
            f"{path}: column {', '.join(lacking)} is missing; it has {', '.join(names)}; "
            f"needed: {', '.join(required)}{told}"
        )
    return pa.table({name: _text(path, table, name) for name in (*required, *optional) if name in names})


def _text(path: Path, table: pa.Table, name: str) -> pa.ChunkedArray:
    if table.column_names.count(name) > 1:
        raise DataError(f"{path}: column {name} is there {table.column_names.count(name)} times; keep one")
    column = table[name]
    try:
        return pc.fill_null(column.cast(pa.string()), "")
    except pa.ArrowException:  # lists, records, bytes that are no text
        raise DataError(f"{path}: column {name} holds {column.type}, not words; write it as text") from None


def _read(path: Path, problems: Problems) -> tuple[pa.Table, np.ndarray]:
    """The table and the line of each row; a Parquet row counts from 1."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pq.ParquetFile(path).read()  # a folder of this name is no table
            table.validate(full=True)  # words that are no UTF-8 would show where they are used
            return table, np.arange(1, len(table) + 1)
        return _read_csv(path, problems)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such manifest; name the table of clips with --manifest or `data.manifest`"
        ) from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:300]
        raise DataError(f"{path}: cannot be read as a table: {reason}") from None


def _check_text(path: Path, raw: bytes) -> None:
    """Arrow tells a row that is no text, and has a column too many, by a traceback of its own."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not text in UTF-8; save it as that, or name the right file") from None


def _read_csv(path: Path, problems: Problems) -> tuple[pa.Table, np.ndarray]:
    skipped: list[int] = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        skipped.append(row.number)
        detail = f"{row.actual_columns} columns instead of {row.expected_columns}"
        problems.add(Problem(ANY_SPLIT, str(path), row.number, row.text.strip()[:80], "wrong column count", detail))
        return "skip"

    with opened(path) as file:
        raw = file.read()
    _check_text(path, raw)
    head = raw[:MOST_HEAD].partition(b"\n")[0].decode("utf-8-sig", "replace").strip()
    delimiter = max(",;\t", key=head.count)  # spreadsheets of many countries write semicolons
    names = [name.strip().strip('"') for name in head.split(delimiter)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: column {twice!r} is there {names.count(twice)} times; keep one of each name")
    table = pa_csv.read_csv(
        pa.BufferReader(raw),
        read_options=pa_csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=refuse, ignore_empty_lines=False),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: pa.string() for name in names}, strings_can_be_null=False
        ),
    )
    lines = np.setdiff1d(np.arange(2, len(table) + len(skipped) + 2), np.array(skipped, int), assume_unique=True)
    empty = np.asarray(pc.equal(table[names[0]], "")) & np.asarray(pc.equal(table[names[-1]], ""))
    return (table.filter(pa.array(~empty)), lines[~empty]) if empty.any() else (table, lines)


def read_in_the_wild(folder: Path) -> Manifest:
    """meta.csv (file, speaker, label); the splits are ours, by speaker, for the corpus has none."""
    result = Manifest("in_the_wild", folder, None, {}, {})
    path = folder / "meta.csv"
    table, lines = _read(path, result.problems)
    table = _words(path, table, ("file", "speaker", "label"), ())
    label = label_of(table["label"])
    whole = rows({
        "id": table["file"], "path": table["file"], "label": pc.fill_null(label, -1), "speaker": table["speaker"],
        "attack": pc.if_else(pc.equal(pc.fill_null(label, -1), 1), NONE, "spoof"), "line": pa.array(lines, pa.int32()),
    })  # fmt: skip
    result.sources = dict.fromkeys((*SPLIT_WORDS, ANY_SPLIT), str(path))
    unknown = np.asarray(pc.is_null(label))
    note_rows(result, ANY_SPLIT, whole, unknown, "unknown label", partial(_quoted, table["label"]))
    nameless = np.asarray(pc.equal(table["file"], "")) & ~unknown
    note_rows(result, ANY_SPLIT, whole, nameless, "no file", partial(_quoted, table["file"]))
    whole = keep(whole, ~(unknown | nameless))
    split = split_speakers(whole["speaker"])
    for name, _ in SHARES:
        result.splits[name] = keep(whole, split == name)
    result.notes.append("In-the-Wild publishes no splits: speakers are divided 60/20/20 by a hash of their names")
    return result


def split_speakers(speakers: pa.ChunkedArray) -> np.ndarray:
    """train, dev or eval for each clip: no speaker in two of them, the same division on every machine."""
    codes = speakers.combine_chunks().dictionary_encode()
    names = codes.dictionary.to_pylist()
    counts = np.bincount(codes.indices.to_numpy(), minlength=len(names))
    # by a hash, not by a generator: one more speaker moves only those at the borders of the splits
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode()).digest())
    middle = np.cumsum(counts[order]) - counts[order] / 2
    split = np.empty(len(names), "<U5")
    for i, share in zip(order, middle / max(1, counts.sum()), strict=True):
        split[i] = next(name for name, until in SHARES if share < until or until == 1.0)
    if len(names) >= 3:
        # a few large speakers may leave a split empty: give it the speaker at its end of the order
        for name, i in (("train", order[0]), ("dev", order[-2]), ("eval", order[-1])):
            if not (split == name).any():
                split[i] = name
    chosen: np.ndarray = split[codes.indices.to_numpy()]
    return chosen


ODD_BLANKS = re.compile(rb"[ \t\r\f\v]{2,}|[\t\r\f\v]")  # a single blank, by far the most common, needs no work
NO_ATTACK = pa.array(["bonafide", "bona-fide", ""])


def read_columns(
    path: Path, columns: int, wanted: Iterable[int], example: str, split: str, problems: Problems
) -> tuple[pa.Table, np.ndarray]:
    """The wanted ones of the columns `c0`, `c1`, … of a file as strings, and the line number of each row."""
    try:
        with opened(path) as file:
            raw = file.read()
    except FileNotFoundError:
        raise DataError(f"{path}: no such protocol file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    _check_text(path, raw)
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


def read_protocol(path: Path, order: ColumnOrder, audio: str, suffix: str, split: str, problems: Problems) -> pa.Table:
    """A protocol as a table of clips; `audio` is the folder of its files below the root."""
    table, lines = read_columns(path, order.columns, order.used, order.example, split, problems)
    label = label_of(table[f"c{order.key}"])
    unknown = np.asarray(pc.is_null(label))
    for i in np.flatnonzero(unknown)[:KEPT]:
        word = table[f"c{order.key}"][int(i)].as_py()
        clip = table[f"c{order.id}"][int(i)].as_py()
        detail = f"'{word}' in column {order.key + 1} is neither bonafide nor spoof"
        problems.add(Problem(split, str(path), int(lines[i]), clip, "unknown label", detail))
    ids = table[f"c{order.id}"]
    columns = {
        "id": ids,
        "path": pc.binary_join_element_wise(f"{audio}/", pc.binary_join_element_wise(ids, suffix, ""), ""),
        "label": label,
        "attack": _attack(table[f"c{order.attack}"], label),
        "speaker": table[f"c{order.speaker}"],
        "line": pa.array(lines, pa.int32()),
    }
    if order.condition >= 0:
        columns["condition"] = table[f"c{order.condition}"]
    problems.count_more(split, "unknown label", max(0, int(unknown.sum()) - KEPT))
    result = rows(columns)
    if order.subset >= 0:
        result = result.append_column("subset", table[f"c{order.subset}"])
    return result.filter(pa.array(~unknown)).combine_chunks() if unknown.any() else result


def _attack(words: pa.ChunkedArray, label: pa.Array) -> pa.ChunkedArray:
    """The system's name for spoof, `-` for bona fide (some protocols write `bonafide` there)."""
    none = pc.or_(pc.is_in(words, NO_ATTACK), pc.equal(pc.fill_null(label, 0), 1))
    return pc.if_else(none, NONE, words)
