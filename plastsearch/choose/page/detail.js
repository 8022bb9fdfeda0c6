// The chosen trial: what it is, where it grew, how it learned, how to have it.

function drawDetail() {
  const at = now.trial, box = one("#detail");
  if (at < 0) { box.replaceChildren(made("p", { className: "help" }, "Click a point, a line or a row to see its trial.")); return; }
  const place = data.look[at], title = made("div", { className: "bar" }, made("h2", {}, place >= 0 ? swatch(at) : "", capital(nameOf(at))), made("span", { className: "grow" }));
  for (const [text, way] of [["‹", -1], ["›", 1]]) {
    const button = made("button", { type: "button", title: way < 0 ? "The trial before, in the table's order" : "The trial after, in the table's order" }, text);
    button.onclick = () => { const here = table.order.indexOf(at), next = table.order[(here + way + table.order.length) % table.order.length]; if (next !== undefined) choose(next); };
    title.append(button);
  }
  const kinds = badges(at);
  box.replaceChildren(title, made("p", { className: "badges" }, ...(data.labels[at] ? [made("span", { className: "badge" }, `trial ${numbers[at]}`)] : []), ...kinds.map(([text, kind]) => made("span", { className: `badge ${kind}` }, text)), place >= 0 && !mask[at] ? made("span", { className: "badge out" }, "outside the limits") : ""));
  const reason = data.details.reason[at];
  if (reason) box.append(made("p", { className: "reason" }, reason));
  if (place >= 0) box.append(tiles(at));
  part(box, "Where it grew", growthDrawing(at));
  part(box, "Learning curve", curveDrawing(at));
  part(box, "EER by attack, search-dev", attackDrawing(at));
  if (data.details.again[at]) part(box, "Runs with other seeds", runsTable(at, data.details.again[at], false));
  if (data.details.finalists[at]) part(box, "Run again as a finalist", runsTable(at, data.details.finalists[at], true));
  for (const text of data.details.warnings[at] ?? []) box.append(made("p", { className: "reason" }, text));
  part(box, "Configuration", configuration(at));
  part(box, "Commands", commands(at));
}

function capital(text) { return text.slice(0, 1).toUpperCase() + text.slice(1); }

function part(box, name, inside) { box.append(made("section", {}, made("h3", {}, name), inside)); }

function tiles(at) {
  const beside = placeOf.get(data.baseline);
  const membership = data.membership[at];
  return made("div", { className: "tiles" }, ...data.objectives.map(key => {
    const column = byKey.get(key), value = column.values[at], tile = made("div", { className: "tile" }, made("span", { title: column.title }, column.short), made("b", {}, written(column, value)));
    if (column.low[at] != null) tile.append(made("small", {}, `95 %: ${written(column, column.low[at])} – ${written(column, column.high[at])}`));
    const other = beside === undefined || beside === at ? NaN : column.values[beside];
    if (!Number.isNaN(other) && other > 0) {
      const share = 100 * (value / other - 1), good = column.goal === "min" ? share < 0 : share > 0;
      const alike = Math.abs(share) < 0.05;
      tile.append(made("small", { className: alike ? "" : good ? "good" : "bad" }, alike ? "as the baseline" : `${share > 0 ? "+" : "−"}${Math.abs(share).toFixed(1)} % to the baseline`));
    }
    return tile;
  }), ...(data.repeated && membership !== null ? [made("div", { className: "tile" }, made("span", {}, "in the front with"), made("b", {}, `${Math.round(100 * membership)} %`), made("small", {}, `mean of ${data.runs[at]} ${data.runs[at] === 1 ? "run" : "runs"}`))] : []));
}

function runsTable(at, runs, finalists) {
  const held = finalists && runs.some(run => run.evaluation !== null), names = data.objectives.map(key => byKey.get(key));
  const head = ["run", "seed", ...names.map(column => column.short), ...(held ? ["eval EER (%)"] : [])];
  const lines = runs.map(run => made("tr", {}, ...[`${run.trial}`, run.seed ?? "–", ...(run.state === "done" ? names.map((column, n) => written(column, run.values[n])) : [run.state, ...names.slice(1).map(() => "")]), ...(held ? [run.evaluation === null ? "–" : run.evaluation.toFixed(2)] : [])].map(text => made("td", {}, String(text)))));
  return made("div", { className: "over" }, made("table", { className: "small" }, made("thead", {}, made("tr", {}, ...head.map(text => made("th", { scope: "col" }, text)))), made("tbody", {}, ...lines)),
    held ? made("p", { className: "help" }, "Evaluation numbers are results: nothing on this page selects by them.") : "");
}

function configuration(at) {
  const changes = data.details.changes[at], lines = Object.entries(changes), text = value => typeof value === "string" ? value : JSON.stringify(value);
  const list = entries => made("table", { className: "small config" }, made("tbody", {}, ...entries.map(([path, value]) => made("tr", { className: path in changes ? "changed" : "" }, made("th", { scope: "row" }, path), made("td", {}, text(value))))));
  return made("div", { className: "over" }, lines.length ? list(lines) : made("p", { className: "help" }, "Nothing differs from the space's base."),
    made("details", {}, made("summary", {}, `All settings · content ${data.ids[at]}`), list(Object.entries({ ...data.details.base, ...changes }))));
}

function commands(at) {
  const found = made("div", { className: "commands" });
  const put = (name, text, link) => {
    const button = made("button", { type: "button" }, "Copy");
    button.setAttribute("aria-label", `Copy: ${name}`);
    button.onclick = () => copy(text, button);
    found.append(made("div", {}, made("div", { className: "bar" }, made("span", {}, name), made("span", { className: "grow" }), button), made("pre", { tabIndex: 0 }, link ?? text)));
  };
  for (const [name, text] of commandsOf(at)) put(name, text);
  const place = mlflowOf(at);
  if (place?.address) put("Its run in MLflow", place.address, made("a", { href: place.address, target: "_blank", rel: "noopener" }, place.address));
  else if (place) put(`Its run in MLflow: serve it, then open …${place.route}`, `plastsearch ui ${quoted(data.folder)}`);
  else put("Its run in MLflow: bring the sweep there", `plastsearch ui ${quoted(data.folder)}`);
  return found;
}

