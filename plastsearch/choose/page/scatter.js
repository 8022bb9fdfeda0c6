// The front: any two columns across and up, its border and bands where both are objectives. Drag to keep a rectangle.

const scatter = { box: null, scales: null, ground: document.createElement("canvas"), key: "", drag: null, over: -1 };

function frontOf(x, y) {
  const found = data.fronts.find(one => one.x === x && one.y === y);
  if (found) return found;
  const other = data.fronts.find(one => one.x === y && one.y === x);
  return other && { line_x: other.line_y, line_y: other.line_x, bands: other.bands.map(one => ({ name: one.name, x: one.y, y: one.x })) };
}

function scatterScales(width, height) {
  const x = byKey.get(now.x), y = byKey.get(now.y), narrow = width < 480;
  const box = { left: narrow ? 44 : 58, right: width - 14, top: 12, bottom: height - (narrow ? 40 : 44) };
  const range = (column, log) => padded(column.kind === "word" ? [-0.3, column.words.length - 0.7] : column.range, log);
  return [box, new Scale(...range(x, now.logX), now.logX, box.left, box.right), new Scale(...range(y, now.logY), now.logY, box.bottom, box.top)];
}

function drawGround(width, height, ratio) {
  const [box, sx, sy] = [scatter.box, ...scatter.scales], x = byKey.get(now.x), y = byKey.get(now.y);
  const [pen] = sharp(scatter.ground, width, height);
  pen.font = "12px system-ui, sans-serif";
  pen.lineWidth = 1;
  const ticks = (column, scale, most) => column.kind === "word" ? column.words.map((_, n) => n) : scale.ticks(most);
  const text = (column, value) => column.kind === "word" ? column.words[value].slice(0, 14) : brief(value);
  pen.textAlign = "center"; pen.textBaseline = "top";
  for (const value of ticks(x, sx, width / 80)) {
    const at = Math.round(sx.at(value)) + 0.5;
    pen.strokeStyle = paint.line; pen.beginPath(); pen.moveTo(at, box.top); pen.lineTo(at, box.bottom); pen.stroke();
    pen.fillStyle = paint.soft; pen.fillText(text(x, value), at, box.bottom + 6);
  }
  pen.textAlign = "right"; pen.textBaseline = "middle";
  for (const value of ticks(y, sy, height / 45)) {
    const at = Math.round(sy.at(value)) + 0.5;
    pen.strokeStyle = paint.line; pen.beginPath(); pen.moveTo(box.left, at); pen.lineTo(box.right, at); pen.stroke();
    pen.fillStyle = paint.soft; pen.fillText(text(y, value), box.left - 7, at);
  }
  pen.fillStyle = paint.ink; pen.textAlign = "right"; pen.textBaseline = "bottom";
  pen.fillText(heading(x, " →", " ←"), box.right, height - 2);
  pen.save(); pen.translate(12, box.top); pen.rotate(-Math.PI / 2); pen.fillText(heading(y, " →", " ←"), 0, 4); pen.restore();
  pen.save();
  pen.beginPath(); pen.rect(box.left, box.top - 4, box.right - box.left + 4, box.bottom - box.top + 8); pen.clip();
  const front = frontOf(now.x, now.y), path = (xs, ys) => { pen.beginPath(); xs.forEach((value, n) => n ? pen.lineTo(sx.at(value), sy.at(ys[n])) : pen.moveTo(sx.at(value), sy.at(ys[n]))); };
  // A band reaches to where the worst trial stands; on a logarithmic axis nothing may lie at zero.
  const floor = (values, scale) => scale.log ? values.map(value => Math.max(value, scale.low)) : values;
  for (const band of front?.bands ?? []) { path(floor(band.x, sx), floor(band.y, sy)); pen.fillStyle = paint.band; pen.fill(); }
  if (front) { path(front.line_x, front.line_y); pen.strokeStyle = paint.warm; pen.lineWidth = 1.6; pen.globalAlpha = 0.8; pen.stroke(); pen.globalAlpha = 1; }
  pen.fillStyle = paint.veil;
  for (let at = 0; at < size; at++) if (data.look[at] >= 0) pen.fillRect(scatter.px[at] - 2, scatter.py[at] - 2, 4, 4);
  pen.restore();
}

// An axis says which way is better.
function heading(column, up, down) { return column.goal === "min" ? `${column.title}${down} better` : column.goal === "max" ? `${column.title}${up} better` : column.title; }

