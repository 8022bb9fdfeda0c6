"""The Pareto figure twice: an interactive page that needs no network, and a picture. What they show is in figure.py."""

import html
import json
from collections.abc import Sequence
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
from plastsearch.analysis.results import Results, Row

WAYS = {"min": "less", "max": "more"}
RING = {"color": COLOURS["front"], "width": 2.5}
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 12px 18px; max-width: 1200px }}
h1 {{ font-size: 20px; margin: 0 0 2px }} p {{ margin: 4px 0 }} .quiet {{ color: #666; font-size: 13px }}
#figure {{ height: 560px }}
table {{ border-collapse: collapse; font-size: 13px }} td, th {{ padding: 3px 10px; text-align: right }}
th {{ border-bottom: 1px solid #999; white-space: nowrap }} td.text, th.text {{ text-align: left }}
</style>
<script>{library}</script></head><body>
<h1>{title}</h1>{intro}
<div id="figure"></div>
<script>Plotly.newPlot("figure", {figure}, {{responsive: true, displaylogo: false}})</script>
{outro}
</body></html>
"""


def pareto_html(results: Results, intro: str = "", outro: str = "") -> str:
    """One self-contained page: each pair of objectives by buttons, log axes where they help; HTML around it given."""
    from plotly.offline import get_plotlyjs

    # Inside a script element only these three could end it or open a comment.
    figure = json.dumps(pareto_figure(results)).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return _PAGE.format(
        title=html.escape(f"Pareto front of {results.name}"),
        library=get_plotlyjs(), intro=intro, outro=outro, figure=figure,
    )  # fmt: skip


def pareto_figure(results: Results) -> dict[str, Any]:
    """The figure as plain Plotly data."""
    shown = views(results)
    traces = [_traces(results, view) for view in shown]
    for n, group in enumerate(traces):
        for trace in group:
            trace["visible"] = n == 0
    layout = {
        "template": "none", "hovermode": "closest", "font": {"family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 70, "r": 20, "t": 90, "b": 60}, "hoverlabel": {"align": "left", "bgcolor": "white"},
        "legend": {"itemsizing": "constant", "x": 1.16, "y": 1}, "coloraxis": {"showscale": False},
        "updatemenus": [_pair_buttons(results, shown, traces), _scale_buttons()], **_axes(results, shown[0]),
    }  # fmt: skip
    return {"data": [trace for group in traces for trace in group], "layout": layout}


def _axes(results: Results, view: View) -> dict[str, Any]:
    def axis(objective: int, log: bool) -> dict[str, Any]:
        name = "trial" if objective < 0 else title(results.objectives[objective].metric)
        goal = "" if objective < 0 else f" · {WAYS[results.objectives[objective].goal]} is better"
        ticks = log_ticks(results, objective) if log else []
        return {
            "tickvals": ticks or None, "ticktext": [tick(value) for value in ticks] or None,
            "tickmode": "array" if ticks else "auto", "title": {"text": name + goal},
            "type": "log" if log else "linear", "gridcolor": "#e5e5e5",
            "zeroline": False, "showline": True, "linecolor": "#888", "ticks": "outside", "autorange": True,
        }  # fmt: skip

    return {"xaxis": axis(view.x, view.log_x), "yaxis": axis(view.y, view.log_y)}


def _pair_buttons(results: Results, shown: list[View], traces: list[list[dict[str, Any]]]) -> dict[str, Any]:
    def name(objective: int) -> str:
        return "trial" if objective < 0 else brief(results.objectives[objective].metric)

    buttons = [
        {
            "label": f"{name(view.y)} × {name(view.x)}",
            "method": "update",
            "args": [{"visible": [n == m for m, group in enumerate(traces) for _ in group]}, _axes(results, view)],
        }
        for n, view in enumerate(shown)
    ]
    return {"type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.18, "buttons": buttons}


def _scale_buttons() -> dict[str, Any]:
    kinds = [("linear",) * 3, ("log x", "log", "linear"), ("log y", "linear", "log"), ("log",) * 3]
    fresh = {f"{axis}axis.{key}": value for axis in "xy" for key, value in (("tickmode", "auto"), ("autorange", True))}
    buttons = [
        {"label": label, "method": "relayout", "args": [{"xaxis.type": x, "yaxis.type": y, **fresh}]}
        for label, x, y in kinds
    ]
    return {
        "type": "buttons", "direction": "right", "x": 1, "xanchor": "right", "y": 1.18, "active": -1,
        "showactive": False, "buttons": buttons,
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
        marker = {"size": 15, "symbol": SYMBOLS[look], "color": COLOURS[look], "line": {"width": 1, "color": "black"}}
        if of_kind:
            ringed = " ◦ in the front" if any(row.in_front for row in of_kind) else ""
            traces.append(_points(results, view, of_kind, f"{of_kind[0].label}{ringed}", marker, bars=True))
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
    """Round values over the range of an objective."""
    values = [row.values[objective] for row in results.plotted]
    return round_values(min(values), max(values))


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
    """The same views side by side as a picture, for places that show no scripts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = views(results)[:3]
    figure = Figure(figsize=(5.2 * len(shown), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    for n, view in enumerate(shown, 1):
        _panel(figure.add_subplot(1, len(shown), n), results, view, legend=n == 1)
    figure.suptitle(f"Pareto front of {results.name}", fontsize=12)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _panel(axes: Any, results: Results, view: View, legend: bool) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    corners = front_line(results, view)
    axes.plot([x for x, _ in corners], [y for _, y in corners], color=COLOURS["front"], lw=1.3, zorder=1)
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
    if legend and results.plotted:
        axes.legend(fontsize=8, framealpha=0.9)


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
