"""Each figure as a picture, for places that run no scripts. What is shown: figure.py, why_figure.py."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from plastsearch.analysis import why_figure as why
from plastsearch.analysis.ablations import Ablation
from plastsearch.analysis.figure import (
    COLOURS,
    AxisPair,
    Group,
    axis_pairs,
    band_name,
    bands,
    front_line,
    groups,
    log_ticks,
    place,
    spread,
    tick,
    title,
)
from plastsearch.analysis.importance import Importances
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.analysis.site_panels import LINES, SITES_AXIS, SitePanel, top
from plastsearch.words import printable

AREAS = {0.95: 0.14, 0.5: 0.3}  # opacity; the narrow band lies on the wide one
ROW = 0.34  # inches of a step
# figure.SYMBOLS in matplotlib's words
MARKERS = {"baseline": "*", "lora": "D", "adalora": "P", "random": "X", "other": "s"}


def pareto_png(results: Results, path: Path) -> None:
    """The same views as one picture, for places that show no scripts; narrow enough for MLflow's description."""
    shown = axis_pairs(results)[:3]
    rows, columns = (1, len(shown)) if len(shown) < 3 else (2, 2)  # the fourth place takes the legend
    figure = Figure(figsize=(7.0, 3.1 * rows + 0.4) if columns > 1 else (7.0, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for n, pair in enumerate(shown, 1):
        axes = figure.add_subplot(rows, columns, n)
        _panel(axes, results, pair)
    if results.plotted and len(shown) == 3:
        key = figure.add_subplot(rows, columns, 4)
        key.axis("off")
        key.legend(*axes.get_legend_handles_labels(), loc="center left", frameon=False, fontsize=10)
    elif results.plotted:
        axes.legend(fontsize=8, framealpha=0.9)
    figure.suptitle(f"Pareto front of {printable(results.name)}", fontsize=12, parse_math=False)
    _save(figure, path, dpi=100)


def _save(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Without matplotlib's name and version inside, equal figures are equal files."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for a letter that the font has not
        figure.savefig(path, format="png", dpi=dpi, metadata={"Software": None})


def _panel(axes: Axes, results: Results, pair: AxisPair) -> None:
    for share, area in bands(results, pair):
        xs, ys = [x for x, _ in area], [y for _, y in area]
        axes.fill(xs, ys, color=COLOURS["front"], alpha=AREAS[share], lw=0, zorder=0.5, label=band_name(share))
    corners = front_line(results, pair)
    axes.plot(
        [x for x, _ in corners],
        [y for _, y in corners],
        color=COLOURS["front"],
        lw=1.3,
        zorder=1,
        label="best in these two",
    )
    for group in groups(results):
        if group.rows:
            _scatter(axes, results, pair, group)
    axes.set_xscale("log" if pair.log_x else "linear")
    axes.set_yscale("log" if pair.log_y else "linear")
    for axis, objective, log in ((axes.xaxis, pair.x, pair.log_x), (axes.yaxis, pair.y, pair.log_y)):
        if log:
            axis.set_minor_formatter(NullFormatter())
            axis.set_ticks(log_ticks(results, objective))
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.set_xlabel("trial" if pair.x < 0 else title(results.objectives[pair.x].metric))
    axes.set_ylabel(title(results.objectives[pair.y].metric))
    axes.grid(color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)


def _scatter(axes: Axes, results: Results, pair: AxisPair, group: Group) -> None:
    """Small and pale first, so that the front stands out."""
    xs = [place(row, pair.x) for row in group.rows]
    ys = [place(row, pair.y) for row in group.rows]
    points = partial(axes.scatter, xs, ys, label=group.name)
    match group.kind:
        case "trials":
            points(s=26, color=COLOURS["other"], alpha=0.75, zorder=2)
            return
        case "refused":
            points(s=26, facecolors="none", edgecolors="#999", zorder=2)
            return
        case "front":
            points(s=52, color=COLOURS["front"], zorder=4)
        case "probable":
            points(s=48, marker="^", color="white", edgecolors=COLOURS["front"], linewidths=1.6, zorder=4)
        case "control":
            size = 150 if group.look == "baseline" else 60
            shape, colour = MARKERS[group.look], COLOURS[group.look]
            points(s=size, marker=shape, color=colour, edgecolors="black", linewidths=0.6, zorder=5)
    bars = partial(axes.errorbar, xs, ys, fmt="none", ecolor="#888", lw=0.8, capsize=2, zorder=1)
    if reach := _reach(results, group.rows, pair.x):
        bars(xerr=reach)
    if reach := _reach(results, group.rows, pair.y):
        bars(yerr=reach)


def _reach(results: Results, rows: Sequence[TrialRow], objective: int) -> tuple[list[float], list[float]] | None:
    if objective < 0:
        return None
    below, above = spread(results, rows, objective)
    return (below, above) if any(below) or any(above) else None


def sites_png(panels: Sequence[SitePanel], path: Path) -> None:
    """EER by dropin site as one picture: a panel per network, side by side, on one scale."""
    figure = Figure(figsize=(3.7 * max(2, len(panels)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=[p.width for p in panels])[0]
    for axes, panel in zip(every, panels, strict=True):
        _site_panel(axes, panel)
    every[0].set_ylabel(SITES_AXIS)
    every[0].set_ylim(0, top(panels))
    handles, names = every[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(3, len(panels)), frameon=False, fontsize=9)
    _save(figure, path)


def _site_panel(axes: Axes, panel: SitePanel) -> None:
    for name, values in panel.lines.items():
        colour, style, _ = LINES[name]
        axes.axhspan(min(values), max(values), color=colour, alpha=0.12, lw=0)
        axes.axhline(sum(values) / len(values), color=colour, ls=style, lw=1.5, label=name)
    where, (means, below, above) = list(range(len(panel.by_site))), panel.bars()
    axes.errorbar(
        where, means, yerr=(below, above), fmt="o-", color=COLOURS["front"], capsize=3, lw=1.4, ms=5, label=panel.what
    )
    for x, values in zip(where, panel.by_site.values(), strict=True):
        axes.scatter([x] * len(values), values, s=9, color=COLOURS["front"], alpha=0.45, zorder=3)
    axes.set_xticks(where, list(panel.by_site), rotation=45, ha="right", rotation_mode="anchor", fontsize=8.5)
    axes.set_xlim(-0.5, len(where) - 0.5)
    axes.set_title(panel.title, fontsize=11)
    axes.grid(axis="y", color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)


def ablation_png(ablation: Ablation, path: Path) -> None:
    """Both paths one above the other, on one scale."""
    shown = why.panels(ablation)
    rows = [len(panel.bars) for panel in shown]
    figure = Figure(figsize=(9.5, ROW * sum(rows) + 2.1), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(2, 1, sharex=True, height_ratios=rows)
    for axes, panel in zip(every, shown, strict=True):
        _path(axes, panel)
    every[1].set_xlabel(why.axis(ablation))
    present = {bar.kind for panel in shown for bar in panel.bars}
    kinds = [kind for kind in why.NAMES if kind in present and kind != "end"]
    handles = [Patch(color=why.SHADES[kind], label=why.NAMES[kind]) for kind in kinds]
    handles.append(Patch(color="#666", alpha=why.PALE, label="pale: no difference shown (Holm)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5)
    figure.suptitle(printable(why.heading(ablation)), fontsize=12, parse_math=False)
    _save(figure, path)


def _path(axes: Axes, panel: why.Panel) -> None:
    for at, bar in enumerate(panel.bars):
        colour = why.SHADES[bar.kind]
        if bar.kind == "end":
            axes.plot([bar.end], [at], marker="D", ms=6, color=colour, zorder=4)
        else:
            axes.barh(
                at, bar.end - bar.start, left=bar.start, height=0.62, color=colour, edgecolor="white", lw=0,
                alpha=1.0 if bar.clear else why.PALE, hatch="///" if bar.kind == "worse" else None, zorder=2,
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
    axes.set_yticks(
        range(len(panel.bars)), [printable(bar.label) for bar in panel.bars], fontsize=8.5, parse_math=False
    )
    axes.set_ylim(len(panel.bars) - 0.5, -0.5)
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.grid(axis="x", color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)


def importance_png(found: Importances, name: str, path: Path) -> None:
    """A row for each objective: both methods side by side, parameters in one order."""
    shown = [why.dots(one) for one in found.objectives]
    rows = [len(pair[0].names) for pair in shown]
    figure = Figure(figsize=(9.0, 0.24 * sum(rows) + 1.0 * len(rows) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(shown), 2, squeeze=False, height_ratios=rows)
    for line, pair in zip(every, shown, strict=True):
        for axes, one in zip(line, pair, strict=True):
            _dots(axes, one)
        line[1].set_yticklabels([])
    figure.suptitle(printable(why.dots_heading(found, name)), fontsize=12, parse_math=False)
    _save(figure, path)


def _dots(axes: Axes, one: why.Dots) -> None:
    at = range(len(one.names))
    axes.hlines(at, one.lows, one.highs, color=one.colour, lw=1.4)
    axes.scatter(one.values, at, s=26, color=one.colour, zorder=3)
    if one.chance:
        axes.scatter(one.chance, at, s=90, marker="|", color="#333", lw=1.4, zorder=2)
    axes.axvline(0, color="#999", lw=0.8)
    axes.set_yticks(at, [printable(name) for name in one.names], fontsize=8.5, parse_math=False)
    axes.set_ylim(len(one.names) - 0.5, -0.5)
    axes.set_xlabel(one.axis, fontsize=9)
    axes.set_title(one.title, fontsize=10, loc="left")
    axes.grid(axis="x", color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)
