"""The figure of an ablation, and that of importances, as pages that need no network. What is shown: why_figure.py."""

import html

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
from plastsearch.report.page import PLAIN_SCRIPT, Json, Object, page


def ablation_html(ablation: Ablation, intro: str = "", outro: str = "") -> str:
    """Both paths one above the other, on one scale; HTML around them given."""
    return page(heading(ablation), ablation_figure(ablation), PLAIN_SCRIPT, intro, outro)


def ablation_figure(ablation: Ablation) -> Object:
    """The figure as plain Plotly data."""
    shown = panels(ablation)
    rows = [len(panel.bars) for panel in shown]
    gap = 0.1
    parts = [(1 - gap) * count / sum(rows) for count in rows]
    layout: dict[str, Json] = {
        "font": {"family": "system-ui, sans-serif", "size": 13}, "plot_bgcolor": "white", "barmode": "overlay",
        "margin": {"l": 20, "r": 20, "t": 40, "b": 60}, "height": 26 * sum(rows) + 190,
        "xaxis": {"title": {"text": axis(ablation)}, "gridcolor": "#e5e5e5", "zeroline": False, "anchor": "y2"},
        "legend": {"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
        "annotations": [], "hoverlabel": {"align": "left"},
    }  # fmt: skip
    data: list[Object] = []
    titles: list[Json] = []
    top = 1.0
    for at, (panel, part) in enumerate(zip(shown, parts, strict=True)):
        name = "y" if at == 0 else "y2"
        layout["yaxis" if at == 0 else "yaxis2"] = {
            "domain": [max(0.0, top - part), top], "range": [len(panel.bars) - 0.5, -0.5], "automargin": True,
            "tickvals": list(range(len(panel.bars))), "ticktext": [html.escape(bar.label) for bar in panel.bars],
            "showgrid": False, "zeroline": False,
        }  # fmt: skip
        titles.append({
            "text": html.escape(panel.title), "xref": "paper", "yref": "paper", "x": 0, "y": top, "yanchor": "bottom",
            "xanchor": "left", "showarrow": False, "font": {"size": 14},
        })  # fmt: skip
        data += _traces(panel, name)
        top -= part + gap
    layout["annotations"] = titles
    named: set[Json] = set()
    for trace in data:  # one entry of the legend for each kind, whichever direction has it first
        trace["showlegend"] = "legendgroup" in trace and trace["legendgroup"] not in named
        named.add(trace.get("legendgroup"))
    return {"data": data, "layout": layout}


def _traces(panel: Panel, axis_name: str) -> list[Object]:
    bars = list(enumerate(panel.bars))
    # From the end of each down to where the next begins.
    line: Object = {
        "type": "scatter", "mode": "lines", "x": [x for _, bar in bars[:-1] for x in (bar.end, bar.end, None)],
        "y": [y for at, _ in bars[:-1] for y in (at, at + 1, None)],
        "line": {"color": "#777", "width": 1, "dash": "dot"}, "hoverinfo": "skip", "xaxis": "x", "yaxis": axis_name,
    }  # fmt: skip
    traces: list[Object] = [line]
    for kind in ("better", "worse", "same"):
        own = [(at, bar) for at, bar in bars if bar.kind == kind]
        if not own:
            continue
        marker: Object = {
            "color": SHADES[kind], "opacity": [1.0 if bar.clear else PALE for _, bar in own],
            "line": {"color": SHADES[kind], "width": 2},
            "pattern": {"shape": "/" if kind == "worse" else "", "fillmode": "overlay", "fgcolor": "white"},
        }  # fmt: skip
        traces.append({
            "type": "bar", "orientation": "h", "name": NAMES[kind], "legendgroup": kind,
            "x": [bar.end - bar.start for _, bar in own], "base": [bar.start for _, bar in own],
            "y": [at for at, _ in own], "width": 0.62, "marker": marker, "xaxis": "x", "yaxis": axis_name,
            "hoverinfo": "text", "hovertext": [html.escape(f"{bar.label}: {bar.text}") for _, bar in own],
        })  # fmt: skip
    with_reach = [(at, bar, bar.low, bar.high) for at, bar in bars if bar.low is not None and bar.high is not None]
    reach: Object = {
        "type": "data", "symmetric": False, "array": [high - bar.end for _, bar, _, high in with_reach],
        "arrayminus": [bar.end - low for _, bar, low, _ in with_reach], "thickness": 1.2, "width": 3, "color": "#222",
    }  # fmt: skip
    traces.append({
        "type": "scatter", "mode": "markers", "marker": {"size": 1, "color": "#222"},
        "name": "95 % interval of the step", "legendgroup": "reach", "hoverinfo": "skip",
        "x": [bar.end for _, bar, _, _ in with_reach], "y": [at for at, *_ in with_reach], "error_x": reach,
        "xaxis": "x", "yaxis": axis_name,
    })  # fmt: skip
    ends = [(at, bar) for at, bar in bars if bar.kind == "end"]
    traces.append({
        "type": "scatter", "mode": "markers+text", "marker": {"size": 10, "symbol": "diamond", "color": SHADES["end"]},
        "x": [bar.end for _, bar in ends], "y": [at for at, _ in ends],
        "text": [bar.text for _, bar in ends], "textposition": "middle right", "hoverinfo": "text",
        "hovertext": [html.escape(f"{bar.label}: {bar.text}") for _, bar in ends], "xaxis": "x", "yaxis": axis_name,
    })  # fmt: skip
    return traces


def importance_html(found: Importances, name: str, intro: str = "", outro: str = "") -> str:
    """A row for each objective, both methods side by side; HTML around it given."""
    return page(dots_heading(found, name), importance_figure(found), PLAIN_SCRIPT, intro, outro)


def importance_figure(found: Importances) -> Object:
    """The figure as plain Plotly data."""
    shown = [dots(one) for one in found.objectives]
    rows = [len(pair[0].names) for pair in shown]
    height, space = 20 * sum(rows) + 90 * len(rows), 90.0
    layout: dict[str, Json] = {
        "font": {"family": "system-ui, sans-serif", "size": 13}, "plot_bgcolor": "white", "showlegend": False,
        "margin": {"l": 20, "r": 20, "t": 30, "b": 40}, "height": height + 70,
    }  # fmt: skip
    data: list[Object] = []
    titles: list[Json] = []
    top, number = 1.0, 0
    for pair, count in zip(shown, rows, strict=True):
        bottom = max(0.0, top - 20 * count / height)
        for side, one in enumerate(pair):
            number += 1
            tail = "" if number == 1 else str(number)
            left, right = ((0.0, 0.48), (0.52, 1.0))[side]
            layout[f"xaxis{tail}"] = {
                "domain": [left, right], "anchor": f"y{tail}", "title": {"text": one.axis}, "gridcolor": "#e5e5e5",
                "zerolinecolor": "#999",
            }  # fmt: skip
            layout[f"yaxis{tail}"] = {
                "domain": [bottom, top], "anchor": f"x{tail}", "range": [count - 0.5, -0.5], "automargin": True,
                "tickvals": list(range(count)), "ticktext": [html.escape(name) for name in one.names],
                "showticklabels": side == 0, "showgrid": False, "zeroline": False,
            }  # fmt: skip
            titles.append({
                "text": html.escape(one.title), "xref": "paper", "yref": "paper", "x": left, "y": top,
                "xanchor": "left", "yanchor": "bottom", "showarrow": False, "font": {"size": 14},
            })  # fmt: skip
            data.append(_dotted(one, tail))
            if one.chance:
                data.append({
                    "type": "scatter", "mode": "markers", "x": one.chance, "y": list(range(count)),
                    "marker": {"symbol": "line-ns", "size": 12, "line": {"color": "#333", "width": 1.5}},
                    "xaxis": f"x{tail}", "yaxis": f"y{tail}", "hoverinfo": "text",
                    "hovertext": [f"chance: {value:.3g}" for value in one.chance],
                })  # fmt: skip
        top = bottom - space / height
    layout["annotations"] = titles
    return {"data": data, "layout": layout}


def _dotted(one: Dots, tail: str) -> Object:
    reach: Object = {
        "type": "data", "symmetric": False, "thickness": 1.5, "width": 0, "color": one.colour,
        "array": [high - value for value, high in zip(one.values, one.highs, strict=True)],
        "arrayminus": [value - low for value, low in zip(one.values, one.lows, strict=True)],
    }  # fmt: skip
    texts = [
        html.escape(f"{name}: {value:.3g} [{low:.3g}, {high:.3g}]")
        for name, value, low, high in zip(one.names, one.values, one.lows, one.highs, strict=True)
    ]
    return {
        "type": "scatter", "mode": "markers", "x": one.values, "y": list(range(len(one.names))), "error_x": reach,
        "marker": {"size": 9, "color": one.colour}, "xaxis": f"x{tail}", "yaxis": f"y{tail}", "hoverinfo": "text",
        "hovertext": texts,
    }  # fmt: skip
