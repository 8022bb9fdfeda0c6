"""Whether relevance is worth looking at: deletion against chance over a set of clips, and a splice to be found.

Both are asked of the same cells for every method and for chance: an eighth of the bands by a tenth of a second, since
large connected patches and single pixels scattered about are not equally hard to do without.

Axes: F rows, L frames, G cells, Q shares deleted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastsearch.explain.clips import Labelled
from plastsearch.explain.inputs import Inputs
from plastsearch.explain.relevance import MethodName, Relevance
from plastsearch.scores.bootstrap import LEVEL
from plastsearch.scores.metrics import LEAST_SPEAKERS, Floats
from plastsearch.use.windows import Wave, cut

BANDS = 8
CELL_S = 0.1
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
RANDOM_ORDERS = 4
REPLICATES = 2000
JOIN_S = 0.1  # left out on either side of a splice: frames there hear both halves
FADE_S = 0.01
# What the lower end of an interval must reach to be called strong.
STRONG_SHARE = 0.1  # of what deleting everything takes
STRONG_AUC = 0.7

Explain = Callable[[Tensor], Relevance]
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Interval:
    """A mean over clips with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Deletion:
    """How the score for the model's own decision falls when cells go, by relevance and by chance."""

    method: MethodName
    clips: int
    shares: tuple[float, ...]
    by_relevance: Floats  # [Q]: mean score for the decision
    by_chance: Floats
    difference: tuple[Interval, ...]  # chance minus relevance, paired by clip
    area: Interval  # between the curves, in logits
    span: float  # logits that deleting everything takes, mean over clips
    over: str  # what was resampled

    @property
    def finding(self) -> str:
        """In a word: strong, weak, none, or against."""
        if self.area.high < 0:
            return "against"
        if self.area.low <= 0:
            return "none"
        return "strong" if self.area.low >= STRONG_SHARE * abs(self.span) else "weak"

    @property
    def words(self) -> str:
        """What this is evidence of."""
        one = self.area
        size = f"{one.mean:+.2f} logits [{one.low:+.2f}, {one.high:+.2f}]"
        match self.finding:
            case "strong":
                return f"deleting what it marks costs the decision more than deleting at random ({size})"
            case "weak":
                return f"deleting what it marks costs the decision hardly more than deleting at random ({size})"
            case "none":
                return f"no evidence: deleting what it marks is not shown to cost more than deleting at random ({size})"
            case _:
                return f"misleading: deleting at random costs the decision MORE than deleting what it marks ({size})"


@dataclass(frozen=True)
class Splice:
    """Whether relevance for a spoof lies in the spoofed half of joined clips."""

    method: MethodName
    pairs: int
    area: Interval  # under the ROC curve over frames, mean over pairs
    over: str
    profile_spoof_last: Floats  # mean relevance for a spoof along the clip, spoof in the second half
    profile_spoof_first: Floats

    @property
    def finding(self) -> str:
        """In a word: strong, weak, none, or against."""
        if self.area.high < 0.5:
            return "against"
        if self.area.low <= 0.5:
            return "none"
        return "strong" if self.area.low >= STRONG_AUC else "weak"

    @property
    def words(self) -> str:
        """What this is evidence of."""
        one = self.area
        size = f"AUC over frames {one.mean:.2f} [{one.low:.2f}, {one.high:.2f}], chance 0.50"
        match self.finding:
            case "strong":
                return f"it finds the spoofed half ({size})"
            case "weak":
                return f"it leans towards the spoofed half, too little to trust it with a place ({size})"
            case "none":
                return f"no evidence: it does not tell the spoofed half from the other ({size})"
            case _:
                return f"misleading: it marks the bona fide half as spoofed ({size})"


def cells_of(shape: tuple[int, int], rows: int, window_s: float) -> NDArray[np.int64]:
    """The cell of every input, [F, L]: bands only where the relevance has rows."""
    bands, frames = shape
    columns = max(2, round(window_s / CELL_S))
    column_L = np.arange(frames) * columns // frames
    band_F = np.arange(bands) * (min(BANDS, bands) if rows > 1 else 1) // bands
    cells: NDArray[np.int64] = band_F[:, None] * columns + column_L
    return cells


def in_cells(map_FL: Tensor, cells_FL: NDArray[np.int64]) -> Floats:
    """Relevance added up in each cell."""
    map_full = map_FL.double().cpu().numpy()
    cells = cells_FL if map_full.shape[0] > 1 else cells_FL[:1]
    return np.bincount(cells.ravel(), map_full.ravel(), minlength=int(cells_FL.max()) + 1).astype(np.float64)


