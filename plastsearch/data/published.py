"""Clip counts that the corpora's authors publish, to hold a copy on disk against. None: only the total is known."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """What one split should hold."""

    clips: int
    bona_fide: int | None = None
    attacks: dict[str, int] = field(default_factory=dict)
    speakers: int | None = None

    @property
    def spoof(self) -> int | None:
        """The rest."""
        return None if self.bona_fide is None else self.clips - self.bona_fide


def _split(bona_fide: int, spoof: int, speakers: int | None = None, attacks: dict[str, int] | None = None) -> Published:
    return Published(bona_fide + spoof, bona_fide, attacks or {}, speakers)


def _each(first: int, last: int, clips: int) -> dict[str, int]:
    return {f"A{n:02d}": clips for n in range(first, last + 1)}


# In-the-Wild's splits are ours, so its counts are those of all splits together.
ALL = "all"
COUNTS: dict[tuple[str, str | None], dict[str, Published]] = {
    ("asvspoof2019_la", None): {
        "train": _split(2580, 22800, 20, _each(1, 6, 3800)),
        "dev": _split(2548, 22296, 20, _each(1, 6, 3716)),
        "eval": _split(7355, 63882, 67, _each(7, 19, 4914)),
    },
    ("asvspoof2019_pa", None): {
        "train": _split(5400, 48600),
        "dev": _split(5400, 24300),
        "eval": _split(18090, 116640),
    },
    ("asvspoof2021_la", None): {
        "eval": _split(14816, 133360),
        "progress": _split(1676, 14788),
        "hidden": _split(1960, 14966),
    },
    ("asvspoof2021_df", None): {"eval": _split(14869, 519059)},
    ("asvspoof5", None): {
        "train": _split(18797, 163560),
        "dev": _split(31334, 109616),
        "eval": _split(138688, 542086),
    },
    ("fake_or_real", "for-norm"): {
        "train": _split(26941, 26927),
        "dev": _split(5400, 5398),
        "eval": _split(2264, 2370),
    },
    ("fake_or_real", "for-2sec"): {"train": Published(13956), "dev": Published(2826), "eval": Published(1088)},
    ("fake_or_real", "for-rerec"): {"train": Published(10208), "dev": Published(2244), "eval": Published(816)},
    ("in_the_wild", None): {ALL: _split(19963, 11816)},
}


def published(corpus: str, variant: str | None) -> dict[str, Published]:
    """The published counts of a corpus by split; empty if there are none."""
    return COUNTS.get((corpus, variant), {})
