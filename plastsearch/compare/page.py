"""A comparison as one page that asks nobody for anything: DET curves to hover over, histograms, attacks, tables."""

import numpy as np

from plastsearch.compare.comparison import Comparison
from plastsearch.compare.document import document
from plastsearch.compare.figure import COLOURS, DASHES, TICKS, det, deviate, histogram, limits
from plastsearch.documents import Heading, as_html
from plastsearch.report.page import PLAIN_SCRIPT, Json, Object, page

SQUARE, STRIP, CELL = 560, 190, 26  # pixels: of the DET plot, of each histogram, of each attack


def comparison_html(comparison: Comparison) -> str:
    """The page; what it says in words is document.py's."""
    blocks = document(comparison)
    after = next(n for n, block in enumerate(blocks) if isinstance(block, Heading) and block.text == "Differences")
    return page(
        "Comparison of " + ", ".join(arm.short for arm in comparison.arms),
        _figure(comparison), PLAIN_SCRIPT, as_html(blocks[1:after]), as_html(blocks[after:]),
    )  # fmt: skip


def _figure(comparison: Comparison) -> Object:
    """DET curves above, then a strip for each arm's scores, then attacks by arms."""
    arms = len(comparison.arms)
    parts = [SQUARE, *[STRIP] * arms, *([120 + CELL * len(comparison.attacks)] if comparison.attacks else [])]
    total = sum(parts) + 70 * (len(parts) - 1)
    ends, top = [], float(total)
    for part in parts:
        ends.append([(top - part) / total, top / total])
        top -= part + 70
    data: list[Object] = []
    layout: Object = {
        "height": total, "showlegend": True, "margin": {"l": 70, "r": 20, "t": 20, "b": 60},
        "legend": {
            "x": 0.01, "xanchor": "left", "y": ends[0][0] + 0.01, "yanchor": "bottom",
            "bgcolor": "rgba(128,128,128,0.15)",
        },
        "barmode": "overlay",
    }  # fmt: skip
    _det(comparison, data, layout, ends[0])
    for at in range(arms):
        _strip(comparison, at, data, layout, ends[1 + at])
    if comparison.attacks:
        _heat(comparison, data, layout, ends[-1], arms + 2)
    return {"data": data, "layout": layout}


def _det(comparison: Comparison, data: list[Object], layout: Object, domain: list[float]) -> None:
    curves = [
        det(comparison.clips, arm, one.eer) for arm, one in zip(comparison.arms, comparison.summaries, strict=True)
    ]
    low, high = limits(curves)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axis: Object = {
        "tickvals": deviate(np.array(ticks)).tolist(), "ticktext": [f"{tick:g}" for tick in ticks],
        "range": deviate(np.array([low, high])).tolist(), "zeroline": False,
    }  # fmt: skip
    layout["xaxis"] = {**axis, "title": {"text": "spoofs accepted (%)"}, "anchor": "y"}
    layout["yaxis"] = {**axis, "title": {"text": "bona fide rejected (%)"}, "domain": list(domain)}
    for at, one in enumerate(curves):
        shown: list[Json] = [
            f"{one.name}<br>accepts {x:.2f} % of spoofs<br>rejects {y:.2f} % of bona fide"
            for x, y in zip(one.false_alarm, one.miss, strict=True)
        ]
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": f"{one.name} (EER {one.eer:.2f} %)",
                "x": deviate(one.false_alarm).tolist(), "y": deviate(one.miss).tolist(), "text": shown,
                "hoverinfo": "text", "line": {
                    "color": _colour(at), "dash": DASHES[at // len(COLOURS) % len(DASHES)], "width": 2, "shape": "vh",
                },
            }
        )  # fmt: skip


def _strip(comparison: Comparison, at: int, data: list[Object], layout: Object, domain: list[float]) -> None:
    one = histogram(comparison.clips, comparison.arms[at])
    number = at + 2
    centres = ((one.edges[:-1] + one.edges[1:]) / 2).tolist()
    for share, colour, name in ((one.bona, COLOURS[0], "bona fide"), (one.spoof, COLOURS[1], "spoofed")):
        data.append(
            {
                "type": "bar", "name": name, "legendgroup": name, "showlegend": at == 0, "x": centres,
                "y": (100 * share).tolist(), "marker": {"color": colour, "opacity": 0.55}, "xaxis": f"x{number}",
                "yaxis": f"y{number}", "hovertemplate": "%{y:.1f} % of " + name + "<extra></extra>",
            }
        )  # fmt: skip
    layout[f"xaxis{number}"] = {"anchor": f"y{number}", "title": {"text": f"score of {one.name}"}, "zeroline": False}
    layout[f"yaxis{number}"] = {"domain": list(domain), "title": {"text": "clips (%)"}, "zeroline": False}


def _heat(comparison: Comparison, data: list[Object], layout: Object, domain: list[float], number: int) -> None:
    order = np.argsort(comparison.per_attack[:, 0], kind="stable")  # Plotly draws the last row on top
    values = comparison.per_attack[order]
    data.append(
        {
            "type": "heatmap", "z": values.tolist(), "x": [arm.short for arm in comparison.arms],
            "y": [comparison.attacks[at] for at in order], "colorscale": "Cividis", "zmin": 0,
            "zmax": max(50.0, float(values.max())), "xaxis": f"x{number}", "yaxis": f"y{number}", "showscale": False,
            "text": [[f"{value:.1f}" for value in line] for line in values.tolist()], "texttemplate": "%{text}",
            "hovertemplate": "%{y} under %{x}: EER %{z:.2f} %<extra></extra>",
        }
    )  # fmt: skip
    layout[f"xaxis{number}"] = {"anchor": f"y{number}", "title": {"text": "EER (%) by attack"}, "type": "category"}
    layout[f"yaxis{number}"] = {"domain": list(domain), "type": "category", "dtick": 1}


def _colour(at: int) -> str:
    colour = COLOURS[at % len(COLOURS)]
    return "#888888" if colour == "#000000" else colour  # black cannot be seen on a dark page
