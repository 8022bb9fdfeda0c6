"""Where a front may lie: surfaces that a share of many possible fronts reaches. Numbers only, no trials.

The empirical attainment function of a point is the share of fronts with a member at least as good as it in both
objectives (Grunert da Fonseca and others, 2001). Where it is one half lies the median front; between 2.5 and 97.5 %
lie 95 % of the fronts, at any place.
"""

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from plastsearch.pareto.front import Goal, hypervolume

Floats = NDArray[np.float64]
Corners = list[tuple[float, float]]
BANDS = (0.95, 0.5)  # the wide one first, so that the other is drawn upon it
_BEST = {"min": 0.0, "max": 1.0}  # no metric falls below zero; those that should grow are shares


def surfaces(draws: ArrayLike, goals: tuple[Goal, Goal], shares: Sequence[float]) -> list[Corners]:
    """For each share the corners of what that share of the draws [draws, rows, 2] reaches, best in the first first."""
    points = np.asarray(draws, dtype=np.float64)
    signs = np.array([-1.0 if goal == "max" else 1.0 for goal in goals])
    flat = (points * signs).reshape(-1, 2)
    members = np.concatenate([moocore.is_nondominated(front, keep_weakly=True) for front in points * signs])
    sets = np.repeat(np.arange(len(points)), points.shape[1])
    percents = [100 * share for share in shares]
    found = moocore.eaf(flat[members], sets[members], percentiles=sorted(set(percents)))
    corners = []
    for percent in percents:
        of = found[np.isclose(found[:, 2], percent)][:, :2]
        of = of[np.argsort(of[:, 0])] * signs
        corners.append([(float(x), float(y)) for x, y in of])
    return corners


def band(draws: ArrayLike, goals: tuple[Goal, Goal], share: float, worst: tuple[float, float]) -> Corners:
    """The area, as a polygon, in which the border of the middle `share` of the draws runs, up to the corner `worst`."""
    return bands(draws, goals, (share,), worst)[0]


def bands(
    draws: ArrayLike, goals: tuple[Goal, Goal], shares: Sequence[float], worst: tuple[float, float]
) -> list[Corners]:
    """One for each share; what the fronts of the draws are is worked out once."""
    signs = tuple(-1.0 if goal == "max" else 1.0 for goal in goals)
    tails = [tail for share in shares for tail in ((1 - share) / 2, 1 - (1 - share) / 2)]
    stairs = [
        _stairs([(signs[0] * x, signs[1] * y) for x, y in corners], (signs[0] * worst[0], signs[1] * worst[1]))
        for corners in surfaces(draws, goals, tails)
    ]
    around = zip(stairs[::2], stairs[1::2], strict=True)
    return [[(signs[0] * x, signs[1] * y) for x, y in [*best, *reversed(rest)]] for best, rest in around]


def _stairs(corners: Corners, worst: tuple[float, float]) -> Corners:
    """The border of what they dominate: down from the frame, along the corners, and to the frame."""
    inside = [(min(x, worst[0]), min(y, worst[1])) for x, y in corners]
    path = [(inside[0][0], worst[1])]
    for x, y in inside:
        path += [(x, path[-1][1]), (x, y)]
    return [*path, (worst[0], path[-1][1])]


def gain(
    values: ArrayLike, baseline: Sequence[float] | None, goals: Sequence[Goal], reference: Sequence[float]
) -> float | None:
    """The volume that points dominate beyond the baseline, as a share of the room that it leaves.

    The room reaches from the reference to an error of zero at no cost: 0 is no better than the baseline, 1 cannot be
    surpassed. Without a baseline it is all of the room. None where the reference leaves no room at all.
    """
    best = [_BEST[goal] for goal in goals]
    spans = [at - low if goal == "min" else low - at for at, low, goal in zip(reference, best, goals, strict=True)]
    if min(spans) <= 0:
        return None
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(goals))
    known = [] if baseline is None else [list(baseline)]
    own = hypervolume(known, goals, reference)
    room = float(np.prod(spans)) - own
    beyond = hypervolume(np.vstack([points, *known]), goals, reference) - own
    return min(1.0, max(0.0, beyond / room)) if room > 0 else None
