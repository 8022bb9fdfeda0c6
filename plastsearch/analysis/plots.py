"""Each figure twice: an interactive page that needs no network, and a picture.

What they show is in figure.py (the Pareto front) and site_figure.py (EER by dropin site).
"""

import html
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plastsearch.analysis.figure import (
    COLOURS,
    SYMBOLS,
    View,
    brief,
    hover,
    round_values,
    staircase,
    tick,
    title,
    views,
)
from plastsearch.analysis.page import PAGE, PARETO_SCRIPT, SITES_SCRIPT
from plastsearch.analysis.results import Results, Row
from plastsearch.analysis.site_figure import LINES, POINTS, SITES_AXIS, SITES_NOTE, SitePanel, sites_figure, top

WAYS = {"min": "less", "max": "more"}
RING = {"color": COLOURS["front"], "width": 2.5}


def pareto_html(results: Results, intro: str = "", outro: str = "") -> str:
    """One self-contained page: each pair of objectives by buttons, log axes where they help; HTML around it given."""
    return _page(f"Pareto front of {results.name}", pareto_figure(results), PARETO_SCRIPT, intro, outro)


def sites_html(panels: Sequence[SitePanel], name: str) -> str:
    """EER by dropin site as one self-contained page."""
    return _page(name, sites_figure(panels), SITES_SCRIPT, SITES_NOTE)


def _page(name: str, figure: dict[str, Any], script: str, intro: str = "", outro: str = "") -> str:
    from plotly.offline import get_plotlyjs

    # Inside a script element only these three could end it or open a comment.
    data = json.dumps(figure).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return PAGE.format(
        title=html.escape(name), library=get_plotlyjs(), intro=intro, outro=outro,
        script=script.replace("DATA", data, 1),
    )  # fmt: skip


def pareto_figure(results: Results) -> dict[str, Any]:
    """The figure as plain Plotly data; each view shows the traces `from` … `to` on its own axes."""
    layout = {
        "hovermode": "closest", "font": {"family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 60, "r": 10, "t": 30, "b": 60}, "hoverlabel": {"align": "left", "bgcolor": "white"},
        "legend": {"orientation": "h", "itemsizing": "constant", "x": 0, "y": -0.19, "yanchor": "top"},
    }  # fmt: skip
    data: list[dict[str, Any]] = []
    shown = []
    for view in views(results):
        traces = _traces(results, view)
        label = f"{_name(results, view.y, brief)} × {_name(results, view.x, brief)}"
        axes = {"x": _axis(results, view.x, view.log_x), "y": _axis(results, view.y, view.log_y)}
        shown.append({"label": label, "from": len(data), "to": len(data) + len(traces), "axes": axes})
        data += traces
    return {"data": data, "layout": layout, "views": shown}


def _name(results: Results, objective: int, naming: Callable[[str], str]) -> str:
    return "trial" if objective < 0 else naming(results.objectives[objective].metric)


def _axis(results: Results, objective: int, log: bool) -> dict[str, Any]:
    goal = "" if objective < 0 else f" · {WAYS[results.objectives[objective].goal]} is better"
    ticks = log_ticks(results, objective)
    return {
        "tickvals": ticks or None, "ticktext": [tick(value) for value in ticks] or None,
        "title": {"text": _name(results, objective, title) + goal}, "type": "log" if log else "linear",
        "gridcolor": "#e5e5e5", "zeroline": False, "showline": True, "linecolor": "#888", "ticks": "outside",
        "autorange": True,
    }  # fmt: skip


def _traces(results: Results, view: View) -> list[dict[str, Any]]:
    rows = results.plotted
    search = [row for row in rows if row.record.role == "search"]
    dominated = [row for row in search if row.allowed and not row.in_front]
    members = [row for row in search if row.in_front]
    refused = [row for row in search if not row.allowed]
    traces = [_line(results, view)]
    scale = _colour_bar(results, view)
    marker: dict[str, Any] = {"size": 9, "opacity": 0.8, **_colours(dominated, view), **scale}
    traces.append(_points(results, view, dominated, "trials", marker))
    if refused:
        marker = {"size": 9, "symbol": "circle-open", "color": "#999"}
        traces.append(_points(results, view, refused, "break a constraint", marker))
    marker = {"size": 14, "line": RING, **_colours(members, view), **scale, "showscale": False}
    traces.append(_points(results, view, members, "front", marker, bars=True))
    for name in sorted({row.record.control or "other" for row in results.controls}):
        of_kind = [row for row in rows if row.record.role == "control" and row.record.control == name]
        look = name if name in SYMBOLS else "other"
        marker = {"size": 15, "symbol": SYMBOLS[look], "color": COLOURS[look]}
        if of_kind:
            edge = [RING["color"] if row.in_front else "black" for row in of_kind]
            marker["line"] = {"color": edge, "width": [RING["width"] if row.in_front else 1 for row in of_kind]}
            traces.append(_points(results, view, of_kind, of_kind[0].label, marker, bars=True))
    return traces


def _points(
    results: Results, view: View, rows: Sequence[Row], name: str, marker: dict[str, Any], bars: bool = False
) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "name": html.escape(name), "marker": marker,
        "x": [place(row, view.x) for row in rows], "y": [place(row, view.y) for row in rows],
        "hoverinfo": "text", "hovertext": [hover(row, results.objectives) for row in rows],
    }  # fmt: skip
    for axis, objective in (("error_x", view.x), ("error_y", view.y)):
        below, above = spread(results, rows, objective) if bars and objective >= 0 else ([], [])
        if any(above) or any(below):
            trace[axis] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below,
                           "thickness": 1, "width": 3, "color": "#777"}  # fmt: skip
    return trace


