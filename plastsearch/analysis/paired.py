"""Whether two networks differ in EER or another measure: paired by clip and seed, interval, p-value, Holm's correction.

Both networks score the same clips, so what makes a clip hard for both cancels in their difference. Clips are resampled,
the same draws for both: by speakers where the corpus names them, since clips of one speaker stand and fall together
(with six speakers, drawing clips calls 35 % of equal networks different). A drawn speaker brings all clips along:
drawing among them once more counts their scatter twice (Davison and Hinkley 1997, 3.8), and calls 0.3 to 1.3 % of equal
networks different where 5 % are meant. Seeds add their own scatter, from the differences that each of them shows. What
is drawn gives a standard error, not an interval: with twenty speakers, or three seeds, the tails are Student's t.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plastsearch.scores.measures import EER, Measure
from plastsearch.scores.metrics import Floats, resamples

LEVEL = 0.95
REPLICATES = 500
UNKNOWN = "-"  # the speaker of a clip whose corpus does not say

Finding = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Pair:
    """Scores of the same clips by two networks that were trained from the same seed."""

    one: Floats
    other: Floats


@dataclass(frozen=True)
class Difference:
    """The one minus the other (EER: percentage points), means over seeds: below zero, the one is better."""

    one: float
    other: float
    points: float
    low: float
    high: float
    p: float
    seeds: int
    clips: int
    speakers: int  # that were resampled; 0: none can be told apart, so clips were

    def finding(self, p: float) -> Finding:
        """What may be said of it at a p-value, corrected for how many questions were asked."""
        if p >= 1 - LEVEL:
            return "no difference shown"
        return "better" if self.points < 0 else "worse"


def difference(
    pairs: Sequence[Pair],
    is_bona: NDArray[np.bool_],
    speakers: NDArray[np.str_],
    seed: int = 0,
    replicates: int = REPLICATES,
    measure: Measure = EER,
) -> Difference:
    """Compare two arms, seed by seed and clip by clip."""
    units = _units(is_bona, speakers)
    values = np.array([[measure.value(s, is_bona) for s in (pair.one, pair.other)] for pair in pairs])
    per_seed = values[:, 0] - values[:, 1]
    rng = np.random.default_rng(seed)
    drawn = _drawn(pairs, is_bona, units.codes, replicates, rng, measure)  # [seeds, replicates]
    error = _error(per_seed, drawn, units)
    # An EER moves in steps: no difference is known better than by half a clip.
    error = replace(error, size=max(error.size, measure.step(is_bona)))
    points = float(per_seed.mean())
    p, reach = _student(points / error.size, error.freedom) if error.size else (1.0 if points == 0 else 0.0, 0.0)
    return Difference(
        one=float(values[:, 0].mean()),
        other=float(values[:, 1].mean()),
        points=points, low=max(points - reach * error.size, -100.0), high=min(points + reach * error.size, 100.0), p=p,
        seeds=len(pairs), clips=is_bona.size, speakers=units.speakers,
    )  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, as far as one is known."""

    value: float
    low: float | None = None
    high: float | None = None


