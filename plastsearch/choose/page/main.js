// Ties the views together: one change, one frame, all views.

const one = selector => document.querySelector(selector);

// An element from properties and children; text stays text, whatever it holds.
function made(name, properties, ...inside) {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...inside);
  return found;
}

// A point as a picture in a text; each look is drawn once, for a canvas in every row of a table costs more than the row.
const pictures = new Map();
function mark(symbol, colour, hollow) {
  const key = [symbol, colour, hollow].join();
  if (!pictures.has(key)) {
    const canvas = document.createElement("canvas"), [pen] = sharp(canvas, 16, 16);
    outline(pen, symbol, 8, 8, 5);
    if (hollow) { pen.strokeStyle = colour; pen.lineWidth = 1.5; pen.stroke(); } else { pen.fillStyle = colour; pen.fill(); }
    pictures.set(key, `url(${canvas.toDataURL()})`);
  }
  const found = made("i", { className: "mark", ariaHidden: "true" });
  found.style.backgroundImage = pictures.get(key);
  return found;
}

const VIEWS = { limits: drawLimits, scatter: drawScatter, parallel: drawParallel, sites: drawSites, table: drawTable, detail: drawDetail, legend: drawLegend };
const due = new Set();
let frame = 0;

function draw(...names) {
  names.forEach(name => due.add(name));
  frame ||= requestAnimationFrame(drawNow);
}

function drawNow() {
  cancelAnimationFrame(frame);
  frame = 0;
  const began = performance.now(), names = Object.keys(VIEWS).filter(name => due.has(name));
  due.clear();
  for (const name of names) VIEWS[name]();
  document.documentElement.dataset.drawn = (performance.now() - began).toFixed(1);
}

function changed() { look(); draw("limits", "scatter", "parallel", "sites", "table", "legend"); keepHash(); }

function choose(at, show = false) {
  now.trial = at;
  draw("scatter", "parallel", "table", "detail");
  keepHash();
  if (!show || innerWidth >= 1000) return;
  drawNow();
  one("#detail").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "start" });
}

let later = 0;
function keepHash() {
  clearTimeout(later);
  later = setTimeout(() => {
    // A frame without an origin may refuse; then the view lives as long as the page, and its link can still be copied.
    try { history.replaceState(null, "", location.href.split("#")[0] + hashOf()); } catch { /* said when it is copied */ }
  }, 150);
}

function drawLegend() {
  one("#legend").replaceChildren(...data.looks.flatMap((group, n) => {
    const count = data.look.filter(look => look === n).length;
    if (!count) return [];
    const sample = data.look.indexOf(n), [symbol, colour, , hollow] = looksOf(sample, steps1);
    const button = made("button", { type: "button", title: "Show or hide" }, mark(symbol, colour, hollow), `${group.name} `, made("small", {}, count.toLocaleString("en")));
    button.setAttribute("aria-pressed", !now.hidden.has(n));
    button.onclick = () => { now.hidden.has(n) ? now.hidden.delete(n) : now.hidden.add(n); changed(); };
    return [made("li", {}, button)];
  }), ...bandKeys(), ...rampKey());
}

function bandKeys() {
  const front = frontOf(now.x, now.y);
  if (!front) return [made("li", { className: "soft" }, "border and bands: where both axes are objectives")];
  return front.bands.map((band, n) => { const key = made("i", { className: "band" }); key.style.opacity = n ? 1 : 0.55; return made("li", { className: "soft" }, key, band.name); });
}

function rampKey() {
  const column = byKey.get(now.colour);
  if (!column) return [];
  const key = made("i", { className: "ramp" });
  key.style.background = `linear-gradient(90deg, ${RAMP.join(",")})`;
  const end = value => column.kind === "word" ? column.words[value] : brief(value);
  return [made("li", { className: "soft" }, `${column.title}: ${end(column.range[0])} `, key, ` ${end(column.range[1])}`)];
}

function heading1() {
  one("#name").textContent = data.name;
  one("#status").textContent = data.status;
  one("#question").textContent = data.question;
  one("#caption").textContent = [data.caption, ...data.constraints.map(text => `Constraint: ${text}.`), `Space ${data.spec_hash}.`].join(" ");
  one("#verdict").hidden = !data.verdict.length;
  one("#verdict ul").replaceChildren(...data.verdict.map(text => made("li", {}, text)));
  const pick = (name, number) => {
    const at = placeOf.get(number);
    if (at === undefined) return [];
    const button = made("button", { type: "button", className: "pick" }, made("b", {}, `${name}: ${nameOf(at)}`), made("span", {}, data.objectives.map(key => `${byKey.get(key).short} ${written(byKey.get(key), byKey.get(key).values[at])}`).join(" · ")));
    button.onclick = () => choose(at, true);
    return [button];
  };
  one("#picks").replaceChildren(...pick("Winner", data.winner), ...pick("Knee", data.knee), ...pick("Baseline", data.baseline));
}

