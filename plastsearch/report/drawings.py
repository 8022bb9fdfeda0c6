"""The figures of placing.py and ranks.py, each as SVG (for pages and papers) and PNG (for places that show no SVG)."""

import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from plastsearch.analysis.figure import COLOURS
from plastsearch.analysis.placing import ByLayer, Grid
from plastsearch.analysis.ranks import Ranks
from plastsearch.files import whole_file
from plastsearch.words import printable

# A page draws text, axes and bars in the colour of its own text instead of this one: so figures suit a dark page.
INK = "#222223"
FAINT = "#8a8a8b"
# Names are words: a dollar in one of them opens no formula.
_SVG = {
    "text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "plastsearch", "font.family": "sans-serif",
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
}  # fmt: skip


def draw(folder: Path, name: str, figure: Callable[[], Figure]) -> dict[str, Path]:
    """Both files of one figure; equal figures are equal files."""
    found = {}
    with mpl.rc_context(_SVG), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for it; the page has its own fonts
        drawn = figure()
        FigureCanvasAgg(drawn)
        for kind, about in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            path = folder / f"{name}.{kind}"
            with whole_file(path) as draft:
                drawn.savefig(draft, format=kind, dpi=110, metadata=about, transparent=kind == "svg")
            found[path.name] = path
    return found


def layers_figure(found: ByLayer) -> Figure:
    """Mean EER at each site with its interval, single-site trials as small dots, the baseline as a line."""
    sites = found.sites
    figure = Figure(figsize=(max(5.5, min(16.0, 1.6 + 0.42 * len(sites))), 3.9), layout="constrained")
    axes = figure.add_subplot()
    if found.baseline is not None:
        if found.baseline.low is not None and found.baseline.high is not None:
            axes.axhspan(found.baseline.low, found.baseline.high, color=COLOURS["baseline"], alpha=0.13, lw=0)
        axes.axhline(found.baseline.value, color=COLOURS["baseline"], ls="--", lw=1.4, label="baseline (no growth)")
    alone = [(at, eer) for at, one in enumerate(sites) for eer in one.alone]
    if alone:
        xs, ys = zip(*alone, strict=True)
        axes.scatter([x + 0.18 for x in xs], ys, s=10, color=COLOURS["lora"], alpha=0.6, label="grew there alone", lw=0)
    for at, one in enumerate(sites):
        if one.low is not None and one.high is not None:
            axes.plot([at, at], [one.low, one.high], color=COLOURS["front"], lw=1.6, solid_capstyle="butt")
    axes.plot(range(len(sites)), [one.mean for one in sites], "o", color=COLOURS["front"], ms=6, label="mean of trials")
    for at, one in enumerate(sites):
        axes.annotate(str(one.trials), (at, 1.01), xycoords=("data", "axes fraction"), ha="center", fontsize=7.5,
                      color=FAINT)  # fmt: skip
    axes.annotate("trials", (-0.01, 1.01), xycoords="axes fraction", ha="right", fontsize=7.5, color=FAINT)
    _sites(axes, [printable(one.site) for one in sites])
    axes.set_ylabel("dev EER (%)")
    axes.grid(axis="y", color=FAINT, alpha=0.3, lw=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure


def _sites(axes: Axes, names: list[str]) -> None:
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.spines[["top", "right"]].set_visible(False)


def grid_figure(found: Grid) -> Figure:
    """A map of means: dark is a low EER; the count stands in each cell, an empty one is hatched."""
    rows, columns = len(found.sites), len(found.counts)
    figure = Figure(figsize=(max(4.6, 2.4 + 0.72 * columns), max(2.4, 1.3 + 0.36 * rows)), layout="constrained")
    axes = figure.add_subplot()
    means = [cell.mean for cell in found.cells.values()]
    low, high = min(means), max(means)
    colours, scale = mpl.colormaps["cividis"], mpl.colors.Normalize(low, high if high > low else low + 1)
    for y, site in enumerate(found.sites):
        for x, count in enumerate(found.counts):
            cell = found.cells.get((site, count))
            place = (x - 0.5, y - 0.5)
            if cell is None:
                axes.add_patch(Rectangle(place, 1, 1, fill=False, hatch="////", ec=FAINT, lw=0.3, alpha=0.5))
                continue
            axes.add_patch(Rectangle(place, 1, 1, color=colours(scale(cell.mean)), lw=0))
            ink = "#ffffff" if scale(cell.mean) < 0.55 else "#000000"
            axes.text(x, y - 0.14, f"{cell.mean:.1f}", ha="center", va="center", fontsize=8.5, color=ink)
            axes.text(x, y + 0.27, f"n={cell.trials}", ha="center", va="center", fontsize=6.5, color=ink)
    axes.set_xticks(range(columns), [f"+{count}" for count in found.counts], fontsize=8)
    axes.set_yticks(range(rows), [printable(site) for site in found.sites], fontsize=8)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlabel("neurons added at the site · hatched: no trial")
    bar = figure.colorbar(mpl.cm.ScalarMappable(scale, colours), ax=axes, fraction=0.05, pad=0.02)
    bar.set_label("mean dev EER (%)", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure


def ranks_figure(found: Ranks) -> Figure:
    """A critical-difference diagram: methods on a line by average rank, bars over those that are not told apart."""
    count = len(found.methods)
    half = (count + 1) // 2
    height = 1.5 + 0.3 * half + 0.12 * len(found.cliques)
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")
    axes.set_ylim(-0.55 - 0.3 * half - 0.13 * len(found.cliques), 0.95)
    margin = 0.55 * max(1, count - 1)
    axes.set_xlim(1 - margin, count + margin)
    axes.plot([1, count], [0, 0], color=INK, lw=1.2)
    for place in range(1, count + 1):
        axes.plot([place, place], [0, 0.08], color=INK, lw=1)
        axes.text(place, 0.13, str(place), ha="center", va="bottom", fontsize=9)
    end = min(1 + found.distance, count + margin)
    axes.plot([1, 1, 1, end, end, end], [0.48, 0.58, 0.53, 0.53, 0.58, 0.48], color=FAINT, lw=1)
    axes.text((1 + end) / 2, 0.63, f"critical difference {found.distance:.2f}", ha="center", va="bottom", fontsize=8)
    level = -0.13
    for first, last in found.cliques:
        axes.plot([found.ranks[first] - 0.03, found.ranks[last] + 0.03], [level, level], color=COLOURS["front"], lw=4,
                  solid_capstyle="round")  # fmt: skip
        level -= 0.13
    for at, (name, rank) in enumerate(zip(found.methods, found.ranks, strict=True)):
        left = at < half
        y = level - 0.12 - 0.3 * (at if left else count - 1 - at)
        x = 1 - 0.08 * margin if left else count + 0.08 * margin
        axes.plot([rank, rank, x], [0, y, y], color=INK, lw=0.9)
        axes.text(x, y, f"{name}   {rank:.2f}  " if left else f"  {rank:.2f}   {name}", fontsize=9, va="center",
                  ha="right" if left else "left")  # fmt: skip
    return figure
