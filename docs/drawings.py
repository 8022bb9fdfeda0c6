"""The drawings of docs/concepts: python docs/drawings.py.

Numbers in them are drawn from a seed, to explain; nothing was measured.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.patches import FancyBboxPatch, Rectangle

mpl.use("svg")
from matplotlib import pyplot as plt

FOLDER = Path(__file__).resolve().parent / "concepts"
# Colours that are told apart with any colour vision (Okabe and Ito).
OLD, NEW, GONE, FRONT, GREY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#999999"
STYLE = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in the reader's font
    "svg.hashsalt": "plastsearch",  # equal files from equal code
    "font.size": 11,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def canvas(width: float = 8, height: float = 3.4) -> tuple[Any, Any]:
    """A figure without axes, one unit an inch."""
    figure, axes = plt.subplots(figsize=(width, height))
    figure.subplots_adjust(0, 0, 1, 1)
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def box(axes: Any, x: float, y: float, w: float, h: float, text: str, colour: str, size: float = 11) -> None:
    """A box with words in it."""
    axes.add_patch(
        FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0.02,rounding_size=0.08", fc=colour, ec="none", alpha=0.25)
    )
    axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=size)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str = "black") -> None:
    """An arrow from one place to another."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.4})


def neurons(axes: Any, x: float, heights: list[float], colour: str) -> list[tuple[float, float]]:
    """A column of neurons."""
    axes.scatter([x] * len(heights), heights, s=210, c=colour, zorder=3, edgecolors="white")
    return [(x, y) for y in heights]


def dropin() -> Any:
    """Two pictures of a layer: as it learnt, and with new neurons whose outgoing weights are zero."""
    figure, axes = canvas(8, 3.6)
    for shift, grown in ((0.0, False), (4.1, True)):
        inputs = neurons(axes, shift + 0.5, [0.7, 1.5, 2.3], GREY)
        old = neurons(axes, shift + 1.75, [1.1, 1.9, 2.7] if grown else [0.7, 1.5, 2.3], OLD)
        outs = neurons(axes, shift + 3.0, [1.1, 1.9], GREY)
        new = neurons(axes, shift + 1.75, [0.3], NEW) if grown else []
        for a in inputs:
            for b in old:
                axes.plot(*zip(a, b, strict=True), c=OLD, lw=0.8, alpha=0.6)
            for b in new:
                axes.plot(*zip(a, b, strict=True), c=NEW, lw=1.4)
        for b in outs:
            for a in old:
                axes.plot(*zip(a, b, strict=True), c=OLD, lw=0.8, alpha=0.6)
            for a in new:
                axes.plot(*zip(a, b, strict=True), c=NEW, lw=1.4, ls=":")
        axes.text(
            shift + 1.75, 3.25, "after dropin" if grown else "a layer that has learnt", ha="center", weight="bold"
        )
    axes.text(6.75, 0.62, "0 at first", color="#9a6a00", fontsize=10)
    arrow(axes, (3.5, 1.5), (4.2, 1.5))
    return figure


def kernels() -> Any:
    """A trained kernel of three by three taps, the ring of zeros around it, and what is left after the cut."""
    figure, axes = canvas(8, 3.2)
    for shift, size, words in (
        (0.3, 3, "a trained kernel"),
        (2.7, 5, "a ring of zeros, which learns"),
        (5.9, 3, "cut back"),
    ):
        left, low = shift, 1.4 - 0.2 * size
        for row in range(size):
            for column in range(size):
                old = size == 3 or (0 < row < 4 and 0 < column < 4)
                place = (left + 0.4 * column, low + 0.4 * row)
                axes.add_patch(Rectangle(place, 0.36, 0.36, fc=OLD if old else NEW, alpha=0.8 if old else 0.35))
                if not old:
                    axes.text(place[0] + 0.18, place[1] + 0.18, "0", ha="center", va="center", fontsize=9)
        axes.text(left + 0.2 * size, 2.75, words, ha="center", weight="bold")
    arrow(axes, (1.75, 1.4), (2.5, 1.4))
    arrow(axes, (4.9, 1.4), (5.65, 1.4))
    return figure


def plasticity() -> Any:
    """Neurons of one site over the stages, old and new."""
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    stages = ["train", "dropin", "retrain", "prune", "consolidate"]
    old, new = np.array([48, 48, 48, 38, 38]), np.array([0, 24, 24, 10, 10])
    axes.bar(stages, old, color=OLD, label="old neurons", width=0.62)
    axes.bar(stages, new, bottom=old, color=NEW, label="new neurons", width=0.62)
    axes.bar(stages[3:4], [24], bottom=[48], fill=False, ec=GONE, ls="--", width=0.62, label="gone")
    axes.axhline(48, c="black", lw=0.8, ls=":")
    axes.set(ylabel="neurons at the site", ylim=(0, 92))
    axes.legend(frameon=False, ncols=3, loc="upper left")
    return figure


