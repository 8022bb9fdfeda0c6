"""The pictures: relevance over spectrograms side by side, evidence, and what new neurons answer to.

Purple speaks for bona fide and orange for a spoof, on every picture; both can be told apart by the colour-blind.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import uniform_filter

from plastsearch.explain.evidence import BANDS, CELL_S, Deletion, Splice
from plastsearch.explain.hearing import RANGE_DB, Explained, Panel, over_time
from plastsearch.explain.neurons import Answers
from plastsearch.scores.metrics import Floats

BONA, SPOOF, PLAIN = "#5e3c99", "#c2570c", "#555555"
MAP = "PuOr"  # orange at its low end
KHZ = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
MOST_NEURONS = 60
TITLES = {
    "grad-cam": "Grad-CAM",
    "integrated-gradients": "Integrated gradients",
    "attention": "Attention relevance",
}


def clip_png(one: Explained, path: Path) -> None:
    """What was heard on the left, then relevance under each network, on one colour scale for each method."""
    methods = list(one.panels)
    columns = 1 + max(len(panels) for panels in one.panels.values())
    long = len(one.windows) > 1
    figure = Figure(figsize=(3.0 * columns + 1.3, 3.5 * len(methods) + (1.7 if long else 0.7)), layout="constrained")
    FigureCanvasAgg(figure)
    heights = ([0.8] if long else []) + [2.4, 1.0] * len(methods)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    if long:
        _timeline(figure.add_subplot(grid[0, :]), one)
    for number, method in enumerate(methods):
        row = 2 * number + int(long)
        panels = one.panels[method]
        limit = _limit([_shown(panel, one) for panel in panels])
        heard = figure.add_subplot(grid[row, 0])
        _spectrum(heard, one, "magma")
        heard.set_title("heard", fontsize=10)
        heard.set_ylabel(f"{TITLES[method]}\nfrequency (kHz)", fontsize=9)
        curves = [over_time(panel.found, one.window_s) for panel in panels]
        reach = max(1e-9, 1.08 * max(float(abs(curve).max()) for curve in curves))
        _together(figure.add_subplot(grid[row + 1, 0]), one, panels, curves, reach)
        maps = []
        for at, (panel, curve) in enumerate(zip(panels, curves, strict=True), 1):
            maps.append(figure.add_subplot(grid[row, at]))
            _overlay(maps[-1], one, panel, limit)
            _curve(figure.add_subplot(grid[row + 1, at]), one, curve, reach)
        _bar(figure, maps, panels[0], limit)
    verdict = "bona fide" if one.bona_fide else "a spoof"
    figure.suptitle(f"{one.name}: judged {verdict} (score {one.score:+.2f})", fontsize=12)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _shown(panel: Panel, one: Explained) -> Floats:
    """Around each place the sum over one cell of the evidence: single pixels scattered about cannot be seen."""
    values: Floats = panel.found.map.double().cpu().numpy()
    rows, frames = values.shape
    cell = (max(1, rows // BANDS) if rows > 1 else 1, max(1, round(frames * CELL_S / one.window_s)))
    summed: Floats = uniform_filter(values, cell, mode="nearest") * (cell[0] * cell[1])
    return summed


def _limit(maps: Sequence[Floats]) -> float:
    return max(1e-9, float(np.quantile(np.abs(np.concatenate([one.ravel() for one in maps])), 0.995)))


def _spectrum(axes: Axes, one: Explained, colours: str) -> None:
    axes.imshow(
        one.spectrum, origin="lower", aspect="auto", cmap=colours, vmin=-RANGE_DB, vmax=0,
        extent=_extent(one), interpolation="nearest",
    )  # fmt: skip
    _axes(axes, one)


def _extent(one: Explained) -> tuple[float, float, float, float]:
    return one.start_s, one.start_s + one.window_s, 0.0, float(len(one.khz))


def _axes(axes: Axes, one: Explained) -> None:
    ticks = [tick for tick in KHZ if one.khz[0] <= tick <= 1.02 * one.khz[-1]]
    axes.set_yticks(np.interp(ticks, one.khz, np.arange(len(one.khz)) + 0.5), [f"{tick:g}" for tick in ticks])
    axes.set_ylim(0, len(one.khz))
    _time(axes, one)
    axes.tick_params(labelsize=8, labelbottom=False)


def _time(axes: Axes, one: Explained) -> None:
    axes.set_xlim(one.start_s, one.start_s + one.window_s)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if one.heard_s < one.window_s - 0.02:  # beyond it the clip begins anew
        axes.axvline(one.start_s + one.heard_s, color="white", lw=2.4)
        axes.axvline(one.start_s + one.heard_s, color="#333", lw=1.2, ls="--")


def _overlay(axes: Axes, one: Explained, panel: Panel, limit: float) -> None:
    """The spectrogram in grey, relevance on it: the stronger, the less of the grey shows."""
    _spectrum(axes, one, "gray")
    values = _shown(panel, one)
    if values.shape[0] > 1 and one.map_khz is not None:  # onto the rows of the drawing
        rows = np.interp(one.khz, one.map_khz, np.arange(values.shape[0]))
        low = np.floor(rows).astype(int)
        high = np.minimum(low + 1, values.shape[0] - 1)
        values = values[low] + (rows - low)[:, None] * (values[high] - values[low])
    share = np.clip(values / limit, -1, 1)
    colour = colormaps[MAP]((share + 1) / 2)
    colour[..., 3] = 0.85 * np.abs(share) ** 0.6
    axes.imshow(colour, origin="lower", aspect="auto", extent=_extent(one), interpolation="bilinear")
    _axes(axes, one)
    axes.tick_params(labelleft=False)
    axes.set_title(f"{panel.stage}: score {panel.score:+.2f}", fontsize=10)


def _curve(axes: Axes, one: Explained, curve: Floats, reach: float) -> None:
    edges = one.start_s + np.linspace(0, one.window_s, len(curve) + 1)
    axes.bar(
        edges[:-1], curve, width=np.diff(edges), align="edge", lw=0, color=[BONA if v > 0 else SPOOF for v in curve]
    )
    axes.axhline(0, color="#777", lw=0.7)
    axes.set_ylim(-reach, reach)
    _time(axes, one)
    axes.set_xlabel("time (s)", fontsize=9)
    axes.tick_params(labelsize=8, labelleft=False)
    axes.grid(axis="x", color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)


def _together(axes: Axes, one: Explained, panels: Sequence[Panel], curves: Sequence[Floats], reach: float) -> None:
    """All networks' curves in one plot, told apart by their strokes too."""
    strokes = (("#0072b2", ":"), ("#e69f00", "--"), ("#000000", "-"))
    named = zip(strokes[-len(panels) :], panels, curves, strict=True)
    for depth, ((colour, stroke), panel, curve) in enumerate(named):  # dots and dashes on top, where lines are alike
        at = one.start_s + (np.arange(len(curve)) + 0.5) / len(curve) * one.window_s
        axes.plot(at, curve, color=colour, ls=stroke, lw=1.3, label=panel.stage, zorder=5 - depth)
    axes.axhline(0, color="#777", lw=0.7)
    axes.set_ylim(-reach, reach)
    _time(axes, one)
    axes.set_xlabel("time (s)", fontsize=9)
    axes.set_ylabel("per 0.1 s" + (" (logits)" if panels[0].found.logits else " (share)"), fontsize=9)
    axes.tick_params(labelsize=8)
    if len(panels) > 1:
        axes.legend(fontsize=7, loc="upper left", ncols=len(panels), frameon=False, handlelength=1.6, columnspacing=0.8)
        axes.set_ylim(-reach, 1.5 * reach)


