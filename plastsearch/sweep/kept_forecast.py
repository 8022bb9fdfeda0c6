"""Whether the activations that a sweep's frozen arms keep will fit: for the dry run. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plastsearch.data.choice import clip_counts
from plastsearch.spec.config import TrialConfig
from plastsearch.words import sized


@dataclass(frozen=True)
class CachedPrefix:
    """What keeping takes at each cut that is used, and what may be taken on this machine."""

    clips: tuple[int, int]  # training and search-dev
    crops: int
    half: bool  # in float16
    gb: Mapping[str, float]  # cut → training clips at all crops and search-dev clips; less where clips are short
    budget_gb: float
    fit: int  # so many of the cuts fit at once
    none: str = ""  # why nothing is kept

    def text(self) -> str:
        """One line for the terminal."""
        if not self.gb:
            return f"kept activations: none, for {self.none}"
        sizes = sorted(self.gb.values())
        each = sized(1e9 * sizes[0]) + (f" to {sized(1e9 * sizes[-1])}" if sizes[-1] > 1.005 * sizes[0] else "")
        kind = f"{'float16' if self.half else 'float32'}, {self.crops} crop{'s' * (self.crops > 1)}"
        what = f"kept activations ({kind}): {each} a cut, {len(sizes)} cuts"
        allowed = f"{sized(1e9 * self.budget_gb)} here (--cache-max-gb)"
        if self.fit == len(sizes):
            return f"{what}; all fit in {allowed}"
        if self.fit == 0:
            return f"{what}; none fits in {allowed}: frozen parts will be computed in every step"
        return f"{what}; {self.fit} fit in {allowed} at once, those first that save most seconds per GB"


def kept(config: TrialConfig, answer: Mapping[str, Any]) -> CachedPrefix:
    """From what the child that counts has found of bytes, types and disk."""
    clips, crops = clip_counts(config.data), config.data.crops
    changing = "data.augment" if config.data.augment else "data.crops: fresh" if crops == "fresh" else ""
    augmented = f"{changing} makes new waveforms in every epoch" if changing else ""
    found, crops = ({}, 1) if changing or crops == "fresh" else (answer["bytes"], crops)
    items = crops * clips[0] + clips[1]
    gb = {cut: items * size * (0.5 if answer["half"] else 1.0) / 1e9 for cut, size in found.items()}
    budget_gb = answer["budget"] / 1e9
    taken, fit = 0.0, 0
    for size in sorted(gb.values()):
        taken += size
        fit += taken <= budget_gb
    none = "" if gb else augmented or "no part of a network is frozen"
    return CachedPrefix(clips, crops, answer["half"], gb, budget_gb, fit, none)
