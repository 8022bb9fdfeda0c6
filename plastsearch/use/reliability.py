"""The reliability drawing of a calibration: what was said against what was so, and the scores of both classes."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.special import expit

from plastsearch.files import told, whole_file
from plastsearch.scores.calibration import pav, reliability
from plastsearch.scores.metrics import Floats
from plastsearch.use.calibrating import Learnt

BEFORE, AFTER, BEST = "#c1272d", "#0f62ad", "#555555"
BONA, SPOOF = "#0f62ad", "#c1272d"


def reliability_png(learnt: Learnt, name: str, path: Path) -> None:
    """Three panels: reliability, the map from scores to ratios with its optimum, histograms of the ratios."""
    bona, spoof = learnt.classes
    figure = Figure(figsize=(10.5, 4.3), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    _reliability(left, learnt)
    _map(middle, learnt)
    _histogram(right, learnt.affine.of(bona), learnt.affine.of(spoof))
    figure.suptitle(
        f"{name}: Cllr {learnt.cllr_before:.3f} before, {learnt.cllr_after:.3f} after, "
        f"{learnt.min_cllr:.3f} at best (bits); {bona.size:,} bona fide, {spoof.size:,} spoofed",
        fontsize=11,
    )
    # Without matplotlib's name and version inside, equal figures are equal files.
    with told(path), whole_file(path) as draft:
        figure.savefig(draft, format="png", dpi=110, metadata={"Software": None})


def _reliability(axes: Axes, learnt: Learnt) -> None:
    axes.plot([0, 1], [0, 1], color="#bbb", lw=1)
    bona, spoof = learnt.classes
    drawn = (
        ("as they were", BEFORE, "s", (bona, spoof)),
        ("calibrated", AFTER, "o", (learnt.affine.of(bona), learnt.affine.of(spoof))),
    )
    for label, colour, marker, classes in drawn:
        bins = reliability(*classes)
        reach = ([one.seen - one.low for one in bins], [one.high - one.seen for one in bins])
        axes.errorbar(
            [one.said for one in bins], [one.seen for one in bins], yerr=reach, fmt=f"{marker}-", ms=4, lw=1.1,
            elinewidth=0.8, capsize=2, color=colour, label=label,
        )  # fmt: skip
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel("probability of bona fide as said, at even odds")
    axes.set_ylabel("share that was bona fide, at even odds")
    axes.set_title("Reliability (tenths of the clips, 95 %)", fontsize=10, loc="left")
    axes.legend(fontsize=8.5, framealpha=0.9, loc="upper left")
    _grid(axes)


def _map(axes: Axes, learnt: Learnt) -> None:
    bona, spoof = learnt.classes
    scores, ratio = pav(bona, spoof)
    limit = _limit(learnt)
    axes.step(scores, np.clip(ratio, -limit, limit), where="mid", color=BEST, lw=1.2, label="PAV, the optimum")
    ends = np.array([scores[0], scores[-1]])
    axes.plot(ends, learnt.affine.of(ends), color=AFTER, lw=1.6, label=f"affine, slope {learnt.affine.slope:.3g}")
    axes.axhline(0, color="#bbb", lw=0.8, zorder=0)
    axes.set_ylim(-1.08 * limit, 1.08 * limit)
    axes.set_xlabel("score of the network (difference of logits)")
    axes.set_ylabel("log-likelihood ratio")
    axes.set_title("From scores to ratios", fontsize=10, loc="left")
    axes.legend(fontsize=8.5, framealpha=0.9, loc="upper left")
    _grid(axes)


def _limit(learnt: Learnt) -> float:
    """As far as the affine map goes; PAV's infinite ends are cut there."""
    return float(np.abs(learnt.affine.of(learnt.labelled.scores)).max() * 1.1 + 0.5)


def _histogram(axes: Axes, bona: Floats, spoof: Floats) -> None:
    both = np.concatenate([bona, spoof])
    edges = np.linspace(both.min(), both.max(), 31)
    for values, colour, label in ((spoof, SPOOF, "spoofed"), (bona, BONA, "bona fide")):
        axes.hist(
            values,
            edges.tolist(),
            weights=np.full(values.size, 100 / values.size),
            color=colour,
            alpha=0.5,
            label=label,
        )
    axes.axvline(0, color="black", lw=1, ls="--", label=f"even odds, p = {expit(0.0):.1f}")
    axes.set_xlabel("log-likelihood ratio, calibrated")
    axes.set_ylabel("clips of the class (%)")
    axes.set_title("Both classes", fontsize=10, loc="left")
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the legend
    axes.legend(fontsize=8.5, framealpha=0.9)
    _grid(axes)


def _grid(axes: Axes) -> None:
    axes.grid(color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)