function drawScatter() {
  const canvas = one("#scatter canvas"), width = canvas.parentElement.clientWidth, height = width < 480 ? 340 : Math.max(380, Math.min(560, width * 0.62));
  const [pen, ratio] = sharp(canvas, width, height);
  const [box, sx, sy] = scatterScales(width, height);
  scatter.box = box; scatter.scales = [sx, sy];
  const x = byKey.get(now.x), y = byKey.get(now.y);
  canvas.setAttribute("aria-label", `${y.title} against ${x.title}: ${inView} trials in view${now.trial >= 0 ? `; chosen: ${nameOf(now.trial)}` : ""}.`);
  const key = [width, height, ratio, now.x, now.y, now.logX, now.logY, paint.ink].join();
  if (key !== scatter.key) {
    [scatter.px, scatter.py] = [[x, sx], [y, sy]].map(([column, scale]) => Float32Array.from(column.values, value => scale.at(value)));
    drawGround(width, height, ratio); scatter.key = key;
  }
  pen.drawImage(scatter.ground, 0, 0, width, height);
  drawKept(pen, box, sx, sy);
  const ramp = steps();
  for (let group = 0; group < data.looks.length; group++) {
    const stamps = new Map();  // by step of the ramp
    for (const at of data.groups[group]) {
      const px = scatter.px[at], py = scatter.py[at];
      if (!mask[at] || Number.isNaN(px + py)) continue;
      if (!stamps.has(ramp[at])) stamps.set(ramp[at], sprite(...looksOf(at, ramp), ratio));
      const [stamp, half] = stamps.get(ramp[at]);
      pen.drawImage(stamp, px - half, py - half, 2 * half, 2 * half);
      if (size < 400 && data.member.has(at)) whiskers(pen, at, sx, sy);
    }
  }
  named(pen, sx, sy, box);
  for (const at of new Set([now.trial, scatter.over])) if (at >= 0 && data.look[at] >= 0) ringed(pen, at, sx, sy);
}

function whiskers(pen, at, sx, sy) {
  const x = byKey.get(now.x), y = byKey.get(now.y), px = sx.at(x.values[at]), py = sy.at(y.values[at]);
  const box = scatter.box;
  pen.save(); pen.beginPath(); pen.rect(box.left, box.top, box.right - box.left, box.bottom - box.top); pen.clip();
  const mine = at === now.trial;
  pen.strokeStyle = mine ? paint.ink : data.looks[data.look[at]].colour || paint.soft; pen.lineWidth = 1; pen.globalAlpha = mine ? 0.55 : 0.22;
  const reach = (column, scale) => column.low.length && column.low[at] != null ? [scale.at(Math.max(column.low[at], scale.low)), scale.at(Math.min(column.high[at], scale.high))] : null;
  const across = reach(x, sx), up = reach(y, sy);
  pen.beginPath();
  if (across) { pen.moveTo(across[0], py); pen.lineTo(across[1], py); }
  if (up) { pen.moveTo(px, up[0]); pen.lineTo(px, up[1]); }
  if (across && mine) for (const end of across) { pen.moveTo(end, py - 4); pen.lineTo(end, py + 4); }
  if (up && mine) for (const end of up) { pen.moveTo(px - 4, end); pen.lineTo(px + 4, end); }
  pen.stroke();
  pen.restore();
}

// What is outside of the limits on these two axes is veiled.
function drawKept(pen, box, sx, sy) {
  const ends = (key, scale) => { const [low, high] = now.limits.get(key) ?? [-Infinity, Infinity]; return [Math.max(low, scale.low), Math.min(high, scale.high)].map(value => scale.at(value)); };
  if (!now.limits.has(now.x) && !now.limits.has(now.y)) return;
  const [left, right] = ends(now.x, sx), [bottom, top] = ends(now.y, sy);
  pen.fillStyle = paint.accent; pen.globalAlpha = 0.07; pen.fillRect(left, top, right - left, bottom - top);
  pen.globalAlpha = 0.8; pen.strokeStyle = paint.accent; pen.setLineDash([4, 3]); pen.lineWidth = 1; pen.strokeRect(left, top, right - left, bottom - top);
  pen.setLineDash([]); pen.globalAlpha = 1;
}

