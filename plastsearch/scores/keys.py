"""What is true of each scored clip: protocols and key files of any ASVspoof edition, and the verifier's scores."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plastsearch.errors import DataError
from plastsearch.scores.columns import ASVSPOOF5, BONA_FIDE, DF_2021, LA_2019, LA_2021, NONE, SPOOF, ColumnOrder
from plastsearch.scores.rows import HEADERS, Mistakes, Row, chosen, is_large, numbers, of_width, once, read_rows
from plastsearch.scores.tdcf import VerifierErrors, verifier_errors

if TYPE_CHECKING:
    from plastsearch.scores.large import Columns, Order

PA_2021 = ColumnOrder(
    12, "PA_0010 PA_E_1000001 R1 M1 d1 r1 m1 s1 c1 spoof notrim eval", id=1, key=9, speaker=0, attack=-1, subset=11
)
IN_SCORES = ColumnOrder(4, "LA_E_2834763 A11 spoof -1.25", id=0, key=2, speaker=-1, attack=1)  # a 2019 score file
NAMED_5 = ColumnOrder(2, "E_0000001 bonafide", id=0, key=1, speaker=-1, attack=-1)  # ASVspoof 5, below a header
KEYS = {order.columns: order for order in (LA_2019, LA_2021, DF_2021, PA_2021, ASVSPOOF5)}
MOST_USED = "eval"  # the subset that 2021 is judged on


@dataclass(frozen=True)
class Key:
    """Clips with their class; `elsewhere` are those of subsets that were not asked for."""

    source: Path
    ids: Sequence[str]
    lines: Sequence[int]
    is_bona: NDArray[np.bool_]
    attacks: Sequence[str] | None
    speakers: Sequence[str] | None
    elsewhere: Collection[str] = frozenset()


def is_header(words: Sequence[str]) -> bool:
    """Whether a first line names its columns."""
    return bool(words) and words[0].lower() in HEADERS


def read_key(path: Path, subset: str | None = None) -> Key:
    """A protocol or key, told apart by its number of columns; `subset` chooses by the last column of 2021's."""
    if is_large(path) and (found := _by_columns(Path(path), subset)) is not None:
        return found
    rows = read_rows(path)
    if rows and is_header(rows[0][1]):
        return key_of(path, rows[1:], NAMED_5, subset)
    order = KEYS.get(len(rows[0][1])) if rows else None
    if order is None:
        known = "; ".join(f"{columns} (`{one.example}`)" for columns, one in sorted(KEYS.items()))
        what = f"{path}:{rows[0][0]}: {len(rows[0][1])} columns" if rows else f"{path}: it is empty"
        raise DataError(f"{what}; protocols that are known have {known}, or a header `filename cm-label`")
    return key_of(path, rows, order, subset)


def _by_columns(path: Path, subset: str | None) -> Key | None:
    from plastsearch.scores.large import columns_of, first_words

    first = first_words(path)
    order = NAMED_5 if is_header(first) else KEYS.get(len(first))
    columns = None if order is None else columns_of(path, first, large_order(order))
    return None if order is None or columns is None else key_of_columns(path, columns, order, subset)


def large_order(order: ColumnOrder, number: int | None = None) -> "Order":
    """The columns that a key is made of, and one of numbers."""
    from plastsearch.scores.large import Order

    few = tuple(n for n in (order.key, order.attack, order.speaker, order.subset) if n >= 0)
    return Order(order.columns, order.id, few, number)


def key_of_columns(path: Path, columns: "Columns", order: ColumnOrder, subset: str | None = None) -> Key | None:
    """The key in a large file; None where a class is unknown, or none is of the subset that was asked for."""
    if not columns.few(order.key).are(_known).all() or (order.subset < 0 and subset is not None):
        return None
    elsewhere: Collection[str] = frozenset()
    if order.subset >= 0:
        wanted = subset or MOST_USED
        of_subset = columns.few(order.subset).are(lambda word: word == wanted)
        if not of_subset.any():
            return None
        if not of_subset.all():
            elsewhere = columns.where(~of_subset).words(order.id)
            columns = columns.where(of_subset)
    is_bona = columns.few(order.key).are(_bona_fide)
    return Key(
        source=path,
        ids=columns.words(order.id),
        lines=columns.lines,
        is_bona=is_bona,
        attacks=None if order.attack < 0 else columns.few(order.attack).replaced(NONE, is_bona),
        speakers=None if order.speaker < 0 else columns.few(order.speaker),
        elsewhere=elsewhere,
    )


