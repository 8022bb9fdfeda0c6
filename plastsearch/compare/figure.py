"""What the figures of a comparison show, free of any drawing library: DET curves, histograms, attacks by arms."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from plastsearch.compare.arms import Arm, Clips
from plastsearch.scores.metrics import Floats, curve

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # told apart by all eyes
DASHES = ("solid", "dash", "dot", "dashdot")  # after as many arms as colours, and in print
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98)  # percent
BINS = 40
POINTS = 2000  # of a curve: more cannot be seen


@dataclass(frozen=True)
class Det:
    """One arm's operating points in percent, from strict to lenient; no rate is drawn below half a clip's."""

    name: str
    false_alarm: Floats
    miss: Floats
    eer: float


@dataclass(frozen=True)
class Histogram:
    """Both classes of one arm over the same bins, as shares of their class."""

    name: str
    edges: Floats
    bona: Floats
    spoof: Floats
    threshold: float


def det(clips: Clips, arm: Arm, eer: float) -> Det:
    """The curve that the arm's own thresholds walk along."""
    of = curve(arm.scores[clips.is_bona], arm.scores[~clips.is_bona])
    ends = np.concatenate(([True], np.diff(of.scores) != 0, [True]))  # equal scores cross together
    miss, false_alarm = of.miss[ends], of.false_alarm[ends]
    inside = (miss > 0) & (false_alarm > 0) & (miss < 1) & (false_alarm < 1)
    miss, false_alarm = 100 * miss[inside], 100 * false_alarm[inside]
    if len(miss) > POINTS:
        kept = np.unique(np.linspace(0, len(miss) - 1, POINTS).round().astype(np.int64))
        miss, false_alarm = miss[kept], false_alarm[kept]
    return Det(arm.short, false_alarm, miss, eer)


def deviate(percent: Floats) -> Floats:
    """The axis of a DET plot: straight lines for scores that are normal in both classes."""
    found: Floats = ndtri(np.asarray(percent) / 100)
    return found


def limits(curves: list[Det]) -> tuple[float, float]:
    """Percent from which to which both axes run, the same for both: ticks around all curves, and past the EERs."""
    high = max(60.0, *(min(98.0, one.eer * 1.3) for one in curves))
    # What lies beyond on one axis is not drawn, so its rate on the other needs no room.
    seen = [np.minimum(one.miss, one.false_alarm)[np.maximum(one.miss, one.false_alarm) <= high] for one in curves]
    least = min((float(rates.min()) for rates in seen if len(rates)), default=1.0)
    return float(max([tick for tick in TICKS if tick <= least], default=TICKS[0])), high


def histogram(clips: Clips, arm: Arm) -> Histogram:
    """Bins over all but the outermost scores, which are counted in the last bins."""
    low, high = np.quantile(arm.scores, [0.002, 0.998])
    if not high > low:
        low, high = float(low) - 0.5, float(high) + 0.5
    edges = np.linspace(low, high, BINS + 1)
    held = np.clip(arm.scores, low, high)
    bona, _ = np.histogram(held[clips.is_bona], edges)
    spoof, _ = np.histogram(held[~clips.is_bona], edges)
    return Histogram(arm.short, edges, bona / max(1, bona.sum()), spoof / max(1, spoof.sum()), arm.threshold)
