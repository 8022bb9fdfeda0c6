"""The clips of a corpus, one Arrow table per split, what is wrong with them, and the checks that need no audio."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.errors import DataError
from plastsearch.scores.columns import BONA_FIDE, NONE, SPOOF

KEPT = 1000  # entries kept in detail; a corpus with a million missing files must not make a million objects
SHOWN = 20  # entries an error message prints
ANY_SPLIT = "?"  # of a line whose split cannot be read
IN_TWO_SPLITS = "in two splits"
SAME_AUDIO = "same audio in two splits"


@dataclass(frozen=True)
class Problem:
    """One unusable clip or line; `kind` is the reason without its particulars, for counting."""

    split: str
    source: str  # the protocol, table or folder that names the clip
    line: int  # 0: not from a line
    file: str
    kind: str
    detail: str = ""

    @property
    def reason(self) -> str:
        """Kind and particulars in one phrase."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return f"{place}: {self.file}: {self.reason}" if self.file else f"{place}: {self.reason}"


@dataclass
class Problems:
    """Every problem counted, the first ones kept."""

    entries: list[Problem] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # (split, kind)

    def add(self, problem: Problem) -> None:
        """Count one problem and keep it while there is room."""
        self.counts[problem.split, problem.kind] += 1
        if len(self.entries) < KEPT:
            self.entries.append(problem)

    def count_more(self, split: str, kind: str, n: int) -> None:
        """Count problems that were not worth an object each."""
        if n:
            self.counts[split, kind] += n

    def keep_splits(self, splits: Collection[str]) -> None:
        """Forget what is wrong in splits that nobody asked for, except for clips that they share with others."""
        wanted = {*splits, ANY_SPLIT}
        self.entries = [entry for entry in self.entries if entry.split in wanted or entry.kind == IN_TWO_SPLITS]
        self.counts = Counter({(split, kind): n for (split, kind), n in self.counts.items()
                               if split in wanted or kind == IN_TWO_SPLITS})  # fmt: skip

    @property
    def kinds(self) -> Counter[str]:
        """How many of each kind, over all splits."""
        sums: Counter[str] = Counter()
        for (_, kind), n in self.counts.items():
            sums[kind] += n
        return sums

    def extend(self, other: "Problems") -> None:
        """Take over another list, its uncounted tail included."""
        self.counts.update(other.counts)
        self.entries.extend(other.entries[: KEPT - len(self.entries)])

    def __len__(self) -> int:
        return sum(self.counts.values())

    def text(self, limit: int = SHOWN) -> str:
        """The first problems, one per line, and the sums by kind."""
        lines = [f"  {problem}" for problem in self.entries[:limit]]
        if len(self) > limit:
            sums = ", ".join(f"{n:,} × {kind}" for kind, n in self.kinds.most_common())
            lines.append(f"  … {len(self):,} in all: {sums}")
        return "\n".join(lines)

    def refuse(self, corpus: str, switch: str = "set `data.on_bad: skip`") -> None:
        """Raise when there is any problem, and say how to go on without the clips concerned."""
        if len(self):
            raise DataError(
                f"{corpus}: {len(self):,} clip(s) or line(s) cannot be used:\n{self.text()}\n"
                f"mend them, or {switch} to go on without them (their count goes into every result)"
            )


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
        clip = table["id"][int(i)].as_py()
        line = table["line"][int(i)].as_py()
        manifest.problems.add(Problem(split, manifest.sources[split], line, clip, kind, detail(int(i))))
    manifest.problems.count_more(split, kind, len(where) - min(room, len(where)))
