"""The HTML around a figure: one page that needs no network, and the script of the Pareto figure's buttons."""

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
</style>
<script>{library}</script></head><body>
<h1>{title}</h1>{intro}
<div id="views"></div><div id="figure"></div>
<script>{script}</script>
{outro}
</body></html>
"""
# Buttons are HTML, not Plotly's own, because those overlap on a narrow page.
PARETO_SCRIPT = """
const page = DATA, bar = document.getElementById("views"), now = {view: 0, x: null, y: null};
function axis(name) {
  const found = {...page.views[now.view].axes[name]}, log = now[name] ?? found.type === "log";
  return log && found.tickvals ? {...found, type: "log", tickmode: "array"}
                               : {...found, type: "linear", tickmode: "auto", tickvals: null, ticktext: null};
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
Plotly.newPlot("figure", page.data, page.layout, {responsive: true, displaylogo: false}).then(draw);
"""
SITES_SCRIPT = """
const page = DATA;
Plotly.newPlot("figure", page.data, page.layout, {responsive: true, displaylogo: false});
"""
