// What is looked at: limits, axes, the chosen trial. Everything that narrows the view is a limit on a column, so that a
// slider, a brush on the front and a brush on an axis are one thing, and every view shows it.

const now = {
  x: "", y: "", logX: false, logY: false, colour: "", limits: new Map(), find: "", sites: new Set(), hidden: new Set(),
  sort: ["", 1], trial: -1, axes: [], flipped: new Set(), shown: [], sliders: [],
};
let data, size = 0, columns = [], byKey = new Map(), mask = new Uint8Array(0), inView = 0, words = [], grownAt = [];
const numbers = [];  // of each place, the trial's number
const placeOf = new Map();

function take(found) {
  data = found;
  columns = data.columns;
  size = columns[0].values.length;
  mask = new Uint8Array(size);
  for (const column of columns) {
    column.values = Float64Array.from(column.values, value => value ?? NaN);
    const known = column.values.filter((value, at) => !Number.isNaN(value) && data.look[at] >= 0);
    column.known = known.length;
    column.range = known.length ? extent(known) : [0, 1];
    column.different = new Set(known).size;
    byKey.set(column.key, column);
  }
  byKey.get("trial").values.forEach((number, at) => { numbers.push(number); placeOf.set(number, at); });
  data.member = new Set(data.members.map(number => placeOf.get(number)));
  data.sure = new Set(data.certain.map(number => placeOf.get(number)));
  data.groups = data.looks.map((_, n) => Int32Array.from(numbers.map((_, at) => at).filter(at => data.look[at] === n)));
  data.broken = new Set(data.refused.map(number => placeOf.get(number)));
  data.controls = numbers.map((_, at) => at).filter(at => data.looks[data.look[at]]?.kind === "control");
  grownAt = data.growth.grown.map((sites, at) => new Set([...sites, ...data.growth.rings[at]].map(([site]) => site)));
  const settings = columns.filter(column => column.of === "setting");
  words = numbers.map((number, at) => [
    nameOf(at), data.ids[at], ...settings.map(column => written(column, column.values[at])), ...badges(at).map(([text]) => text),
  ].join(" ").toLowerCase());
  start();
}

function start() {
  const front = data.fronts[0];
  const objectives = columns.filter(column => column.of === "objective");
  const axis = column => column.known && column.different > 1 && (column.kind === "number" || column.words.length <= 14);
  const chosen = columns.filter(column => ["setting", "growth"].includes(column.of) && axis(column));
  Object.assign(now, {
    x: front?.x ?? "trial", y: front?.y ?? data.objectives[0], colour: "", limits: new Map(), find: "", sites: new Set(),
    hidden: new Set(), sort: [data.objectives[0], objectives[0].goal === "max" ? -1 : 1], flipped: new Set(),
    trial: placeOf.get(data.winner ?? data.knee ?? data.members[0]) ?? -1,
    axes: [...chosen.slice(0, 7), ...objectives].map(column => column.key),
    shown: ["trial", ...objectives.map(column => column.key), ...columns.filter(column => column.of === "setting" && column.different + (column.known < size) > 1).slice(0, 6).map(column => column.key)],
    sliders: [...objectives, ...columns.filter(column => column.of === "metric" && column.different > 1 && /^(params_total|params_final|backward_ratio|params_trainable|backward_gflop|backward_ms|peak_memory_mb)$/.test(column.key))].slice(0, 6).map(column => column.key),
  });
  now.logX = byKey.get(now.x).log;
  now.logY = byKey.get(now.y).log;
}

function nameOf(at) { return data.labels[at] ?? `trial ${numbers[at]}`; }

