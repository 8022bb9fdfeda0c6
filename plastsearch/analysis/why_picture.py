"""The figure of an ablation, and that of importances, as pictures. What is shown: why_figure.py."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from plastsearch.analysis.ablations import Ablation
from plastsearch.analysis.importance import Importances
from plastsearch.analysis.why_figure import (
    NAMES,
    PALE,
    SHADES,
    Dots,
    Panel,
    axis,
    dots,
    dots_heading,
    heading,
    panels,
)

ROW = 0.34  # inches of a step


def ablation_png(ablation: Ablation, path: Path) -> None:
    """Both paths one above the other, on one scale."""
    shown = panels(ablation)
    rows = [len(panel.bars) for panel in shown]
    figure = Figure(figsize=(9.5, ROW * sum(rows) + 2.1), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(2, 1, sharex=True, height_ratios=rows)
    for axes, panel in zip(every, shown, strict=True):
        _panel(axes, panel)
    every[1].set_xlabel(axis(ablation))
    present = {bar.kind for panel in shown for bar in panel.bars}
    kinds = [kind for kind in NAMES if kind in present and kind != "end"]
    handles = [Patch(color=SHADES[kind], label=NAMES[kind]) for kind in kinds]
    handles.append(Patch(color="#666", alpha=PALE, label="pale: no difference shown (Holm)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5)
    figure.suptitle(heading(ablation), fontsize=12)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _panel(axes: Axes, panel: Panel) -> None:
    for at, bar in enumerate(panel.bars):
        colour = SHADES[bar.kind]
        if bar.kind == "end":
            axes.plot([bar.end], [at], marker="D", ms=6, color=colour, zorder=4)
        else:
            axes.barh(
                at, bar.end - bar.start, left=bar.start, height=0.62, color=colour, edgecolor="white", lw=0,
                alpha=1.0 if bar.clear else PALE, hatch="///" if bar.kind == "worse" else None, zorder=2,
            )  # fmt: skip
            # A step of no size would leave no trace.
            axes.plot([bar.end, bar.end], [at - 0.31, at + 0.31], color=colour, lw=2, zorder=3)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [at, at], color="#222", lw=1.1, zorder=5)
        if at + 1 < len(panel.bars):  # down to where the next begins
            axes.plot([bar.end, bar.end], [at, at + 1], color="#777", lw=0.8, ls=":", zorder=1)
        axes.annotate(
            bar.text, (1.01, at), xycoords=("axes fraction", "data"), va="center", fontsize=8.5, annotation_clip=False
        )
    axes.set_yticks(range(len(panel.bars)), [bar.label for bar in panel.bars], fontsize=8.5)
    axes.set_ylim(len(panel.bars) - 0.5, -0.5)
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.grid(axis="x", color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)


def importance_png(found: Importances, name: str, path: Path) -> None:
    """A row for each objective: both methods side by side, parameters in one order."""
    shown = [dots(one) for one in found.objectives]
    rows = [len(pair[0].names) for pair in shown]
    figure = Figure(figsize=(9.0, 0.24 * sum(rows) + 1.0 * len(rows) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(shown), 2, squeeze=False, height_ratios=rows)
    for line, pair in zip(every, shown, strict=True):
        for axes, one in zip(line, pair, strict=True):
            _dots(axes, one)
        line[1].set_yticklabels([])
    figure.suptitle(dots_heading(found, name), fontsize=12)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _dots(axes: Axes, one: Dots) -> None:
    at = range(len(one.names))
    axes.hlines(at, one.lows, one.highs, color=one.colour, lw=1.4)
    axes.scatter(one.values, at, s=26, color=one.colour, zorder=3)
    if one.chance:
        axes.scatter(one.chance, at, s=90, marker="|", color="#333", lw=1.4, zorder=2)
    axes.axvline(0, color="#999", lw=0.8)
    axes.set_yticks(at, one.names, fontsize=8.5)
    axes.set_ylim(len(one.names) - 0.5, -0.5)
    axes.set_xlabel(one.axis, fontsize=9)
    axes.set_title(one.title, fontsize=10, loc="left")
    axes.grid(axis="x", color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)
