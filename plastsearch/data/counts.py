"""Counts the clips of a manifest per split, class, attack, speaker and condition, against the published counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from plastsearch.data.manifest import NONE, Manifest
from plastsearch.data.published import ALL, Published, published


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

    def document(self) -> dict[str, Any]:
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