// Words on a trial that are no numbers: [text, kind].
function badges(at) {
  const found = [], number = numbers[at], kind = data.looks[data.look[at]]?.kind;
  if (number === data.winner) found.push(["winner", "winner"]);
  if (number === data.knee) found.push(["knee", "knee"]);
  if (data.member.has(at)) found.push([!data.repeated ? "front" : data.sure.has(at) ? "front, certain" : "front, probable", "front"]);
  if (kind === "control") found.push(["control", "control"]);
  if (data.broken.has(at)) found.push(["breaks a constraint", "refused"]);
  if (data.details.finalists[at]) found.push(["finalist", "finalist"]);
  if (data.runs[at] > 1) found.push([`${data.runs[at]} seeds`, "seeds"]);
  if (data.look[at] < 0) found.push([data.states[data.state[at]], "state"]);
  return found;
}

function limit(key, low, high) {
  const [from, to] = byKey.get(key).range;
  if (!(low > from)) low = -Infinity;
  if (!(high < to)) high = Infinity;
  if (low === -Infinity && high === Infinity) now.limits.delete(key);
  else now.limits.set(key, [low, high]);
}

function look() {
  const limits = [...now.limits].map(([key, [low, high]]) => [byKey.get(key).values, low, high]);
  const asked = now.find.toLowerCase().split(/\s+/).filter(Boolean), sites = [...now.sites];
  inView = 0;
  for (let at = 0; at < size; at++) {
    let good = data.look[at] >= 0 && !now.hidden.has(data.look[at]);
    for (let n = 0; good && n < limits.length; n++) {
      const value = limits[n][0][at];
      good = value >= limits[n][1] && value <= limits[n][2];  // a missing value is in no range
    }
    if (good && sites.length) good = sites.every(site => grownAt[at].has(site));
    if (good && asked.length) good = asked.every(word => words[at].includes(word));
    mask[at] = good ? 1 : 0;
    inView += mask[at];
  }
}

// A view as text behind the address's #; a link to it needs no storage.
function hashOf() {
  const said = new URLSearchParams();
  said.set("x", now.x); said.set("y", now.y); said.set("log", `${+now.logX}${+now.logY}`);
  if (now.colour) said.set("colour", now.colour);
  for (const [key, [low, high]] of now.limits) said.append("limit", [key, Number.isFinite(low) ? low : "", Number.isFinite(high) ? high : ""].join("~"));
  for (const site of now.sites) said.append("site", data.growth.sites[site]);
  for (const group of now.hidden) said.append("hide", data.looks[group].name);
  if (now.find) said.set("find", now.find);
  said.set("sort", now.sort.join("~"));
  if (now.trial >= 0) said.set("trial", numbers[now.trial]);
  said.set("axes", now.axes.join("~"));
  return `#${said}`;
}

function follow(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  if (!said.size && ![...said].length) return;
  const column = key => byKey.has(key) ? key : null;
  now.x = column(said.get("x")) ?? now.x;
  now.y = column(said.get("y")) ?? now.y;
  const log = said.get("log") ?? "";
  if (/^[01]{2}$/.test(log)) [now.logX, now.logY] = [log[0] === "1", log[1] === "1"];
  now.colour = column(said.get("colour")) ?? "";
  now.limits = new Map();
  for (const [key, low, high] of said.getAll("limit").map(text => text.split("~"))) {
    if (column(key)) limit(key, low ? Number(low) : -Infinity, high ? Number(high) : Infinity);
    if (column(key) && byKey.get(key).kind === "number" && !now.sliders.includes(key)) now.sliders.push(key);
  }
  now.sites = new Set(said.getAll("site").map(name => data.growth.sites.indexOf(name)).filter(site => site >= 0));
  now.hidden = new Set(said.getAll("hide").map(name => data.looks.findIndex(one => one.name === name)).filter(at => at >= 0));
  now.find = said.get("find") ?? "";
  const [key, way] = (said.get("sort") ?? "").split("~");
  if (column(key)) now.sort = [key, way === "-1" ? -1 : 1];
  now.trial = placeOf.get(Number(said.get("trial") ?? NaN)) ?? now.trial;
  const axes = (said.get("axes") ?? "").split("~").filter(column);
  if (axes.length) now.axes = axes;
}

