"""Each figure as a page that needs no network: HTML around plain Plotly data. What is shown: figure.py."""

import base64
import gzip
import html
import json
from collections.abc import Callable, Mapping, Sequence

from plotly.offline import get_plotlyjs

from plastsearch.analysis.figure import (
    COLOURS,
    SYMBOLS,
    AxisPair,
    Group,
    axis_pairs,
    band_name,
    bands,
    brief,
    front_line,
    groups,
    hover,
    log_ticks,
    place,
    spread,
    tick,
    title,
)
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.pareto.attainment import Corners

# Plotly reads JSON: a figure, a trace or an axis is an object of it, and Plotly's own reference names the keys.
Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Object = dict[str, Json]

AREAS = {0.95: 0.14, 0.5: 0.27}  # opacity; the narrow band lies on the wide one
WAYS = {"min": "less", "max": "more"}
RING: Object = {"color": COLOURS["front"], "width": 2.5}
PLAIN = 500_000  # signs of figure data; longer, and they are packed: 5,000 trials are 6.5 MB, packed 1
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 12px 18px; max-width: 1200px }}
h1 {{ font-size: 20px; margin: 0 0 2px }} p {{ margin: 4px 0 }} #figure {{ height: 600px }}
#views {{ display: flex; flex-wrap: wrap; gap: 6px; margin: 10px 0 0 }} #views .gap {{ width: 18px }}
button {{ font: inherit; padding: 3px 11px; border: 1px solid #bbb; border-radius: 5px; background: #fff }}
button.on {{ background: #fdeee4; border-color: #d55e00 }} button:disabled {{ color: #aaa }}
table {{ border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }}
td, th {{ padding: 3px 10px; text-align: right; white-space: nowrap }}
th {{ border-bottom: 1px solid #999 }} td.text, th.text {{ text-align: left }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #ddd; background: #1b1b1b }} button {{ color: #ddd; background: #2a2a2a; border-color: #666 }}
  button.on {{ background: #4a2a12; border-color: #d55e00 }} button:disabled {{ color: #777 }}
}}
</style>
<script>{library}</script></head><body>
<h1>{title}</h1>{intro}
<div id="views"></div><div id="figure"></div>
<script>{theme}{script}</script>
{outro}
</body></html>
"""
# Colours of the page around the points: those are told apart on both. A bar beside a narrow figure would be cut off.
THEME = """
const dark = matchMedia("(prefers-color-scheme: dark)").matches, grid = dark ? "#3c3c3c" : "#e5e5e5";
function themed(page) {
  const clear = "rgba(0,0,0,0)", layout = {...page.layout, paper_bgcolor: clear, plot_bgcolor: clear};
  layout.font = {...layout.font, color: dark ? "#ddd" : "#222"};
  layout.modebar = {bgcolor: clear};
  layout.hoverlabel = {align: "left", bgcolor: dark ? "#2a2a2a" : "white"};
  for (const name in layout) if (/^[xy]axis/.test(name)) layout[name] = {...layout[name], gridcolor: grid};
  if (innerWidth < 600) layout.font.size = 11;
  if (innerWidth < 600) for (const {marker} of page.data) if (marker?.showscale)
    Object.assign(marker.colorbar, {orientation: "h", y: 1.01, yanchor: "bottom",
                                    title: {...marker.colorbar.title, side: "top"}});
  return layout;
}
"""
# What browsers unpack since 2023. The page says so where one cannot, instead of staying empty.
UNPACKING = """
const packed = Uint8Array.from(atob("PACKED"), sign => sign.charCodeAt(0));
const unpacked = async () => JSON.parse(await new Response(
  new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text());
unpacked().then(show).catch(error => {
  document.getElementById("figure").textContent = "This browser cannot show a figure of so many trials (" + error
    + "): Chrome 80, Firefox 113, Safari 16.4 and later can. The same is in pareto.png and trials.csv.";
});
"""
# Buttons are HTML, not Plotly's own, because those overlap on a narrow page.
PARETO_SCRIPT = """
function show(page) {
const bar = document.getElementById("views"), now = {view: 0, x: null, y: null};
function axis(name) {
  const found = {...page.views[now.view].axes[name]}, log = now[name] ?? found.type === "log";
  const shown = {...found, gridcolor: grid};
  return log && found.tickvals ? {...shown, type: "log", tickmode: "array"}
                               : {...shown, type: "linear", tickmode: "auto", tickvals: null, ticktext: null};
}
function draw() {
  const axes = {xaxis: axis("x"), yaxis: axis("y")};
  const shown = page.data.map((_, n) => n >= page.views[now.view].from && n < page.views[now.view].to);
  Plotly.update("figure", {visible: shown}, axes);
  [...bar.querySelectorAll("[data-view]")].forEach((b, n) => b.classList.toggle("on", n === now.view));
  for (const name of ["x", "y"]) {
    const b = bar.querySelector(`[data-axis=${name}]`);
    b.classList.toggle("on", axes[name + "axis"].type === "log");
    b.disabled = !page.views[now.view].axes[name].tickvals;
  }
}
function button(text, key, value, act) {
  const b = document.createElement("button");
  b.textContent = text; b.dataset[key] = value; b.onclick = act; bar.append(b);
}
page.views.forEach((view, n) => button(view.label, "view", n, () => { now.view = n; now.x = now.y = null; draw(); }));
bar.append(Object.assign(document.createElement("span"), {className: "gap"}));
for (const name of ["x", "y"])
  button(`log ${name}`, "axis", name, () => { now[name] = axis(name).type !== "log"; draw(); });
Plotly.newPlot("figure", page.data, themed(page), {responsive: true, displaylogo: false}).then(draw);
}
"""
PLAIN_SCRIPT = """
function show(page) {
if (page.layout.height) document.getElementById("figure").style.height = page.layout.height + "px";
Plotly.newPlot("figure", page.data, themed(page), {responsive: true, displaylogo: false});
}
"""


def pareto_html(results: Results, intro: str = "", outro: str = "") -> str:
    """One self-contained page: each pair of objectives by buttons, log axes where they help; HTML around it given."""
    return page(f"Pareto front of {results.name}", pareto_figure(results), PARETO_SCRIPT, intro, outro)


def page(name: str, figure: Object, script: str, intro: str = "", outro: str = "") -> str:
    """A page around plain Plotly data; the script says how it is drawn."""
    data = json.dumps(figure)
    if len(data) > PLAIN:
        # Without the time of packing, so that the same trials are the same page.
        packed = base64.b64encode(gzip.compress(data.encode(), mtime=0)).decode()
        shown = UNPACKING.replace("PACKED", packed, 1)
    else:
        # Inside a script element only these three could end it or open a comment.
        plain = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        shown = f"show({plain});\n"
    return PAGE.format(
        title=html.escape(name), library=get_plotlyjs(), intro=intro, outro=outro,
        theme=THEME, script=script + shown,
    )  # fmt: skip


def pareto_figure(results: Results) -> Object:
    """The figure as plain Plotly data; a view for each pair, its traces from `from` to before `to`."""
    layout: Object = {
        "hovermode": "closest", "font": {"family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 60, "r": 10, "t": 30, "b": 60},
        "legend": {"orientation": "h", "itemsizing": "constant", "x": 0, "y": -0.19, "yanchor": "top"},
    }  # fmt: skip
    data: list[Object] = []
    shown: list[Object] = []
    texts = {row.number: hover(results, row) for row in results.plotted}  # the same in every view
    for pair in axis_pairs(results):
        traces = _traces(results, pair, texts)
        label = f"{_name(results, pair.y, brief)} × {_name(results, pair.x, brief)}"
        axes: Object = {"x": _axis(results, pair.x, pair.log_x), "y": _axis(results, pair.y, pair.log_y)}
        shown.append({"label": label, "from": len(data), "to": len(data) + len(traces), "axes": axes})
        data += traces
    return {"data": data, "layout": layout, "views": shown}


def _name(results: Results, objective: int, naming: Callable[[str], str]) -> str:
    return "trial" if objective < 0 else naming(results.objectives[objective].metric)


def _axis(results: Results, objective: int, log: bool) -> Object:
    goal = "" if objective < 0 else f" · {WAYS[results.objectives[objective].goal]} is better"
    ticks = log_ticks(results, objective)
    return {
        "tickvals": ticks or None, "ticktext": [tick(value) for value in ticks] or None,
        "title": {"text": _name(results, objective, title) + goal}, "type": "log" if log else "linear",
        "zeroline": False, "showline": True, "linecolor": "#888", "ticks": "outside",
        "autorange": True,
    }  # fmt: skip


def _traces(results: Results, pair: AxisPair, texts: Mapping[int, str]) -> list[Object]:
    # Empty groups stay in the legend, which is then the same in every sweep; refused trials are an exception.
    shown = [group for group in groups(results) if group.rows or group.kind != "refused"]
    areas = [_area(share, corners) for share, corners in bands(results, pair)]
    return [*areas, _line(results, pair), *(_points(results, pair, group, texts) for group in shown)]


def _area(share: float, corners: Corners) -> Object:
    """Where the middle share of the draws' fronts runs; the outer band is drawn first and paler."""
    opacity = AREAS[share]
    return {
        "type": "scatter", "mode": "lines", "fill": "toself", "name": band_name(share), "hoverinfo": "skip",
        "x": [x for x, _ in corners], "y": [y for _, y in corners], "line": {"width": 0},
        "fillcolor": f"rgba(213, 94, 0, {opacity})",
    }  # fmt: skip


def _marker(results: Results, pair: AxisPair, group: Group) -> Object:
    match group.kind:
        case "trials":
            outline: Object = {"color": "#999", "width": 0.8}  # dark points are seen on a dark page, too
            return {
                "size": 9,
                "opacity": 0.8,
                "line": outline,
                **_colours(group.rows, pair),
                **_colour_bar(results, pair),
            }
        case "refused":
            return {"size": 9, "symbol": "circle-open", "color": "#999"}
        case "front" | "probable":  # the same scale of colours, whose bar the trials show already
            scale = {**_colour_bar(results, pair), "showscale": False}
            symbol = "triangle-up" if group.kind == "probable" else "circle"
            return {"size": 14, "symbol": symbol, "line": RING, **_colours(group.rows, pair), **scale}
        case "control":
            edge = [RING["color"] if row.in_front else "black" for row in group.rows]
            width = [RING["width"] if row.in_front else 1 for row in group.rows]
            line: Object = {"color": edge, "width": width}
            return {"size": 15, "symbol": SYMBOLS[group.look], "color": COLOURS[group.look], "line": line}


def _points(results: Results, pair: AxisPair, group: Group, texts: Mapping[int, str]) -> Object:
    rows = group.rows
    bars = group.kind in ("front", "probable", "control")  # of all trials they would hide the points
    trace: Object = {
        "type": "scatter", "mode": "markers", "name": html.escape(group.name),
        "marker": _marker(results, pair, group),
        "x": [place(row, pair.x) for row in rows], "y": [place(row, pair.y) for row in rows],
        "hoverinfo": "text", "hovertext": [texts[row.number] for row in rows],
    }  # fmt: skip
    for axis, objective in (("error_x", pair.x), ("error_y", pair.y)):
        below, above = spread(results, rows, objective) if bars and objective >= 0 else ([], [])
        if any(above) or any(below):
            trace[axis] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below,
                           "thickness": 1, "width": 3, "color": "#777"}  # fmt: skip
    return trace


def _line(results: Results, pair: AxisPair) -> Object:
    corners = front_line(results, pair)
    return {
        "type": "scatter", "mode": "lines", "name": "best in these two", "hoverinfo": "skip",
        "x": [x for x, _ in corners], "y": [y for _, y in corners], "line": {"color": COLOURS["front"], "width": 1.5},
    }  # fmt: skip


def _colours(rows: Sequence[TrialRow], pair: AxisPair) -> Object:
    if pair.colour is None:
        return {"color": "#56B4E9"}
    return {"color": [row.values[pair.colour] for row in rows]}


def _colour_bar(results: Results, pair: AxisPair) -> Object:
    if pair.colour is None:
        return {}
    values = [row.values[pair.colour] for row in results.plotted if row.record.role == "search"] or [0.0, 1.0]
    return {
        "colorscale": "Cividis", "cmin": min(values), "cmax": max(values), "showscale": True,
        "colorbar": {"title": {"text": title(results.objectives[pair.colour].metric), "side": "right"}, "thickness": 12,
                     "outlinewidth": 0},
    }  # fmt: skip
