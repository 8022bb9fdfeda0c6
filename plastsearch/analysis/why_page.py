"""The figure of an ablation, and that of importances, as pages that need no network. What is shown: why_figure.py."""

import html

from plastsearch.analysis.ablations import Ablation
from plastsearch.analysis.page import PLAIN_SCRIPT, Json, Object, page
from plastsearch.analysis.why_figure import NAMES, PALE, SHADES, Panel, axis, heading, panels


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
        data += _traces(panel, name, first=at == 0)
        top -= part + gap
    layout["annotations"] = titles
    return {"data": data, "layout": layout}


def _traces(panel: Panel, axis_name: str, *, first: bool) -> list[Object]:
    bars = list(enumerate(panel.bars))
    line: Object = {
        "type": "scatter", "mode": "lines", "x": [bar.end for _, bar in bars], "y": [at for at, _ in bars],
        "line": {"color": "#777", "width": 1, "dash": "dot", "shape": "vh"}, "hoverinfo": "skip", "xaxis": "x",
        "yaxis": axis_name, "showlegend": False,
    }  # fmt: skip
    traces: list[Object] = [line]
    for kind in ("better", "worse", "same"):
        own = [(at, bar) for at, bar in bars if bar.kind == kind]
        marker: Object = {
            "color": SHADES[kind], "opacity": [1.0 if bar.clear else PALE for _, bar in own],
            "line": {"color": SHADES[kind], "width": 2},
            "pattern": {"shape": "/" if kind == "worse" else ""},
        }  # fmt: skip
        traces.append({
            "type": "bar", "orientation": "h", "name": NAMES[kind], "legendgroup": kind,
            "showlegend": first, "x": [bar.end - bar.start for _, bar in own], "base": [bar.start for _, bar in own],
            "y": [at for at, _ in own], "width": 0.62, "marker": marker, "xaxis": "x", "yaxis": axis_name,
            "hoverinfo": "text", "hovertext": [html.escape(f"{bar.label}: {bar.text}") for _, bar in own],
        })  # fmt: skip
    with_reach = [(at, bar, bar.low, bar.high) for at, bar in bars if bar.low is not None and bar.high is not None]
    reach: Object = {
        "type": "data", "symmetric": False, "array": [high - bar.end for _, bar, _, high in with_reach],
        "arrayminus": [bar.end - low for _, bar, low, _ in with_reach], "thickness": 1.2, "width": 3, "color": "#222",
    }  # fmt: skip
    traces.append({
        "type": "scatter", "mode": "markers", "marker": {"size": 1, "color": "#222"}, "showlegend": first,
        "name": "95 % interval of the step", "legendgroup": "reach", "hoverinfo": "skip",
        "x": [bar.end for _, bar, _, _ in with_reach], "y": [at for at, *_ in with_reach], "error_x": reach,
        "xaxis": "x", "yaxis": axis_name,
    })  # fmt: skip
    ends = [(at, bar) for at, bar in bars if bar.kind == "end"]
    traces.append({
        "type": "scatter", "mode": "markers+text", "marker": {"size": 10, "symbol": "diamond", "color": SHADES["end"]},
        "showlegend": False, "x": [bar.end for _, bar in ends], "y": [at for at, _ in ends],
        "text": [bar.text for _, bar in ends], "textposition": "middle right", "hoverinfo": "text",
        "hovertext": [html.escape(f"{bar.label}: {bar.text}") for _, bar in ends], "xaxis": "x", "yaxis": axis_name,
    })  # fmt: skip
    return traces