def _line(results: Results, view: View) -> dict[str, Any]:
    corners = front_line(results, view)
    return {
        "type": "scatter", "mode": "lines", "name": "best in these two", "hoverinfo": "skip",
        "x": [x for x, _ in corners], "y": [y for _, y in corners], "line": {"color": COLOURS["front"], "width": 1.5},
    }  # fmt: skip


def _colours(rows: Sequence[Row], view: View) -> dict[str, Any]:
    if view.colour is None:
        return {"color": "#56B4E9"}
    return {"color": [row.values[view.colour] for row in rows]}


def _colour_bar(results: Results, view: View) -> dict[str, Any]:
    if view.colour is None:
        return {}
    values = [row.values[view.colour] for row in results.plotted if row.record.role == "search"] or [0.0, 1.0]
    return {
        "colorscale": "Cividis", "cmin": min(values), "cmax": max(values), "showscale": True,
        "colorbar": {"title": {"text": title(results.objectives[view.colour].metric), "side": "right"}, "thickness": 12,
                     "outlinewidth": 0},
    }  # fmt: skip


def log_ticks(results: Results, objective: int) -> list[float]:
    """Round values over the range of an objective; none where a logarithm has no place."""
    values = [place(row, objective) for row in results.plotted]
    return round_values(min(values), max(values)) if values and min(values) > 0 else []


def place(row: Row, objective: int) -> float:
    """Where a trial stands on an axis; -1 is the trial number."""
    return float(row.number) if objective < 0 else row.values[objective]


def spread(results: Results, rows: Sequence[Row], objective: int) -> tuple[list[float], list[float]]:
    """How far each interval reaches below and above its value; nothing where there is none."""
    metric = results.objectives[objective].metric
    within = [(row.values[objective], row.interval(metric)) for row in rows]
    below = [value - bounds[0] if bounds else 0.0 for value, bounds in within]
    return below, [bounds[1] - value if bounds else 0.0 for value, bounds in within]


def front_line(results: Results, view: View) -> list[tuple[float, float]]:
    """The staircase of the trials that count, controls included, in one pair of objectives."""
    goals = tuple("min" if n < 0 else results.objectives[n].goal for n in (view.x, view.y))
    points = [(place(row, view.x), place(row, view.y)) for row in results.plotted if row.allowed]
    return staircase(points, (goals[0], goals[1]))