// The knee, the winner and finalists by name; each name where it hides no other.
function named(pen, sx, sy, box) {
  const taken = [];
  const of = [[placeOf.get(data.winner), "winner"], [placeOf.get(data.knee), "knee"], ...data.controls.map(at => [at, nameOf(at).replace(/ \(.*|,.*/g, "")])];
  pen.font = "600 12px system-ui, sans-serif"; pen.textBaseline = "middle";
  const seen = new Map();
  for (const [at, text] of of) if (at !== undefined && mask[at]) seen.set(at, seen.has(at) ? `${seen.get(at)}, ${text}` : text);
  for (const [at, text] of seen) {
    const px = sx.at(byKey.get(now.x).values[at]), py = sy.at(byKey.get(now.y).values[at]), wide = pen.measureText(text).width;
    if (Number.isNaN(px + py)) continue;
    if (/winner|knee/.test(text)) { outline(pen, "circle", px, py, 8.5); pen.strokeStyle = paint.warm; pen.lineWidth = 1.6; pen.stroke(); }
    const places = [[px + 11, py - 11], [px + 11, py + 12], [px - 11 - wide, py - 11], [px - 11 - wide, py + 12], [px - wide / 2, py - 20]];
    const free = places.find(([a, b]) => a > box.left && a + wide < box.right + 10 && b > box.top && b < box.bottom && !taken.some(([c, d, w]) => Math.abs(b - d) < 15 && a < c + w && c < a + wide));
    if (!free) continue;
    taken.push([...free, wide]);
    pen.lineWidth = 4; pen.lineJoin = "round"; pen.strokeStyle = paint.card; pen.textAlign = "left";
    pen.strokeText(text, ...free); pen.fillStyle = paint.ink; pen.fillText(text, ...free);
  }
}

function ringed(pen, at, sx, sy) {
  const px = sx.at(byKey.get(now.x).values[at]), py = sy.at(byKey.get(now.y).values[at]);
  if (Number.isNaN(px + py)) return;
  const mine = at === now.trial;
  for (const run of mine ? data.details.again[at] ?? [] : []) {  // its runs with other seeds
    const place = key => { const n = data.objectives.indexOf(key); return n < 0 ? NaN : run.values[n] ?? NaN; };
    const [rx, ry] = [sx.at(place(now.x)), sy.at(place(now.y))];
    if (Number.isNaN(rx + ry)) continue;
    pen.strokeStyle = paint.soft; pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(px, py); pen.lineTo(rx, ry); pen.stroke();
    outline(pen, "circle", rx, ry, 3); pen.fillStyle = paint.card; pen.fill(); pen.stroke();
  }
  if (mine) whiskers(pen, at, sx, sy);
  outline(pen, "circle", px, py, mine ? 11 : 9);
  pen.strokeStyle = paint.ink; pen.lineWidth = mine ? 2 : 1.2; pen.stroke();
}

function nearest(px, py, reach = 18) {
  let best = -1, far = reach * reach;
  for (let at = 0; at < size; at++) {
    if (!mask[at]) continue;
    const dx = scatter.px[at] - px, dy = scatter.py[at] - py, found = dx * dx + dy * dy;
    if (found < far || (found === far && data.look[at] > data.look[best])) { far = found; best = at; }
  }
  return best;
}

function tip(at, px, py) {
  const box = one("#scatter .tip");
  box.hidden = at < 0;
  if (at < 0) return;
  const lines = [now.x, now.y, ...data.objectives.filter(key => key !== now.x && key !== now.y)].map(key => byKey.get(key));
  box.replaceChildren(made("b", {}, nameOf(at)), ...badges(at).map(([text, kind]) => made("span", { className: `badge ${kind}` }, text)),
    ...lines.map(column => made("div", {}, `${column.title}: ${written(column, column.values[at])}`)),
    ...columns.filter(column => column.key === "set.layers" || column.key === "set.neurons").map(column => made("div", { className: "soft" }, `${column.title}: ${written(column, column.values[at])}`)));
  const wide = box.parentElement.clientWidth;
  box.style.left = `${Math.min(px + 14, wide - box.offsetWidth - 4)}px`;
  box.style.top = `${py > 150 ? py - box.offsetHeight - 12 : py + 16}px`;
}

function startScatter() {
  const canvas = one("#scatter canvas");
  const place = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.onpointerdown = event => { if (event.button) return; scatter.drag = { from: place(event), moved: false }; canvas.setPointerCapture(event.pointerId); tip(-1); };
  canvas.onpointermove = event => {
    const at = place(event), drag = scatter.drag;
    if (!drag) { const over = nearest(...at); if (over !== scatter.over) { scatter.over = over; draw("scatter", "parallel"); } tip(over, ...at); canvas.style.cursor = over >= 0 ? "pointer" : "crosshair"; return; }
    if (!drag.moved && Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) < 5) return;
    drag.moved = true;
    const [sx, sy] = scatter.scales, box = scatter.box, ends = (from, to, scale, low, high) => [from, to].map(one => scale.value(Math.max(low, Math.min(high, one)))).sort((a, b) => a - b);
    limit(now.x, ...ends(drag.from[0], at[0], sx, box.left, box.right));
    limit(now.y, ...ends(drag.from[1], at[1], sy, box.top, box.bottom));
    changed();
  };
  const end = event => {
    const drag = scatter.drag;
    scatter.drag = null;
    if (!drag || drag.moved || event.type === "pointercancel") return;
    const at = nearest(...place(event), event.pointerType === "touch" ? 28 : 18);
    if (at >= 0) choose(at, event.pointerType !== "mouse");
    else if (now.limits.delete(now.x) | now.limits.delete(now.y)) changed();
  };
  canvas.onpointerup = canvas.onpointercancel = end;
  canvas.onpointerleave = () => { if (!scatter.drag) { scatter.over = -1; tip(-1); draw("scatter", "parallel"); } };
  // Keys walk through the points in view from left to right.
  canvas.onkeydown = event => {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter") one("#detail").focus();
    if (!way) return;
    event.preventDefault();
    const values = byKey.get(now.x).values, order = numbers.map((_, at) => at).filter(at => mask[at] && !Number.isNaN(values[at])).sort((a, b) => values[a] - values[b] || a - b);
    if (order.length) choose(order[(Math.max(order.indexOf(now.trial), way < 0 ? 0 : -1) + way + order.length) % order.length]);
  };
}