def _known(word: str) -> bool:
    return word.lower() in BONA_FIDE | SPOOF


def _bona_fide(word: str) -> bool:
    return word.lower() in BONA_FIDE


def key_of(path: Path, rows: Sequence[Row], order: ColumnOrder, subset: str | None = None) -> Key:
    """Rows of one order as a key."""
    mistakes = Mistakes()
    rows = of_width(path, rows, order.columns, order.example, mistakes)
    once(path, rows, order.id, mistakes)
    chosen(path, rows, order.key, _known, "bonafide or spoof", mistakes)
    mistakes.raise_any()
    wanted, elsewhere = _of_subset(path, rows, order, subset)
    is_bona = np.array([_bona_fide(words[order.key]) for _, words in wanted], dtype=np.bool_)

    def column(n: int) -> tuple[str, ...] | None:
        return None if n < 0 else tuple(words[n] for _, words in wanted)

    attacks = column(order.attack)
    if attacks is not None:
        attacks = tuple(NONE if bona else name for bona, name in zip(is_bona, attacks, strict=True))
    return Key(
        source=Path(path),
        ids=tuple(words[order.id] for _, words in wanted),
        lines=tuple(line for line, _ in wanted),
        is_bona=is_bona,
        attacks=attacks,
        speakers=column(order.speaker),
        elsewhere=frozenset(words[order.id] for _, words in elsewhere),
    )


def _of_subset(path: Path, rows: list[Row], order: ColumnOrder, subset: str | None) -> tuple[list[Row], list[Row]]:
    if order.subset < 0:
        if subset is not None:
            raise DataError(f"{path}: this kind of protocol has no subsets; leave out --subset {subset}")
        return rows, []
    wanted = subset or MOST_USED
    names = sorted({words[order.subset] for _, words in rows})
    if wanted not in names:
        raise DataError(f"{path}: no clip is of subset '{wanted}'; it has {', '.join(names)}")
    split: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        split[row[1][order.subset] != wanted].append(row)
    return split


KINDS = ("target", "nontarget", "spoof")  # trials of a speaker verifier


def read_verifier(scores: Path, key: Path | None = None, subset: str | None = None) -> VerifierErrors:
    """The speaker verifier's error rates: 2019's file holds its keys, 2021's has them in a file of the same order."""
    mistakes = Mistakes()
    rows = of_width(
        scores, read_rows(scores), 3, "A07 spoof -1.25" if key is None else "LA_0004 LA_E_1 -1.25", mistakes
    )
    values = np.array(numbers(scores, rows, 2, mistakes))
    kinds = np.array(
        _kinds(scores, rows, 1, mistakes) if key is None else _kinds_apart(key, len(rows), subset, mistakes)
    )
    mistakes.raise_any()
    lacking = [kind for kind in KINDS if kind not in kinds]
    if lacking:
        where = str(scores) if key is None else f"{key} (subset {subset or MOST_USED})"
        raise DataError(f"{where}: no {lacking[0]} trials of the verifier; its error rates need {', '.join(KINDS)}")
    return verifier_errors(*(values[kinds == kind] for kind in KINDS))


def _kinds(path: Path, rows: Sequence[Row], column: int, mistakes: Mistakes) -> list[str]:
    return chosen(path, rows, column, KINDS.__contains__, "target, nontarget or spoof", mistakes)


def _kinds_apart(path: Path, count: int, subset: str | None, mistakes: Mistakes) -> list[str]:
    rows = of_width(path, read_rows(path), 8, "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval", mistakes)
    if len(rows) != count:
        raise DataError(f"{path}: {len(rows)} rows for {count} verifier scores; both files have the same order")
    kinds = _kinds(path, rows, 5, mistakes)
    wanted = subset or MOST_USED
    return [kind if words[7] == wanted else "elsewhere" for kind, (_, words) in zip(kinds, rows, strict=True)]
