"""The figures of a comparison as PNG and SVG; what they show: figure.py."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from plastsearch.compare.comparison import Comparison
from plastsearch.compare.figure import COLOURS, DASHES, TICKS, det, deviate, histogram, limits

STYLES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}


def det_pictures(comparison: Comparison, png: Path, svg: Path) -> None:
    """Miss against false alarm, both on normal-deviate axes, the same range on both."""
    figure = Figure(figsize=(5.6, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    curves = [
        det(comparison.clips, arm, one.eer) for arm, one in zip(comparison.arms, comparison.summaries, strict=True)
    ]
    low, high = limits(curves)
    for at, one in enumerate(curves):
        colour, style = COLOURS[at % len(COLOURS)], STYLES[DASHES[at // len(COLOURS) % len(DASHES)]]
        axes.plot(
            deviate(one.false_alarm), deviate(one.miss), style, color=colour, lw=1.6, drawstyle="steps-post",
            label=f"{one.name}  (EER {one.eer:.2f} %)",
        )  # fmt: skip
        if low < one.eer < high:
            axes.plot(deviate(np.array([one.eer])), deviate(np.array([one.eer])), "o", ms=5, color=colour)
    ends = deviate(np.array([low, high]))
    axes.plot(ends, ends, color="#bbb", lw=0.8, zorder=0)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(deviate(np.array(ticks)).tolist(), [f"{tick:g}" for tick in ticks])
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel("spoofs accepted (%)")
    axes.set_ylabel("bona fide rejected (%)")
    axes.grid(color="#e8e8e8", lw=0.6)
    axes.legend(fontsize=9, framealpha=0.9, loc="lower left")
    _save(figure, png, svg)


def histogram_picture(comparison: Comparison, png: Path) -> None:
    """A row for each arm: both classes over its scores, and where its EER's threshold lies."""
    rows = len(comparison.arms)
    figure = Figure(figsize=(6.4, 1.9 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    for at, arm in enumerate(comparison.arms):
        axes = figure.add_subplot(rows, 1, at + 1)
        one = histogram(comparison.clips, arm)
        for share, colour, name in ((one.bona, COLOURS[0], "bona fide"), (one.spoof, COLOURS[1], "spoofed")):
            axes.stairs(100 * share, one.edges, fill=True, color=colour, alpha=0.45, label=name)
            axes.stairs(100 * share, one.edges, color=colour, lw=1.2)
        axes.axvline(one.threshold, color="black", lw=1, ls="--", label="threshold at the EER")
        axes.set_title(one.name, fontsize=10, loc="left")
        axes.set_ylabel("clips (%)")
        axes.grid(axis="y", color="#e8e8e8", lw=0.6)
        axes.set_axisbelow(True)
        if at == 0:
            axes.legend(fontsize=8, framealpha=0.9)
    axes.set_xlabel("score (higher: bona fide)")
    _save(figure, png)


def attack_picture(comparison: Comparison, png: Path) -> None:
    """EER of each attack under each arm; attacks that are hardest for the first arm on top."""
    order = np.argsort(-comparison.per_attack[:, 0], kind="stable")
    values = comparison.per_attack[order]
    figure = Figure(figsize=(1.6 + 1.15 * len(comparison.arms), 0.9 + 0.3 * len(order)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = axes.imshow(values, cmap="cividis", vmin=0, vmax=max(50.0, float(values.max())), aspect="auto")
    axes.set_xticks(range(len(comparison.arms)), [arm.short for arm in comparison.arms], rotation=30, ha="right")
    axes.set_yticks(range(len(order)), [comparison.attacks[at] for at in order])
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=8, color=_ink(shown, value))
    figure.colorbar(shown, ax=axes, label="EER (%)")
    _save(figure, png)


def _ink(shown: ScalarMappable, value: float) -> str:
    """Black or white, whichever is read on that cell."""
    red, green, blue, _ = shown.to_rgba(np.array([value]))[0]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def _save(figure: Figure, png: Path, svg: Path | None = None) -> None:
    # Without matplotlib's version and the date inside, equal figures are equal files.
    figure.savefig(png, format="png", dpi=130, metadata={"Software": None})
    if svg is not None:
        with rc_context({"svg.hashsalt": "plastsearch", "svg.fonttype": "none"}):
            figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