def frozen_prefix() -> Any:
    """A stack of layers, cut at the lowest grown one."""
    figure, axes = canvas(8, 3.3)
    names = ["clip", "layer 0", "layer 1", "layer 2", "layer 3", "head"]
    for i, name in enumerate(names):
        frozen = i < 3
        box(axes, 0.15 + i * 1.32, 1.3, 1.05, 0.8, name, GREY if frozen else OLD)
        if i:
            arrow(axes, (0.15 + i * 1.32 - 0.24, 1.85), (0.15 + i * 1.32 - 0.02, 1.85))
        if i > 3:
            arrow(axes, (0.15 + i * 1.32 - 0.02, 1.5), (0.15 + i * 1.32 - 0.24, 1.5), GONE)
    box(axes, 0.15 + 3 * 1.32, 0.55, 1.05, 0.6, "+ new", NEW)
    axes.plot([3.99, 3.99], [0.3, 2.9], c="black", ls="--", lw=1.2)
    axes.text(3.85, 2.72, "frozen prefix: runs once, is kept", ha="right")
    axes.text(4.13, 2.72, "learns, and runs in every step")
    axes.text(5.6, 0.72, "backward pass ends at the cut", color=GONE, fontsize=10)
    return figure


def stage_sharing() -> Any:
    """Three trials as paths through stages that they share as long as they agree."""
    figure, axes = canvas(8, 3.6)
    box(axes, 0.2, 1.5, 1.4, 0.6, "train", OLD)
    box(axes, 2.2, 2.3, 1.9, 0.6, "dropin, retrain\ngru.1 +16", OLD, 9.5)
    box(axes, 2.2, 0.6, 1.9, 0.6, "dropin, retrain\ngru.0 +8", GREY, 9.5)
    for y, name in ((2.75, "prune: taylor"), (1.75, "prune: magnitude"), (0.6, "prune: taylor")):
        box(axes, 4.7, y, 1.6, 0.55, name, NEW, 10)
        axes.text(6.5, y + 0.27, f"trial {'123'[[2.75, 1.75, 0.6].index(y)]}", va="center", weight="bold")
    arrow(axes, (1.64, 1.9), (2.16, 2.5))
    arrow(axes, (1.64, 1.7), (2.16, 1.0))
    arrow(axes, (4.14, 2.65), (4.66, 3.0))
    arrow(axes, (4.14, 2.5), (4.66, 2.1))
    arrow(axes, (4.14, 0.9), (4.66, 0.88))
    axes.text(0.9, 1.2, "once for all three", ha="center", fontsize=10)
    axes.text(3.15, 1.98, "once for two", ha="center", fontsize=10)
    return figure


def front() -> Any:
    """Trials by two objectives, the front as a step line, the knee."""
    rng = np.random.default_rng(4)
    cost = rng.uniform(0.1, 1.0, 40)
    error = 6 + 4 / (cost + 0.25) + rng.gamma(2.0, 1.3, 40)
    order = np.argsort(cost)
    best, members = np.inf, []
    for i in order:
        if error[i] < best:
            best = error[i]
            members.append(i)
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    axes.scatter(cost, error, c=GREY, s=28, label="dominated")
    axes.step(cost[members], error[members], where="post", c=FRONT, lw=1.6)
    axes.scatter(cost[members], error[members], c=FRONT, s=52, label="front", zorder=3)
    near = [(cost[i] - cost[members].min()) / np.ptp(cost[members]) for i in members]
    low = [(error[i] - error[members].min()) / np.ptp(error[members]) for i in members]
    knee = members[int(np.argmin(np.hypot(near, low)))]
    axes.scatter([cost[knee]], [error[knee]], s=230, facecolors="none", edgecolors="black", label="knee", zorder=4)
    axes.set(xlabel="backward ratio (lower is cheaper)", ylabel="dev EER, %")
    axes.legend(frameon=False)
    return figure


def metrics() -> Any:
    """Densities of both classes' scores, with a threshold and the two errors."""
    x = np.linspace(-5, 6, 400)
    spoof = np.exp(-((x + 1) ** 2) / 2.4) / np.sqrt(2.4 * np.pi)
    bona = np.exp(-((x - 2) ** 2) / 2.0) / np.sqrt(2.0 * np.pi)
    cut = 0.55
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    axes.plot(x, spoof, c=GONE, label="spoof")
    axes.plot(x, bona, c=OLD, label="bona fide")
    axes.fill_between(x, spoof, where=x >= cut, color=GONE, alpha=0.35)
    axes.fill_between(x, bona, where=x <= cut, color=OLD, alpha=0.35)
    axes.axvline(cut, c="black", ls="--", lw=1)
    axes.annotate("spoof that passes", (0.9, 0.06), (2.6, 0.30), arrowprops={"arrowstyle": "->"})
    axes.annotate("bona fide refused", (0.2, 0.05), (-4.8, 0.24), arrowprops={"arrowstyle": "->"})
    axes.text(cut + 0.08, 0.415, "threshold")
    axes.set(xlabel="score (higher: bona fide)", yticks=[], ylim=(0, 0.44))
    axes.legend(frameon=False, loc="upper right")
    return figure


