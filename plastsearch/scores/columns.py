"""Which column of an ASVspoof protocol, key or score file says what, and the words for both classes."""

from dataclasses import dataclass


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
