"""The interval of an EER over resampled clips or speakers; of a million clips only those near the crossing are counted.

The same draws and the same values as `resamples` and `weighted_eers` have for whole rows of weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plastsearch.scores.metrics import AT_ONCE, Curve, Floats, checked, curve, draws, eer_of, resamples, weighted_eers
from plastsearch.scores.stream import Stream, numbers_of, word_of

LEVEL = 0.95
_SURE = 6.0  # standard errors on both sides of the crossing: hardly ever is it elsewhere, and then all is counted
_BLOCKS = 1024  # of clips in order of score, each summed by speaker
_CELLS = 2_000_000  # of the table of these sums

Counts = NDArray[np.int64]
Numbers = NDArray[np.integer[Any]]


def bootstrap_eer(
    bona: ArrayLike, spoof: ArrayLike, *, bona_speakers: ArrayLike | None = None,
    spoof_speakers: ArrayLike | None = None, replicates: int = 1000, seed: int = 0, level: float = LEVEL,
) -> tuple[float, float]:  # fmt: skip
    """Percentile interval of the official EER in percent, resampled within each class, by whole speakers where known.

    Without a single error all resampled values agree and would claim certainty; there the exact binomial bound of the
    smaller class stands in.
    """
    of_bona, of_spoof = checked(bona, "bona fide"), checked(spoof, "spoof")
    of = curve(of_bona, of_spoof)
    speakers = None
    if bona_speakers is not None and spoof_speakers is not None:
        speakers = _speakers_in_order(of_bona, of_spoof, bona_speakers, spoof_speakers, of)
    rng = np.random.default_rng(seed)
    values = resampled_eers(of, speakers, replicates, rng)
    tail = (1 - level) / 2
    low, high = (float(value) for value in np.quantile(values, [tail, 1 - tail]))
    point = eer_of(of)[0]
    unseen = 100 * (1 - tail ** (1 / min(of.n_bona, of.n_spoof)))  # an error rate that shows no error this often
    if point == 0:
        high = max(high, unseen)
    if point == 100:
        low = min(low, 100 - unseen)
    return min(low, point), max(high, point)


def _speakers_in_order(
    bona: Floats, spoof: Floats, of_bona: ArrayLike, of_spoof: ArrayLike, of: Curve
) -> NDArray[np.int64]:
    # By name, or by numbers that follow the names' order: it decides which draw is whose.
    _, codes = np.unique(np.concatenate([np.asarray(of_bona), np.asarray(of_spoof)]), return_inverse=True)
    ordered = np.empty(of.scores.size, dtype=np.int64)
    ordered[of.is_bona] = codes[: bona.size][np.argsort(bona, kind="stable")]
    ordered[~of.is_bona] = codes[bona.size :][np.argsort(spoof, kind="stable")]
    return ordered


def resampled_eers(of: Curve, speakers: Counts | None, replicates: int, rng: np.random.Generator) -> Floats:
    """The official EER of each replicate."""
    if of.scores.size <= AT_ONCE:  # whole rows fit a cache, many at a time
        rows = resamples(of.is_bona, speakers, replicates, rng)
        return np.concatenate([weighted_eers(of, weights) for weights in rows])
    windows = _windows_of_clips(of, replicates, rng) if speakers is None else _windows_of_speakers(
        of, speakers, replicates, rng
    )  # fmt: skip
    return np.array([window.eer(of) for window in windows])


@dataclass(frozen=True)
class Window:
    """A replicate as far as its EER needs it: how often the clips from `first` on are drawn, and how many lie below."""

    first: int
    weights: Counts
    bona_below: int
    spoof_below: int
    n_bona: int
    n_spoof: int

    def climb(self, of: Curve) -> Counts:
        """The rising line of `weighted_eers` after each clip."""
        is_bona = of.is_bona[self.first : self.first + self.weights.size]
        steps = np.where(is_bona, self.n_spoof, self.n_bona) * self.weights
        return self.bona_below * self.n_spoof + self.spoof_below * self.n_bona + np.cumsum(steps)

    def holds(self, of: Curve) -> bool:
        """Whether the line crosses here."""
        start = self.bona_below * self.n_spoof + self.spoof_below * self.n_bona
        goal = self.n_bona * self.n_spoof
        return start < goal and self.weights.size > 0 and int(self.climb(of)[-1]) >= goal

    def eer(self, of: Curve) -> float:
        """As in `weighted_eers`, of one replicate."""
        climb, goal = self.climb(of), self.n_bona * self.n_spoof
        at = int(np.searchsorted(climb, goal))
        crosses = bool(of.is_bona[self.first + at])
        step = self.n_spoof if crosses else self.n_bona
        before = int(climb[at]) - step * int(self.weights[at])
        copies = -((before - goal) // step)
        copies -= goal - (before + (copies - 1) * step) <= before + copies * step - goal
        bona = self.bona_below + int(self.weights[:at][of.is_bona[self.first : self.first + at]].sum())
        spoof = (before - self.n_spoof * bona) // self.n_bona
        bona, spoof = (bona + copies, spoof) if crosses else (bona, spoof + copies)
        return 50.0 * (bona / self.n_bona + (self.n_spoof - spoof) / self.n_spoof)


def _windows_of_clips(of: Curve, replicates: int, rng: np.random.Generator) -> Iterator[Window]:
    """Of each class as many clips as it has: how many are among its lowest, and which are near the crossing."""
    bona_until = np.concatenate(([0], np.cumsum(of.is_bona)))  # how many of the k lowest, k = 0 … n
    spoof_until = np.arange(bona_until.size) - bona_until
    climb = bona_until * of.n_spoof + spoof_until * of.n_bona
    goal = of.n_bona * of.n_spoof
    spread = _SURE * 0.5 * goal * (1 / of.n_bona + 1 / of.n_spoof) ** 0.5
    first, last = np.searchsorted(climb, (goal - spread, goal + spread)).clip(0, of.scores.size)
    is_bona = of.is_bona[first:last]
    stream = Stream(rng)
    for _ in range(replicates):
        weights = np.empty(last - first, dtype=np.int64)
        bona = _Drawn(of.n_bona, int(bona_until[first]), int(bona_until[last]), stream)
        spoof = _Drawn(of.n_spoof, int(spoof_until[first]), int(spoof_until[last]), stream)
        weights[is_bona], weights[~is_bona] = bona.weights, spoof.weights
        found = Window(int(first), weights, bona.below, spoof.below, of.n_bona, of.n_spoof)
        yield found if found.holds(of) else _whole(of, bona.all, spoof.all)


class _Drawn:
    """As many draws among `size` as that: how many lie below `first`, how often each from there to `last` comes up."""

    def __init__(self, size: int, first: int, last: int, stream: Stream) -> None:
        self.below = 0
        self._size = size
        self._parts = []
        near = []
        low, high = word_of(first, size), word_of(last, size)
        for part in stream.parts(size, size):
            self._parts.append(part)
            if low:
                self.below += int(np.count_nonzero(part <= np.uint32(low - 1)))
            if high > low:  # below the first the difference runs over, and is large
                near.append(part[part - np.uint32(low) <= np.uint32(high - low - 1)])
        drawn = numbers_of(np.concatenate(near), size) - first if near else np.empty(0, dtype=np.int64)
        self.weights = np.bincount(drawn, minlength=last - first)

    @property
    def all(self) -> Numbers:
        return numbers_of(np.concatenate(self._parts), self._size)


def _whole(of: Curve, bona: Numbers, spoof: Numbers) -> Window:
    weights = np.empty(of.scores.size, dtype=np.int64)
    weights[of.is_bona] = np.bincount(bona, minlength=of.n_bona)
    weights[~of.is_bona] = np.bincount(spoof, minlength=of.n_spoof)
    return Window(0, weights, 0, 0, of.n_bona, of.n_spoof)


def _windows_of_speakers(of: Curve, speakers: Counts, replicates: int, rng: np.random.Generator) -> Iterator[Window]:
    """Clips in order are cut into blocks, summed by speaker once: the crossing's block alone is then looked into."""
    size, count = of.scores.size, int(speakers.max()) + 1
    blocks = max(1, min(_BLOCKS, _CELLS // count))
    length = -(-size // blocks)
    cells = speakers * blocks + np.arange(size) // length
    bona, spoof = (
        np.bincount(cells[which], minlength=count * blocks).reshape(count, blocks).astype(np.float64)
        for which in (of.is_bona, ~of.is_bona)
    )
    strata = _strata(of, speakers, count)
    for _ in range(replicates):
        drawn = np.zeros(count, dtype=np.int64)
        for stratum in strata:
            drawn[stratum] = draws(stratum.size, 1, rng)[0]
        # Products of whole numbers far below 2^53, which floating point holds exactly and multiplies faster.
        of_bona, of_spoof = (np.cumsum(drawn @ table).astype(np.int64) for table in (bona, spoof))
        n_bona, n_spoof = int(of_bona[-1]), int(of_spoof[-1])
        block = int(np.searchsorted(of_bona * n_spoof + of_spoof * n_bona, n_bona * n_spoof))
        below = (int(of_bona[block - 1]), int(of_spoof[block - 1])) if block else (0, 0)
        weights = drawn[speakers[block * length : (block + 1) * length]]
        yield Window(block * length, weights, *below, n_bona, n_spoof)


def _strata(of: Curve, speakers: Counts, count: int) -> list[Counts]:
    """As in `resamples`: speakers of one class or the other, and those heard in both."""
    has_bona = np.bincount(speakers[of.is_bona], minlength=count) > 0
    has_spoof = np.bincount(speakers[~of.is_bona], minlength=count) > 0
    kinds = has_bona + 2 * has_spoof.astype(np.int64)
    found = [np.flatnonzero(kinds == kind) for kind in (1, 2, 3)]
    return [stratum for stratum in found if stratum.size]
