"""Which column of an ASVspoof protocol, key or score file says what, and the words for both classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class ColumnOrder:
    """Which column of a protocol says what; -1 where a protocol does not say it."""

    columns: int
    example: str
    id: int
    key: int
    speaker: int
    attack: int
    condition: int = -1
    subset: int = -1

    @property
    def used(self) -> set[int]:
        """The columns that are read."""
        return {self.id, self.key, self.speaker, self.attack, self.condition, self.subset} - {-1}


LA_2019 = ColumnOrder(5, "LA_0079 LA_T_1138215 - - bonafide", id=1, key=4, speaker=0, attack=3)
PA_2019 = ColumnOrder(5, "PA_0079 PA_T_0000001 aaa - bonafide", id=1, key=4, speaker=0, attack=3, condition=2)
LA_2021 = ColumnOrder(
    8, "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval", id=1, key=5, speaker=0, attack=4, condition=2, subset=7
)
DF_2021 = ColumnOrder(
    13,
    "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -",
    id=1,
    key=5,
    speaker=0,
    attack=4,
    condition=2,
    subset=7,
)
ASVSPOOF5 = ColumnOrder(
    10, "T_4850 T_0000000000 F - - - AC3 A05 spoof -", id=1, key=8, speaker=0, attack=7, condition=3
)


NONE = "-"  # no attack (bona fide) or no known speaker
BONA_FIDE = frozenset({"bonafide", "bona-fide", "bona_fide", "real", "genuine", "1"})
SPOOF = frozenset({"spoof", "fake", "deepfake", "0"})


@dataclass(frozen=True, eq=False)
class FewWords(Sequence[str]):
    """A column in which the same few words stand again and again: those, sorted, and of each line which it has."""

    different: tuple[str, ...]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, different: Sequence[str], codes: ArrayLike) -> Self:
        """Out of words in any order; those that stand in no line are left out."""
        places = np.asarray(codes, dtype=np.int64)
        used = np.flatnonzero(np.bincount(places, minlength=len(different)))
        names, ranks = np.unique(np.array(different, dtype=np.str_)[used], return_inverse=True)
        new = np.zeros(len(different), dtype=np.int64)
        new[used] = ranks
        return cls(tuple(names.tolist()), new[places])

    def __len__(self) -> int:
        return self.codes.size

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "FewWords": ...
    def __getitem__(self, at: int | slice) -> "str | FewWords":
        return FewWords(self.different, self.codes[at]) if isinstance(at, slice) else self.different[self.codes[at]]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NDArray[np.str_]:
        return np.array(self.different, dtype=np.str_)[self.codes]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def are(self, what: Callable[[str], bool]) -> NDArray[np.bool_]:
        """In which lines that is true of the word."""
        return np.array([what(word) for word in self.different], dtype=np.bool_)[self.codes]

    def replaced(self, word: str, where: NDArray[np.bool_]) -> "FewWords":
        """Another word in some lines."""
        return FewWords.of([*self.different, word], np.where(where, len(self.different), self.codes))


def numbered(words: Sequence[str]) -> FewWords:
    """The same words; those of a column that has been numbered are not looked at again."""
    if isinstance(words, FewWords):
        return words
    return FewWords.of(np.asarray(words, dtype=np.str_).tolist(), np.arange(len(words)))
