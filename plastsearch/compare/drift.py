"""Whether new audio is like what a model knows: two samples, each property tested by permuting who belongs to which.

Scores and plain properties are compared by the largest distance between their distributions (Kolmogorov and Smirnov),
features by the energy distance, both without any assumption on their shape. p-values are corrected together (Holm).
"""

from dataclasses import dataclass

import numpy as np

from plastsearch.analysis.paired import LEVEL, holm
from plastsearch.compare.hearing import FACTS, Heard
from plastsearch.scores.metrics import Floats

PERMUTATIONS = 2000
FEATURES = "features before the head"
NEAREST = 5  # reference clips that a new one is held against
FARTHEST = 15  # new clips that are listed


@dataclass(frozen=True)
class Shift:
    """One property in both samples."""

    name: str
    distance: float  # between 0 and 1: the largest gap between distributions, or the energy coefficient
    reference: float  # medians; NaN for features, which have none
    new: float
    p: float
    p_corrected: float

    @property
    def shown(self) -> bool:
        """Whether the two samples differ."""
        return self.p_corrected < 1 - LEVEL


@dataclass(frozen=True)
class FarClip:
    """A new clip and how far it lies from what the reference holds, in distances usual among reference clips."""

    path: str
    times: float
    score: float


@dataclass(frozen=True)
class Drift:
    """Everything that is printed and drawn."""

    model: str
    reference: Heard
    new: Heard
    shifts: tuple[Shift, ...]
    farthest: tuple[FarClip, ...]
    outside: float  # share of new clips farther away than 95 % of the reference's own
    below: tuple[float, float]  # shares of reference and of new clips under the model's threshold

    @property
    def shown(self) -> bool:
        """Whether anything differs."""
        return any(shift.shown for shift in self.shifts)


def drift(model: str, threshold: float, reference: Heard, new: Heard, seed: int = 0) -> Drift:
    """Compare two folders as one model hears them."""
    rng = np.random.default_rng(seed)
    found: list[tuple[str, float, float, float, float]] = []
    for name in FACTS:
        old, fresh = reference.facts[name], new.facts[name]
        gap, p = _gap_test(old, fresh, rng)
        found.append((name, gap, float(np.median(old)), float(np.median(fresh)), p))
    apart = _distances(*_scaled(reference.features, new.features))
    coefficient, p = _energy_test(apart, len(reference.paths), rng)
    found.append((FEATURES, coefficient, float("nan"), float("nan"), p))
    corrected = holm([row[-1] for row in found])
    times, limit = _far(apart, len(reference.paths))
    order = np.argsort(-times, kind="stable")[:FARTHEST]
    return Drift(
        model=model,
        reference=reference,
        new=new,
        shifts=tuple(Shift(*row, p) for row, p in zip(found, corrected, strict=True)),
        farthest=tuple(
            FarClip(str(new.paths[at].relative_to(new.folder)), float(times[at]), float(new.facts["score"][at]))
            for at in order
        ),
        outside=float((times > limit).mean()),
        below=(
            float((reference.facts["score"] < threshold).mean()), float((new.facts["score"] < threshold).mean()),
        ),
    )  # fmt: skip


def _gap_test(old: Floats, fresh: Floats, rng: np.random.Generator) -> tuple[float, float]:
    both = np.concatenate([old, fresh])
    order = np.argsort(both, kind="stable")
    ends = np.append(np.diff(both[order]) > 0, True)  # equal values are one step
    mine = np.arange(both.size) < old.size
    observed = _gap(mine[order], ends)
    drawn = [_gap(rng.permutation(mine)[order], ends) for _ in range(PERMUTATIONS)]
    return observed, _p(observed, drawn)


def _gap(mine: np.ndarray, ends: np.ndarray) -> float:
    share = np.cumsum(mine) / mine.sum() - np.cumsum(~mine) / (~mine).sum()
    return float(np.abs(share[ends]).max())


def _scaled(old: Floats, fresh: Floats) -> tuple[Floats, Floats]:
    """Each feature in spreads of the reference; one that never moves there says nothing."""
    spread = old.std(axis=0)
    used = spread > 1e-9 * max(1.0, float(spread.max(initial=0.0)))
    return old[:, used] / spread[used], fresh[:, used] / spread[used]


def _distances(old: Floats, fresh: Floats) -> Floats:
    both = np.concatenate([old, fresh])
    squares = (both**2).sum(axis=1)
    found: Floats = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * both @ both.T, 0.0))
    return found


def _energy_test(apart: Floats, count: int, rng: np.random.Generator) -> tuple[float, float]:
    mine = np.arange(len(apart)) < count
    observed = _energy(apart, mine)
    drawn = [_energy(apart, rng.permutation(mine)) for _ in range(PERMUTATIONS // 4)]  # n² each
    return observed, _p(observed, drawn)


def _energy(apart: Floats, mine: np.ndarray) -> float:
    """Energy distance as a share of the mean distance between the samples: 0 alike, 1 apart."""
    one, other = mine / mine.sum(), ~mine / (~mine).sum()
    across = one @ apart @ other
    return float((2 * across - one @ apart @ one - other @ apart @ other) / (2 * across)) if across else 0.0


def _p(observed: float, drawn: list[float]) -> float:
    """The observed order is one of those that chance could have drawn."""
    return (1 + sum(value >= observed - 1e-12 for value in drawn)) / (1 + len(drawn))


def _far(apart: Floats, count: int) -> tuple[Floats, float]:
    """Of each new clip the mean distance to its nearest reference clips, in the reference's own median of that."""
    near = min(NEAREST, count - 1)
    own = np.sort(apart[:count, :count], axis=1)[:, 1 : near + 1].mean(axis=1)  # beside itself
    new = np.sort(apart[count:, :count], axis=1)[:, :near].mean(axis=1)
    usual = float(np.median(own)) or 1.0
    return new / usual, float(np.quantile(own, 0.95)) / usual