function failures() {
  const numbersOf = wanted => numbers.filter((_, at) => data.look[at] < 0 && data.states[data.state[at]] === wanted);
  const causes = data.causes.map(([reason, of]) => [`failed: ${reason}`, of]);
  for (const state of data.states) if (state !== "failed") { const of = numbersOf(state); if (of.length) causes.push([state === "done" ? "done, but not every objective was measured" : state, of]); }
  one("#failures").hidden = !causes.length;
  one("#failures .causes").replaceChildren(...causes.map(([reason, of]) => {
    const some = of.slice(0, 40).map(number => { const button = made("button", { type: "button" }, String(number)); button.onclick = () => choose(placeOf.get(number), true); return button; });
    return made("div", { className: "cause" }, made("b", {}, `${of.length} × `), made("span", {}, reason), made("div", { className: "which" }, ...some, of.length > 40 ? ` and ${of.length - 40} more` : ""));
  }));
}

function selects() {
  const axes = columns.filter(column => column.known && column.key !== now.axes && (column.kind === "number" ? column.different > 1 || column.of !== "metric" : column.words.length <= 14));
  // Short names, for lists are narrow; the axis itself says the whole.
  const options = found => [["objectives", "objective"], ["choices", "setting"], ["growth", "growth"], ["metrics", "metric"], ["order", "trial"]].flatMap(([label, of]) => {
    const mine = found.filter(column => column.of === of);
    return mine.length ? [made("optgroup", { label }, ...mine.map(column => made("option", { value: column.key, title: column.title }, column.short)))] : [];
  });
  for (const side of ["x", "y"]) {
    const list = one(`#axis-${side}`), log = one(`#log-${side}`), flag = side === "x" ? "logX" : "logY";
    list.replaceChildren(...options(axes));
    list.onchange = () => { now[side] = list.value; now[flag] = byKey.get(list.value).log; controls(); draw("scatter", "legend"); keepHash(); };
    log.onchange = () => { now[flag] = log.checked; draw("scatter"); keepHash(); };
  }
  const colour = one("#colour");
  colour.replaceChildren(made("option", { value: "" }, "by group"), ...options(axes.filter(column => column.different > 1)));
  colour.onchange = () => { now.colour = colour.value; draw("scatter", "parallel", "legend"); keepHash(); };
  const checks = (box, list, found, names) => box.replaceChildren(...found.map(column => {
    const tick = made("input", { type: "checkbox", checked: list().includes(column.key) });
    tick.onchange = () => { const kept = new Set(list()); tick.checked ? kept.add(column.key) : kept.delete(column.key); names([...kept]); };
    return made("label", {}, tick, column.title);
  }));
  checks(one("#axes"), () => now.axes, axes, kept => { now.axes = kept; draw("parallel"); keepHash(); });
  checks(one("#shown"), () => now.shown, columns, kept => { now.shown = kept; draw("table"); });
}

function controls() {
  one("#axis-x").value = now.x; one("#axis-y").value = now.y; one("#colour").value = now.colour; one("#find").value = now.find;
  for (const [id, key, on] of [["#log-x", now.x, now.logX], ["#log-y", now.y, now.logY]]) { one(id).checked = on; one(id).disabled = !(byKey.get(key).range[0] > 0) || byKey.get(key).kind === "word"; }
}

function all() { look(); controls(); draw(...Object.keys(VIEWS)); }

// Paper is white and does not scroll.
function paper(on) {
  document.documentElement.classList.toggle("paper", on);
  readPaint();
  scatter.key = parallel.key = "";
  one("#verdict").open = on;
  if (on) printTable();
  Object.keys(VIEWS).forEach(name => due.add(name));
  drawNow();
}

async function main() {
  take(await unpacked(one("#data").textContent));
  document.body.append(made("div", { id: "said", className: "away", ariaLive: "polite" }));
  readPaint();
  heading1(); failures(); selects(); startScatter(); startParallel(); startTable();
  one("#scatter-help").textContent = `Drag to keep a rectangle, click a point for its trial, click beside the points to let go. With the keyboard: arrows walk from point to point, Enter goes to the trial.`;
  one("#more").onchange = event => { now.sliders = [...now.sliders, event.target.value]; draw("limits"); };
  one("#reset").onclick = () => { start(); selects(); all(); keepHash(); };
  one("#share").onclick = event => copy(/^(https?|file):/.test(location.href) ? location.href.split("#")[0] + hashOf() : hashOf(), event.target);
  addEventListener("hashchange", () => { follow(location.hash); all(); });
  addEventListener("keydown", event => { if (event.key === "Escape" && (now.limits.size || now.sites.size)) { now.limits.clear(); now.sites.clear(); changed(); } });
  new ResizeObserver(() => draw("scatter", "parallel", "limits", "table")).observe(one("#scatter"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readPaint(); scatter.key = parallel.key = ""; all(); });
  matchMedia("print").addEventListener("change", event => paper(event.matches));
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
  follow(location.hash);
  all();
  drawNow();
  document.documentElement.dataset.ready = "yes";
}

main().catch(error => {
  one("#name").textContent = "This page cannot be shown here";
  one("#question").textContent = `${error}. The same numbers are in trials.csv and pareto.html beside it.`;
  console.error(error);
});