def pareto_png(results: Results, path: Path) -> None:
    """The same views as one picture, for places that show no scripts; narrow enough for MLflow's description."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = views(results)[:3]
    rows, columns = (1, len(shown)) if len(shown) < 3 else (2, 2)
    figure = Figure(figsize=(7.0, 3.1 * rows + 0.4) if columns > 1 else (7.0, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for n, view in enumerate(shown, 1):
        axes = figure.add_subplot(rows, columns, n)
        _panel(axes, results, view)
    if results.plotted and len(shown) == 3:
        key = figure.add_subplot(rows, columns, 4)
        key.axis("off")
        key.legend(*axes.get_legend_handles_labels(), loc="center left", frameon=False, fontsize=10)
    elif results.plotted:
        axes.legend(fontsize=8, framealpha=0.9)
    figure.suptitle(f"Pareto front of {results.name}", fontsize=12)
    figure.savefig(path, format="png", dpi=100, metadata={"Software": None})


def _panel(axes: Any, results: Results, view: View) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    corners = front_line(results, view)
    axes.plot(
        [x for x, _ in corners],
        [y for _, y in corners],
        color=COLOURS["front"],
        lw=1.3,
        zorder=1,
        label="best in these two",
    )
    for rows, style in _picture_groups(results):
        xs, ys = [place(row, view.x) for row in rows], [place(row, view.y) for row in rows]
        if rows and style.pop("bars"):
            for keyword, objective in (("xerr", view.x), ("yerr", view.y)):
                reach = spread(results, rows, objective) if objective >= 0 else ([], [])
                if any(reach[0]) or any(reach[1]):
                    axes.errorbar(xs, ys, **{keyword: reach}, fmt="none", ecolor="#888", lw=0.8, capsize=2, zorder=1)
        if rows:
            axes.scatter(xs, ys, **style)
    axes.set_xscale("log" if view.log_x else "linear")
    axes.set_yscale("log" if view.log_y else "linear")
    for axis, objective, log in ((axes.xaxis, view.x, view.log_x), (axes.yaxis, view.y, view.log_y)):
        if log:
            axis.set_minor_formatter(NullFormatter())
            axis.set_ticks(log_ticks(results, objective))
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.set_xlabel("trial" if view.x < 0 else title(results.objectives[view.x].metric))
    axes.set_ylabel(title(results.objectives[view.y].metric))
    axes.grid(color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)


def _picture_groups(results: Results) -> list[tuple[list[Row], dict[str, Any]]]:
    rows = results.plotted
    search = [row for row in rows if row.record.role == "search"]
    groups: list[tuple[list[Row], dict[str, Any]]] = [
        ([row for row in search if row.allowed and not row.in_front],
         {"s": 26, "color": "#56B4E9", "alpha": 0.75, "label": "trials", "zorder": 2, "bars": False}),
        ([row for row in search if not row.allowed],
         {"s": 26, "facecolors": "none", "edgecolors": "#999", "label": "break a constraint", "zorder": 2,
          "bars": False}),
        ([row for row in search if row.in_front],
         {"s": 52, "color": COLOURS["front"], "label": "front", "zorder": 4, "bars": True}),
    ]  # fmt: skip
    markers = {"baseline": "*", "lora": "D", "random": "X", "other": "s"}
    for name in sorted({row.record.control or "other" for row in results.controls}):
        of_kind = [row for row in rows if row.record.role == "control" and row.record.control == name]
        look = name if name in markers else "other"
        style = {"s": 150 if look == "baseline" else 60, "marker": markers[look], "color": COLOURS[look],
                 "edgecolors": "black", "linewidths": 0.6, "zorder": 5, "bars": True}  # fmt: skip
        if of_kind:
            groups.append((of_kind, style | {"label": of_kind[0].label}))
    return groups


def sites_png(panels: Sequence[SitePanel], path: Path) -> None:
    """EER by dropin site as one picture: a panel per network, side by side, on one scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.7 * max(2, len(panels)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=[p.width for p in panels])[0]
    for axes, panel in zip(every, panels, strict=True):
        _site_panel(axes, panel)
    every[0].set_ylabel(SITES_AXIS)
    every[0].set_ylim(0, top(panels))
    handles, names = every[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _site_panel(axes: Any, panel: SitePanel) -> None:
    for name, values in panel.lines.items():
        colour, style, _ = LINES[name]
        axes.axhspan(min(values), max(values), color=colour, alpha=0.12, lw=0)
        axes.axhline(sum(values) / len(values), color=colour, ls=style, lw=1.5, label=name)
    where, (means, below, above) = list(range(len(panel.by_site))), panel.bars()
    axes.errorbar(where, means, yerr=(below, above), fmt="o-", color=POINTS, capsize=3, lw=1.4, ms=5, label=panel.what)
    for x, values in zip(where, panel.by_site.values(), strict=True):
        axes.scatter([x] * len(values), values, s=9, color=POINTS, alpha=0.45, zorder=3)
    axes.set_xticks(where, list(panel.by_site), rotation=45, ha="right", rotation_mode="anchor", fontsize=8.5)
    axes.set_xlim(-0.5, len(where) - 0.5)
    axes.set_title(panel.title, fontsize=11)
    axes.grid(axis="y", color="#e8e8e8", lw=0.6)
    axes.set_axisbelow(True)