def level(
    arms: Sequence[Floats],
    is_bona: NDArray[np.bool_],
    speakers: NDArray[np.str_],
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate:
    """The EER of one network, a mean over its seeds; by seeds and clips."""
    nothing = np.zeros(is_bona.size)
    values = np.array([EER.value(scores, is_bona) for scores in arms])
    units = _units(is_bona, speakers)
    rng = np.random.default_rng(seed)
    drawn = _drawn([Pair(one, nothing) for one in arms], is_bona, units.codes, replicates, rng, EER, share=0.0)
    error = _error(values, drawn, units)
    _, reach = _student(0.0, error.freedom) if error.size else (1.0, 0.0)
    middle = float(values.mean())
    return Estimate(middle, max(0.0, middle - reach * error.size), min(100.0, middle + reach * error.size))


def reduction(
    pairs: Sequence[Pair],
    is_bona: NDArray[np.bool_],
    speakers: NDArray[np.str_],
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate | None:
    """By how many percent of the other's EER the one is lower; None where the other makes no error.

    Its error is that of one minus share times other, with the share held at what was measured: the first term of the
    ratio's own (delta method), paired as a difference is.
    """
    values = np.array([[EER.value(s, is_bona) for s in (pair.one, pair.other)] for pair in pairs])
    one, other = (float(value) for value in values.mean(axis=0))
    if other == 0:
        return None
    share = one / other
    units = _units(is_bona, speakers)
    drawn = _drawn(pairs, is_bona, units.codes, replicates, np.random.default_rng(seed), EER, share=share)
    error = _error(values[:, 0] - share * values[:, 1], drawn, units)
    size = max(error.size, EER.step(is_bona)) / other
    reach = _student(0.0, error.freedom)[1] * size
    return Estimate(100 * (1 - share), 100 * (1 - share - reach), min(100.0, 100 * (1 - share + reach)))


def drawn_eers(
    networks: Sequence[Floats],
    is_bona: NDArray[np.bool_],
    speakers: NDArray[np.str_],
    replicates: int,
    seed: int = 0,
) -> Floats:
    """How far each network's EER moves with the clips that are drawn, the same draws for all [networks, replicates]."""
    units = _units(is_bona, speakers)
    arms = [EER.resampled(scores, is_bona) for scores in networks]
    found = []
    for weights in resamples(is_bona, units.codes, replicates, np.random.default_rng(seed)):
        found.append(np.array([arm(weights) for arm in arms]))
    drawn = np.concatenate(found, axis=1)
    moved: Floats = (drawn - drawn.mean(axis=1, keepdims=True)) * math.sqrt(units.count / units.freedom)
    return moved


def over_seeds(differences: Sequence[float]) -> tuple[float, float, float] | None:
    """Interval and p-value of a mean difference that was measured once for each seed; None from a single one."""
    count = len(differences)
    if count < 2:
        return None
    points, size = float(np.mean(differences)), float(np.std(differences, ddof=1)) / math.sqrt(count)
    if size == 0.0:  # the same for each, as a number of parameters is: nothing scatters, so nothing is uncertain
        return points, points, 1.0 if points == 0.0 else 0.0
    p, reach = _student(points / size, count - 1)
    return points - reach * size, points + reach * size, p


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: as many p-values, each for the family as a whole."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    corrected = [0.0] * len(values)
    worst = 0.0  # of the smaller ones: a corrected value never falls below one that came before it
    for rank, at in enumerate(order):
        worst = max(worst, min(1.0, (len(values) - rank) * values[at]))
        corrected[at] = worst
    return corrected


@dataclass(frozen=True)
class _Units:
    """What is resampled, by each clip's number of it."""

    codes: NDArray[np.int64]
    kinds: int  # drawn apart, so that both classes stay
    speakers: int

    @property
    def count(self) -> int:
        return int(self.codes.max()) + 1

    @property
    def freedom(self) -> int:
        return self.count - self.kinds


def _units(is_bona: NDArray[np.bool_], speakers: NDArray[np.str_]) -> _Units:
    """Speakers, even if they are few, since Student's t allows for that; a clip of an unknown speaker is a unit."""
    known = speakers != UNKNOWN
    codes = np.arange(is_bona.size)
    names, codes[known] = np.unique(speakers[known], return_inverse=True)
    codes[~known] = names.size + np.arange((~known).sum())
    heard = [np.bincount(codes[of], minlength=codes.max() + 1) > 0 for of in (is_bona, ~is_bona)]
    units = _Units(codes, len(np.unique(heard[0] + 2 * heard[1])), names.size)
    if units.freedom < 2:  # one speaker says nothing of others, but his clips can still be compared
        return _Units(np.arange(is_bona.size), 2, 0)
    return units


def _drawn(
    pairs: Sequence[Pair], is_bona: NDArray[np.bool_], codes: NDArray[np.int64], replicates: int,
    rng: np.random.Generator, measure: Measure, share: float = 1.0,
) -> Floats:  # fmt: skip
    """Each seed's difference (one minus so many times the other) in each replicate; one draw serves all networks."""
    arms = [[measure.resampled(s, is_bona) for s in (pair.one, pair.other)] for pair in pairs]
    found = []
    for weights in resamples(is_bona, codes, replicates, rng):
        others = [share * other(weights) if share else 0.0 for _, other in arms]
        found.append(np.array([one(weights) - off for (one, _), off in zip(arms, others, strict=True)]))
    return np.concatenate(found, axis=1)


@dataclass(frozen=True)
class _Error:
    """Standard error of a mean difference, and its degrees of freedom."""

    size: float
    freedom: float


def _error(per_seed: Floats, drawn: Floats, units: _Units) -> _Error:
    """Of the mean over seeds and clips, both drawn from many.

    With s seeds the scatter between them is that of the seeds themselves and, one s-th of it, that of the clips that
    seeds see differently; the latter is in the replicates already and must not count twice.
    """
    count = len(per_seed)
    freedom = units.freedom
    scale = units.count / freedom  # a replicate of n units scatters (n - 1) / n as wide as the truth
    of_clips = scale * float(drawn.mean(axis=0).var(ddof=1))
    if count == 1:
        return _Error(math.sqrt(of_clips), freedom)
    between = float(per_seed.var(ddof=1))
    covariance = scale * np.cov(drawn)
    own = float(np.trace(covariance)) / count
    common = float(covariance.sum() - np.trace(covariance)) / (count * (count - 1))
    variance = of_clips + max(0.0, between - (own - common)) / count
    spread = of_clips**2 / freedom + (between / count) ** 2 / (count - 1)  # Satterthwaite
    # His rule is for sums. Where the clips' part is taken off it can end below one degree, and an interval with it at
    # 100 points; the poorer of the two sources is what there is at the least.
    least = min(freedom, count - 1)
    return _Error(math.sqrt(variance), max(variance**2 / spread, least) if spread else freedom)


def _student(ratio: float, freedom: float) -> tuple[float, float]:
    """Two-sided p-value, and how many standard errors the interval reaches."""
    from scipy.special import stdtr, stdtrit

    return float(2 * stdtr(freedom, -abs(ratio))), float(stdtrit(freedom, 1 - (1 - LEVEL) / 2))


def student_reach(freedom: float) -> float:
    """How many standard errors a 95 % interval reaches to either side."""
    return _student(0.0, freedom)[1]