def reliability() -> Any:
    """Runs of eight configurations, where they differ more than seeds do, and where not."""
    figure, both = plt.subplots(1, 2, figsize=(8, 3.5), sharey=True, layout="constrained")
    rng = np.random.default_rng(1)
    for axes, between, rest, title in (
        (both[0], 2.2, 0.6, "reliability 0.93"),
        (both[1], 0.8, 1.5, "reliability 0.22"),
    ):
        level = np.sort(rng.normal(0, 1, 8))
        level = 14 + between * (level - level.mean()) / level.std()
        for i, one in enumerate(level):
            axes.scatter([i + 1] * 4, one + rest * rng.normal(0, 1, 4), c=NEW, s=22)
            axes.plot([i + 0.72, i + 1.28], [one, one], c=OLD, lw=2.4)
        axes.set(title=title, xlabel="configuration", xticks=range(1, 9))
    both[0].set_ylabel("dev EER, %")
    both[0].text(8.4, 9.1, "line: true level\ndots: four seeds", fontsize=10, ha="right", va="bottom")
    return figure


def locked_split() -> Any:
    """Equal detectors: the best of n on the clips that chose it, and what it does on new ones."""
    rng = np.random.default_rng(0)
    counts = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256])
    seen = [rng.normal(15, 1.2, (2000, n)).min(1).mean() for n in counts]
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    axes.plot(counts, seen, "o-", c=GONE, label="its EER on the clips that chose it")
    axes.plot(counts, np.full(len(counts), 15.0), "s-", c=OLD, label="its EER on new clips")
    axes.fill_between(counts, seen, 15, color=GONE, alpha=0.12)
    axes.set(
        xscale="log", xlabel="trials among which the best was chosen (all equally good)", ylabel="EER, %", ylim=(11, 16)
    )
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.legend(frameon=False, loc="lower left")
    return figure


def fairness() -> Any:
    """The steps of four arms, side by side."""
    figure, axes = canvas(8, 3.4)
    arms = {
        "baseline": [("train on", OLD, 4.2)],
        "plasticity": [("retrain, grown", NEW, 2.8), ("consolidate", OLD, 1.4)],
        "random sites": [("retrain, grown", NEW, 2.8), ("consolidate", OLD, 1.4)],
        "LoRA": [("retrain with adapters", FRONT, 4.2)],
    }
    for row, (name, parts) in enumerate(arms.items()):
        y, x = 2.3 - row * 0.62, 3.0
        axes.text(0.1, y + 0.24, name, va="center", weight="bold")
        for words, colour, width in parts:
            axes.add_patch(Rectangle((x, y), width - 0.04, 0.48, fc=colour, alpha=0.35))
            axes.text(x + width / 2, y + 0.24, words, ha="center", va="center", fontsize=10)
            x += width
    axes.add_patch(Rectangle((1.5, 0.44), 1.46, 2.34, fc=GREY, alpha=0.3))
    axes.text(2.23, 1.6, "train\n(shared)", ha="center", va="center")
    axes.plot([7.2, 7.2], [0.3, 3.0], c="black", ls="--", lw=1)
    axes.text(7.15, 3.1, "the same steps, on the same clips", ha="right")
    arrow(axes, (1.5, 0.2), (7.2, 0.2))
    axes.text(1.5, 0.02, "optimiser steps", fontsize=10)
    return figure


DRAWINGS: dict[str, Callable[[], Any]] = {
    "dropin": dropin,
    "kernels": kernels,
    "plasticity": plasticity,
    "frozen_prefix": frozen_prefix,
    "stage_sharing": stage_sharing,
    "front": front,
    "metrics": metrics,
    "reliability": reliability,
    "locked_split": locked_split,
    "fairness": fairness,
}


def draw(name: str, path: Path) -> None:
    """One drawing as an SVG file that holds no date."""
    with mpl.rc_context(STYLE):
        figure = DRAWINGS[name]()
        figure.savefig(path, metadata={"Date": None, "Creator": None}, facecolor="white")
        plt.close(figure)


if __name__ == "__main__":
    for each in DRAWINGS:
        draw(each, FOLDER / f"{each}.svg")
