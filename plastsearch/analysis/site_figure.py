"""What the figure "EER by dropin site" shows, free of any drawing library: points, bars and lines to compare with."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from plastsearch.analysis.figure import COLOURS

SITES_AXIS = "dev EER (%)"
SITES_NOTE = "<p>Dots are seeds, bars reach from the lowest to the highest; sites stand in order of depth.</p>"
POINTS = COLOURS["front"]
# Name → colour, line style of the picture and of the page.
LINES = {
    "baseline, before growth": ("#555555", ":", "dot"),
    "longer training, same steps": (COLOURS["baseline"], "--", "dash"),
}


@dataclass(frozen=True)
class SitePanel:
    """One network: EERs at each single site, in order of depth, and those of whole arms, one value per seed."""

    title: str
    what: str  # what was done at each site
    by_site: dict[str, list[float]]
    lines: dict[str, list[float]]  # names of LINES

    @property
    def width(self) -> float:
        """How much room its labels need beside those of other panels."""
        return max(3.5, len(self.by_site))

    def bars(self) -> tuple[list[float], list[float], list[float]]:
        """Means, and how far the seeds reach below and above them."""
        means = [fmean(values) for values in self.by_site.values()]
        below = [mean - min(values) for mean, values in zip(means, self.by_site.values(), strict=True)]
        return means, below, [max(values) - mean for mean, values in zip(means, self.by_site.values(), strict=True)]


def top(panels: Sequence[SitePanel]) -> float:
    """The upper end of the common scale."""
    return 1.08 * max(max(values) for panel in panels for values in [*panel.by_site.values(), *panel.lines.values()])


def sites_figure(panels: Sequence[SitePanel]) -> dict[str, Any]:
    """The figure as plain Plotly data: panels side by side on one scale."""
    layout: dict[str, Any] = {
        "font": {"family": "system-ui, sans-serif", "size": 13}, "margin": {"l": 60, "r": 10, "t": 40, "b": 110},
        "legend": {"orientation": "h", "x": 0, "y": -0.28, "yanchor": "top"}, "plot_bgcolor": "white",
        "yaxis": {"title": {"text": SITES_AXIS}, "range": [0, top(panels)], "gridcolor": "#e5e5e5"},
        "shapes": [], "annotations": [],
    }  # fmt: skip
    data: list[dict[str, Any]] = []
    gap, total = 0.03, sum(panel.width for panel in panels)
    left = 0.0
    for number, panel in enumerate(panels, 1):
        right = left + (1 - gap * (len(panels) - 1)) * panel.width / total
        axis = "x" if number == 1 else f"x{number}"
        layout[axis.replace("x", "xaxis")] = {
            "domain": [left, min(right, 1.0)], "tickangle": -45, "anchor": "y", "showline": True, "linecolor": "#888",
            "tickvals": list(range(len(panel.by_site))), "ticktext": list(panel.by_site),
            "range": [-0.5, len(panel.by_site) - 0.5], "showgrid": False, "zeroline": False,
        }  # fmt: skip
        layout["annotations"].append(
            {"text": html.escape(panel.title), "xref": "paper", "yref": "paper", "x": (left + right) / 2, "y": 1.02,
             "yanchor": "bottom", "showarrow": False, "font": {"size": 15}}
        )  # fmt: skip
        data += _traces(panel, axis, first=number == 1)
        layout["shapes"] += [_band(values, LINES[name][0], axis) for name, values in panel.lines.items()]
        left = right + gap
    return {"data": data, "layout": layout}


def _traces(panel: SitePanel, axis: str, first: bool) -> list[dict[str, Any]]:
    count = len(panel.by_site)
    traces: list[dict[str, Any]] = []
    for name, values in panel.lines.items():
        colour, _, dash = LINES[name]
        ends = {"x": [-0.5, count - 0.5], "y": [fmean(values)] * 2, "line": {"color": colour, "dash": dash}}
        text = f"{name}: {_seeds(values)}"
        traces.append({"type": "scatter", "mode": "lines", "name": name, **ends, "hoverinfo": "text", "text": text})
    means, below, above = panel.bars()
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.2}
    traces.append({
        "type": "scatter", "mode": "lines+markers", "name": html.escape(panel.what),
        "x": list(range(count)), "y": means, "error_y": bars,
        "line": {"color": POINTS}, "marker": {"size": 8}, "hoverinfo": "text",
        "hovertext": [html.escape(f"{site}: {_seeds(values)}") for site, values in panel.by_site.items()],
    })  # fmt: skip
    for trace in traces:
        trace |= {"xaxis": axis, "yaxis": "y", "legendgroup": trace["name"], "showlegend": first}
    seeds = [(place, value) for place, values in enumerate(panel.by_site.values()) for value in values]
    traces.append({
        "type": "scatter", "mode": "markers", "x": [place for place, _ in seeds], "y": [value for _, value in seeds],
        "marker": {"size": 5, "color": POINTS, "opacity": 0.45}, "xaxis": axis, "yaxis": "y", "showlegend": False,
        "hoverinfo": "skip",
    })  # fmt: skip
    return traces


def _band(values: Sequence[float], colour: str, axis: str) -> dict[str, Any]:
    """From the lowest to the highest seed of a line, across its panel."""
    return {"type": "rect", "xref": f"{axis} domain", "yref": "y", "x0": 0, "x1": 1, "y0": min(values),
            "y1": max(values), "fillcolor": colour, "opacity": 0.12, "line": {"width": 0},
            "layer": "below"}  # fmt: skip


def _seeds(values: Sequence[float]) -> str:
    return f"{fmean(values):.2f} % ({min(values):.2f} – {max(values):.2f}, {len(values)} seeds)"