def deletion(
    inputs: Inputs, explain: Explain, method: MethodName, clips: Labelled, threshold: float, window_s: float, seed: int,
    device: torch.device, tick: Tick,
) -> Deletion:  # fmt: skip
    """Delete the most relevant cells first, of every clip, and random ones beside."""
    by_relevance, by_chance = [], []
    for n in range(len(clips)):
        input_FL = inputs.read(torch.from_numpy(clips.wave(n))[None].to(device))[0]
        found = explain(input_FL)
        cells_FL = cells_of((input_FL.shape[0], input_FL.shape[1]), found.map.shape[0], window_s)
        with torch.no_grad():
            sign = 1.0 if float(inputs.logit(input_FL[None])) >= threshold else -1.0
        towards_G = sign * in_cells(found.map, cells_FL)
        # Of each clip the same random orders whoever asks, so that methods meet the same chance.
        rng = np.random.default_rng([seed, n])
        orders = [
            np.argsort(-towards_G, kind="stable"),
            *(rng.permutation(len(towards_G)) for _ in range(RANDOM_ORDERS)),
        ]
        curves = sign * _curves(inputs, input_FL, cells_FL, orders)
        by_relevance.append(curves[0])
        by_chance.append(curves[1:].mean(0))
        tick(n + 1)
    relevant, chance = np.stack(by_relevance), np.stack(by_chance)
    units, over = _units(clips.speakers)
    gaps = chance - relevant
    areas = np.trapezoid(chance - relevant, SHARES, axis=1)
    return Deletion(
        method, len(clips), SHARES, relevant.mean(0), chance.mean(0),
        tuple(interval(gaps[:, at], units, seed) for at in range(len(SHARES))), interval(areas, units, seed),
        float((relevant[:, 0] - relevant[:, -1]).mean()), over,
    )  # fmt: skip


def _curves(
    inputs: Inputs, input_FL: Tensor, cells_FL: NDArray[np.int64], orders: Sequence[NDArray[np.int64]]
) -> Floats:
    """Scores with growing shares of the cells held still, [orders, Q]."""
    cells = torch.from_numpy(cells_FL).to(input_FL.device)
    still_FL = inputs.held_still(input_FL[None])[0]
    found = []
    for order in orders:
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        rank_FL = torch.from_numpy(rank).to(input_FL.device)[cells]
        gone = [round(share * len(order)) for share in SHARES]
        batch = torch.stack([torch.where(rank_FL < count, still_FL, input_FL) for count in gone])
        with torch.no_grad():
            found.append(inputs.logit(batch).double().cpu().numpy())
    return np.stack(found)


def splice(
    inputs: Inputs, explain: Explain, method: MethodName, clips: Labelled, joined: Sequence[tuple[int, int]],
    rate_hz: int, window_samples: int, seed: int, device: torch.device, tick: Tick,
) -> Splice:  # fmt: skip
    """Join half a bona fide and half a spoofed clip, either first, and ask where relevance for a spoof lies."""
    areas: list[float] = []
    last: list[Floats] = []
    first: list[Floats] = []
    for number, (bona, spoof) in enumerate(joined, 1):
        halves = [cut(clips.wave(n), 0, window_samples // 2) for n in (bona, spoof)]
        both = []
        for spoof_first in (False, True):
            wave = join(halves[::-1] if spoof_first else halves, window_samples, round(FADE_S * rate_hz))
            input_FL = inputs.read(torch.from_numpy(wave)[None].to(device))[0]
            towards_L = -explain(input_FL).map.sum(0).double().cpu().numpy()
            both.append(_found(towards_L, spoof_first, window_samples / rate_hz))
            (first if spoof_first else last).append(towards_L)
        # Either order once: whoever always listens to the beginning gains as much as it loses.
        areas.append(sum(both) / 2)
        tick(number)
    bona_speakers = clips.speakers[[bona for bona, _ in joined]]
    units, over = _units(bona_speakers)
    return Splice(
        method, len(joined), interval(np.array(areas), units, seed), over.replace("clips", "pairs"),
        np.mean(last, axis=0), np.mean(first, axis=0),
    )  # fmt: skip


def join(halves: Sequence[Wave], length: int, fade: int) -> Wave:
    """Two halves at one loudness, faded into each other so that the joint is no click."""
    first, second = (half / max(float(np.sqrt(np.mean(half**2))), 1e-6) for half in halves)
    level = float(np.mean([np.sqrt(np.mean(half**2)) for half in halves]))
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    middle = first[len(first) - fade :] * (1 - ramp) + second[:fade] * ramp
    wave = np.concatenate([first[: len(first) - fade], middle, second[fade:]]) * level
    return np.resize(wave, length).astype(np.float32) if len(wave) < length else wave[:length].astype(np.float32)


def auc(values: Floats, positive: NDArray[np.bool_]) -> float:
    """The share of pairs, one positive and one not, in which the positive is higher; ties count half."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    rank = (ends - (counts - 1) / 2)[inverse]
    ones, others = int(positive.sum()), int((~positive).sum())
    return float((rank[positive].sum() - ones * (ones + 1) / 2) / (ones * others))


def _found(towards_L: Floats, spoof_first: bool, window_s: float) -> float:
    seconds = (np.arange(len(towards_L)) + 0.5) / len(towards_L) * window_s
    clear = np.abs(seconds - window_s / 2) > min(JOIN_S, window_s / 8)
    early = seconds < window_s / 2
    return auc(towards_L[clear], (early if spoof_first else ~early)[clear])


def interval(values: Floats, units: NDArray[np.int64], seed: int) -> Interval:
    """The mean with its percentile interval; whoever shares a unit is drawn together."""
    rng = np.random.default_rng(seed)
    count = int(units.max()) + 1
    sums, sizes = np.bincount(units, values, minlength=count), np.bincount(units, minlength=count)
    drawn = rng.integers(count, size=(REPLICATES, count))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(values.mean()), float(low), float(high))


def _units(speakers: NDArray[np.str_]) -> tuple[NDArray[np.int64], str]:
    names, codes = np.unique(speakers, return_inverse=True)
    if len(names) >= LEAST_SPEAKERS:
        return codes.astype(np.int64), f"{len(names)} speakers"
    return np.arange(len(speakers)), f"{len(speakers)} clips"
