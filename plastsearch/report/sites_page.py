"""EER by dropin site as a page that needs no network. What is shown: site_panels.py; the page around it: page.py."""

import html
from collections.abc import Sequence
from statistics import fmean

from plastsearch.analysis.figure import COLOURS
from plastsearch.analysis.site_panels import LINES, SITES_AXIS, SitePanel, top
from plastsearch.report.page import PLAIN_SCRIPT, Object, page

SITES_NOTE = "<p>Dots are seeds, bars reach from the lowest to the highest; sites stand in order of depth.</p>"


def sites_html(panels: Sequence[SitePanel], name: str) -> str:
    """EER by dropin site as one self-contained page."""
    return page(name, sites_figure(panels), PLAIN_SCRIPT, SITES_NOTE)


def sites_figure(panels: Sequence[SitePanel]) -> Object:
    """The figure as plain Plotly data: panels side by side on one scale."""
    bands: list[Object] = []
    titles: list[Object] = []
    layout: Object = {
        "font": {"family": "system-ui, sans-serif", "size": 13}, "margin": {"l": 60, "r": 10, "t": 40, "b": 110},
        "legend": {"orientation": "h", "x": 0, "y": -0.28, "yanchor": "top"},
        "yaxis": {"title": {"text": SITES_AXIS}, "range": [0, top(panels)]},
        "shapes": bands, "annotations": titles,
    }  # fmt: skip
    data: list[Object] = []
    gap = 0.03
    total = sum(panel.width for panel in panels)
    left = 0.0
    for number, panel in enumerate(panels, 1):
        right = left + (1 - gap * (len(panels) - 1)) * panel.width / total
        axis = "x" if number == 1 else f"x{number}"
        layout[axis.replace("x", "xaxis")] = {
            "domain": [left, min(right, 1.0)], "tickangle": -45, "anchor": "y", "showline": True, "linecolor": "#888",
            "tickvals": list(range(len(panel.by_site))), "ticktext": list(panel.by_site),
            "range": [-0.5, len(panel.by_site) - 0.5], "showgrid": False, "zeroline": False,
        }  # fmt: skip
        titles.append(
            {"text": html.escape(panel.title), "xref": "paper", "yref": "paper", "x": (left + right) / 2, "y": 1.02,
             "yanchor": "bottom", "showarrow": False, "font": {"size": 15}}
        )  # fmt: skip
        data += _site_traces(panel, axis, first=number == 1)
        bands += [_band(values, LINES[name][0], axis) for name, values in panel.lines.items()]
        left = right + gap
    return {"data": data, "layout": layout}


def _site_traces(panel: SitePanel, axis: str, first: bool) -> list[Object]:
    count = len(panel.by_site)
    traces: list[Object] = []
    for name, values in panel.lines.items():
        colour, _, dash = LINES[name]
        ends: Object = {"x": [-0.5, count - 0.5], "y": [fmean(values)] * 2, "line": {"color": colour, "dash": dash}}
        text = f"{name}: {_seeds(values)}"
        traces.append({"type": "scatter", "mode": "lines", "name": name, **ends, "hoverinfo": "text", "text": text})
    means, below, above = panel.bars()
    bars: Object = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2}
    traces.append({
        "type": "scatter", "mode": "lines+markers", "name": html.escape(panel.what),
        "x": list(range(count)), "y": means, "error_y": bars,
        "line": {"color": COLOURS["front"]}, "marker": {"size": 8}, "hoverinfo": "text",
        "hovertext": [html.escape(f"{site}: {_seeds(values)}") for site, values in panel.by_site.items()],
    })  # fmt: skip
    for trace in traces:
        trace |= {"xaxis": axis, "yaxis": "y", "legendgroup": trace["name"], "showlegend": first}
    seeds = [(place, value) for place, values in enumerate(panel.by_site.values()) for value in values]
    traces.append({
        "type": "scatter", "mode": "markers", "x": [place for place, _ in seeds], "y": [value for _, value in seeds],
        "marker": {"size": 5, "color": COLOURS["front"], "opacity": 0.45}, "xaxis": axis, "yaxis": "y",
        "showlegend": False, "hoverinfo": "skip",
    })  # fmt: skip
    return traces


def _band(values: Sequence[float], colour: str, axis: str) -> Object:
    """From the lowest to the highest seed of a line, across its panel."""
    return {"type": "rect", "xref": f"{axis} domain", "yref": "y", "x0": 0, "x1": 1, "y0": min(values),
            "y1": max(values), "fillcolor": colour, "opacity": 0.12, "line": {"width": 0},
            "layer": "below"}  # fmt: skip


def _seeds(values: Sequence[float]) -> str:
    return f"{fmean(values):.2f} % ({min(values):.2f} – {max(values):.2f}, {len(values)} seeds)"
