"""Counts the clips of a manifest per split, class, attack, speaker and condition, against the published counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.manifest import Manifest
from plastsearch.scores.columns import NONE


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


@dataclass(frozen=True)
class SplitCounts:
    """What a split holds, and what it should hold if that is published."""

    split: str
    clips: int
    bona_fide: int
    attacks: dict[str, int]
    speakers: dict[str, int]
    conditions: dict[str, int]
    expected: Published | None
    differences: tuple[str, ...]

    @property
    def spoof(self) -> int:
        """All that is not bona fide."""
        return self.clips - self.bona_fide

    @property
    def matches(self) -> bool | None:
        """Whether the counts equal the published ones; None if none are."""
        return None if self.expected is None else not self.differences

    def document(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {
            "split": self.split, "clips": self.clips, "bona_fide": self.bona_fide, "spoof": self.spoof,
            "attacks": self.attacks, "speakers": self.speakers, "conditions": self.conditions,
            "matches_published": self.matches, "differences": list(self.differences),
        }  # fmt: skip


def count(manifest: Manifest) -> list[SplitCounts]:
    """One entry per split, and one for all of them where only their sum is published."""
    expected = published(manifest.corpus, manifest.variant)
    counted = [_count(split, table, expected.get(split)) for split, table in manifest.splits.items()]
    if ALL in expected:
        counted.append(_count(ALL, pa.concat_tables(manifest.splits.values()), expected[ALL]))
    return counted


def _count(split: str, table: pa.Table, expected: Published | None) -> SplitCounts:
    bona_fide = int(pc.sum(table["label"]).as_py() or 0)
    attacks, speakers = _values(table, "attack"), _values(table, "speaker")
    differences = _differences(len(table), bona_fide, attacks, len(speakers), expected) if expected else ()
    return SplitCounts(
        split, len(table), bona_fide, attacks, speakers, _values(table, "condition"), expected, differences
    )


def _values(table: pa.Table, column: str) -> dict[str, int]:
    """How often each value occurs, by name; `-` stands for none."""
    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(table[column]).to_pylist()}
    return {name: counts[name] for name in sorted(counts) if name != NONE}


def _differences(
    clips: int, bona_fide: int, attacks: Mapping[str, int], speakers: int, expected: Published
) -> tuple[str, ...]:
    pairs = [("clips", clips, expected.clips)]
    if expected.bona_fide is not None and expected.spoof is not None:
        pairs += [("bona fide", bona_fide, expected.bona_fide), ("spoof", clips - bona_fide, expected.spoof)]
    if expected.speakers is not None:
        pairs.append(("speakers", speakers, expected.speakers))
    if expected.attacks:
        names = sorted({*expected.attacks, *attacks})
        pairs += [(name, attacks.get(name, 0), expected.attacks.get(name, 0)) for name in names]
    return tuple(f"{name}: {found:,} instead of {wanted:,}" for name, found, wanted in pairs if found != wanted)