def _bar(figure: Figure, maps: Sequence[Axes], panel: Panel, limit: float) -> None:
    unit = "logits " if panel.found.logits else "share of relevance "
    cell = "0.1 s × ⅛ of the bands" if panel.found.map.shape[0] > 1 else "0.1 s"
    bar = figure.colorbar(ScalarMappable(Normalize(-limit, limit), MAP), ax=list(maps), pad=0.01, aspect=16)
    bar.set_label(f"{unit}per {cell}", fontsize=8)
    bar.ax.set_title("bona fide", fontsize=8, color=BONA)
    bar.ax.set_xlabel("spoof", fontsize=8, color=SPOOF)
    bar.ax.tick_params(labelsize=8)


def _timeline(axes: Axes, one: Explained) -> None:
    """Scores of all windows, and which one is explained below."""
    middles = [(window.start_s + window.end_s) / 2 for window in one.windows]
    axes.plot(middles, [window.score for window in one.windows], "o-", color=PLAIN, ms=3.5, lw=1)
    axes.axvspan(one.start_s, min(one.start_s + one.window_s, one.length_s), color="#56b4e9", alpha=0.35, lw=0)
    axes.set_xlim(0, one.length_s)
    axes.set_ylabel("score", fontsize=9)
    axes.set_title(f"scores of {len(one.windows)} windows along the clip (s); the shaded one is explained", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e8e8e8", lw=0.6)


def evidence_png(deletions: Sequence[Deletion], splices: Sequence[Splice], window_s: float, path: Path) -> None:
    """A row for each method: deletion against chance, their difference, and relevance along spliced clips."""
    figure = Figure(figsize=(11.5, 3.3 * len(deletions) + 0.2), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(deletions), 3, squeeze=False, width_ratios=(1.15, 1, 1.15))
    for axes, one, spliced in zip(every, deletions, splices, strict=True):
        _deletion(axes[0], axes[1], one)
        _splice(axes[2], spliced, window_s)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _deletion(curves: Axes, gap: Axes, one: Deletion) -> None:
    percent = [100 * share for share in one.shares]
    curves.plot(percent, one.by_chance, "s--", color=PLAIN, ms=4, lw=1.4, label="at random")
    curves.plot(percent, one.by_relevance, "o-", color="#0072b2", ms=4, lw=1.6, label="most relevant first")
    curves.fill_between(percent, one.by_relevance, one.by_chance, color="#0072b2", alpha=0.12, lw=0)
    curves.set_ylabel("score for the decision (logits)", fontsize=9)
    curves.set_title(f"{TITLES[one.method]}: deletion, {one.clips:,} clips", fontsize=10, loc="left")
    curves.legend(fontsize=8, frameon=False)
    gap.fill_between(
        percent, [step.low for step in one.difference], [step.high for step in one.difference], color="#0072b2",
        alpha=0.25, lw=0,
    )  # fmt: skip
    gap.plot(percent, [step.mean for step in one.difference], "o-", color="#0072b2", ms=4, lw=1.4)
    gap.axhline(0, color="#333", lw=0.9)
    gap.set_ylabel("random − relevant (logits)", fontsize=9)
    area = one.area
    gap.set_title(f"area {area.mean:+.2f} [{area.low:+.2f}, {area.high:+.2f}]: {one.finding}", fontsize=10, loc="left")
    for axes in (curves, gap):
        axes.set_xlabel("cells deleted (%)", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(color="#e8e8e8", lw=0.6)
        axes.set_axisbelow(True)


def _splice(axes: Axes, one: Splice, window_s: float) -> None:
    at = (np.arange(len(one.profile_spoof_last)) + 0.5) / len(one.profile_spoof_last) * window_s
    axes.axvline(window_s / 2, color="#333", lw=0.9, ls=":")
    for profile, stroke, name in (
        (one.profile_spoof_last, "-", "spoof in the second half"),
        (one.profile_spoof_first, "--", "spoof in the first half"),
    ):
        axes.plot(at, _smooth(profile), color=SPOOF, ls=stroke, lw=1.5, label=name)
    axes.axhline(0, color="#777", lw=0.7)
    axes.set_xlim(0, window_s)
    axes.set_xlabel("time in the joined clip (s)", fontsize=9)
    axes.set_ylabel("relevance for a spoof", fontsize=9)
    area = one.area
    axes.set_title(
        f"splice, {one.pairs} pairs: AUC {area.mean:.2f} [{area.low:.2f}, {area.high:.2f}]: {one.finding}",
        fontsize=10, loc="left",
    )  # fmt: skip
    axes.legend(fontsize=8, frameon=False)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)


def _smooth(profile: Floats) -> Floats:
    width = max(1, len(profile) // 10)
    kernel = np.ones(width) / width
    weight = np.convolve(np.ones(len(profile)), kernel, "same")
    return np.asarray(np.convolve(profile, kernel, "same") / weight)


def neurons_png(found: Answers, path: Path) -> None:
    """New neurons by attacks on the left, how well each separates on the right."""
    shown = sorted(found.neurons, key=lambda one: -abs(one.auc - 0.5))[:MOST_NEURONS]
    shown = [one for site in dict.fromkeys(one.site for one in found.neurons) for one in shown if one.site == site]
    figure = Figure(
        figsize=(3.4 + 0.62 * len(found.attacks) + 3.2, 1.9 + 0.2 * max(8, len(shown))), layout="constrained"
    )
    FigureCanvasAgg(figure)
    heat, dots = figure.subplots(1, 2, sharey=True, width_ratios=(0.62 * len(found.attacks) + 0.6, 2.6))
    values = np.array([one.by_attack for one in shown])
    limit = max(0.5, float(np.quantile(np.abs(values), 0.98)))
    # The map's ends exchanged: more active on an attack than on bona fide speech is orange here as everywhere.
    drawn = heat.imshow(values, cmap=f"{MAP}_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    heat.set_xticks(range(len(found.attacks)), list(found.attacks), fontsize=9)
    heat.set_yticks(range(len(shown)), [f"{one.site} #{one.unit}" for one in shown], fontsize=7.5)
    heat.set_xlabel("attack", fontsize=9)
    heat.set_title("activation, attack − bona fide", fontsize=10)
    bar = figure.colorbar(drawn, ax=heat, orientation="horizontal", pad=0.02, aspect=25, shrink=0.9)
    bar.set_label("standard deviations of bona fide clips", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    dots.axvspan(0.5 - found.chance, 0.5 + found.chance, color="#ccc", alpha=0.6, lw=0, label="chance (best of all)")
    dots.axvline(0.5, color="#777", lw=0.8)
    kinds = ((True, "o", BONA, "survived pruning"), (False, "x", "#999999", "pruned"), (None, "o", BONA, "new neuron"))
    for kept, marker, colour, name in kinds:
        rows = [n for n, one in enumerate(shown) if one.survived is kept]
        if rows:
            dots.scatter([shown[n].auc for n in rows], rows, s=26, marker=marker, color=colour, zorder=3, label=name)
    dots.set_xlim(-0.02, 1.02)
    dots.set_xlabel("AUC, spoofs against bona fide", fontsize=9)
    dots.set_title("separability of each alone", fontsize=10)
    dots.tick_params(labelsize=8, labelleft=False)
    dots.grid(axis="x", color="#e8e8e8", lw=0.6)
    dots.set_axisbelow(True)
    handles, names = dots.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower right", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
