// The trials in view as a table that holds only the rows one sees; keys move through it, columns sort it.

const table = { order: new Int32Array(0), all: new Int32Array(0), sort: "", row: 33, from: -1, to: -1, key: "" };

// All trials are put in order once; a brush then only leaves some out.
function sorted() {
  const [key, way] = now.sort, column = byKey.get(key), values = column.values;
  if (table.sort !== `${now.sort}`) table.all = ordered(column, values, way);
  table.sort = `${now.sort}`;
  return table.all.filter(at => mask[at]);
}

function ordered(column, values, way) {
  const compare = column.kind === "word" ? (a, b) => way * column.words[values[a]]?.localeCompare(column.words[values[b]]) : (a, b) => way * (values[a] - values[b]);
  // What has no value stands last, whichever way.
  return Int32Array.from(numbers.map((_, at) => at).sort((a, b) => Number.isNaN(values[a]) - Number.isNaN(values[b]) || compare(a, b) || a - b));
}

function drawTable() {
  table.order = sorted();
  const key = [now.shown, now.sort].join("|");
  if (key !== table.key) { tableHead(); table.key = key; }
  one("#table table").setAttribute("aria-rowcount", table.order.length + 1);
  table.from = -1;
  rows();
}

function tableHead() {
  const cells = now.shown.map(key => {
    const column = byKey.get(key), mine = now.sort[0] === key;
    const button = made("button", { type: "button", title: `${column.title}: ${column.meaning}`.replace(/: $/, "") }, column.short, made("span", { className: "arrow", ariaHidden: "true" }, mine ? (now.sort[1] > 0 ? "▲" : "▼") : ""));
    button.onclick = () => { now.sort = [key, now.sort[0] === key ? -now.sort[1] : column.goal === "max" ? -1 : 1]; draw("table"); keepHash(); };
    const cell = made("th", { scope: "col", className: key === "trial" ? "trial" : column.kind }, button);
    if (mine) cell.setAttribute("aria-sort", now.sort[1] > 0 ? "ascending" : "descending");
    return cell;
  });
  cells.splice(1, 0, made("th", { scope: "col", className: "marks" }, "marks"));
  one("#table thead").replaceChildren(made("tr", {}, ...cells));
}

// Only what the scrolled part shows, and some rows around it.
function rows() {
  const scroll = one("#table .scroll"), count = table.order.length, high = scroll.clientHeight || 420;
  const from = Math.max(0, Math.floor(scroll.scrollTop / table.row) - 8), to = Math.min(count, from + Math.ceil(high / table.row) + 16);
  if (from === table.from && to === table.to) return;
  table.from = from; table.to = to;
  const found = [spacer(from)];
  for (let n = from; n < to; n++) found.push(rowOf(table.order[n], n));
  if (!count) found.push(made("tr", {}, made("td", { colSpan: now.shown.length + 1, className: "none" }, "No trial is within these limits: widen one, or reset.")));
  one("#table tbody").replaceChildren(...found, spacer(count - to));
}

function spacer(count) {
  const found = made("tr", { className: "spacer", ariaHidden: "true" }, made("td", { colSpan: now.shown.length + 1 }));
  found.firstChild.style.height = `${Math.max(0, count) * table.row}px`;
  return found;
}

function rowOf(at, n) {
  const row = made("tr", { id: `row-${numbers[at]}` }, ...cellsOf(at));
  row.setAttribute("aria-rowindex", n + 2);
  row.setAttribute("aria-selected", at === now.trial);
  row.onclick = () => choose(at, true);
  return row;
}

function cellsOf(at) {
  const cells = now.shown.map(key => {
    const column = byKey.get(key), value = column.values[at], text = key === "trial" ? nameOf(at).replace(/^trial /, "") : written(column, Number.isNaN(value) ? null : value);
    const cell = made(key === "trial" ? "th" : "td", { className: key === "trial" ? "trial" : column.kind }, key === "trial" ? swatch(at) : "", text);
    if (key === "trial") cell.scope = "row";
    if (column.low.length && column.low[at] != null) cell.title = `95 % interval ${written(column, column.low[at])} – ${written(column, column.high[at])}`;
    return cell;
  });
  cells.splice(1, 0, made("td", { className: "marks" }, ...badges(at).filter(([, kind]) => kind !== "control").map(([text, kind]) => made("span", { className: `badge ${kind}` }, text))));
  return cells;
}

function swatch(at) {
  if (data.look[at] < 0) return "";
  const [symbol, colour, , hollow] = looksOf(at, steps1);
  return mark(symbol, colour, hollow);
}
const steps1 = { [-1]: 0 };  // no ramp: the table shows groups

function startTable() {
  const scroll = one("#table .scroll");
  scroll.onscroll = () => requestAnimationFrame(rows);
  scroll.onkeydown = event => {
    const page = Math.floor(scroll.clientHeight / table.row) - 2, way = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -size, End: size }[event.key];
    if (event.target !== scroll) return;
    if (event.key === "Enter") { one("#detail").focus(); return; }
    if (!way || !table.order.length) return;
    event.preventDefault();
    const here = table.order.indexOf(now.trial), next = Math.max(0, Math.min(table.order.length - 1, here < 0 ? 0 : here + way));
    choose(table.order[next]);
    showRow(next);
  };
  one("#find").oninput = event => { now.find = event.target.value; changed(); };
}

function showRow(n) {
  const scroll = one("#table .scroll"), top = n * table.row, high = scroll.clientHeight - 2 * table.row;
  if (top < scroll.scrollTop) scroll.scrollTop = top;
  else if (top > scroll.scrollTop + high) scroll.scrollTop = top - high;
  rows();
  scroll.setAttribute("aria-activedescendant", `row-${numbers[table.order[n]]}`);
}

// On paper there is no scrolling: the front and the controls first, then the best of the rest.
function printTable() {
  const most = 60, order = [...table.order], first = order.filter(at => data.member.has(at) || data.looks[data.look[at]].kind === "control");
  const found = [...first, ...order.filter(at => !first.includes(at))].slice(0, most);
  const titles = now.shown.map(key => byKey.get(key).short), head = made("tr", {}, ...[titles[0], "marks", ...titles.slice(1)].map(text => made("th", {}, text)));
  const rest = order.length > found.length ? [made("caption", {}, `${found.length} of ${order.length} trials in view: the front and controls first.`)] : [];
  one("#printed").replaceChildren(...rest, made("thead", {}, head), made("tbody", {}, ...found.map(at => made("tr", {}, ...cellsOf(at)))));
}

