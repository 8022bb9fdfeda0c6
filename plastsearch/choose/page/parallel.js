// Parallel coordinates: one line for each trial. A drag along an axis limits its column; names turn axes round.

const parallel = { x: [], scales: [], ground: document.createElement("canvas"), labels: document.createElement("canvas"), key: "", drag: null, rest: 0 };
const AT_ONCE = 300;  // lines of a frame; the rest follows when the brush rests, so that it never waits for thousands

function axisScale(column, top, bottom) {
  const [low, high] = column.kind === "word" ? [-0.4, Math.max(1, column.words.length) - 0.6] : column.range;
  // Better is up; what is neither grows upwards.
  const up = (column.goal !== "min") !== now.flipped.has(column.key);
  return new Scale(low, high, column.log, up ? bottom : top, up ? top : bottom);
}

function drawParallel() {
  const canvas = one("#parallel canvas"), outer = one("#parallel .wide").clientWidth;
  const axes = now.axes.map(key => byKey.get(key)), width = Math.max(outer, 86 * axes.length), height = 330, top = 54, bottom = height - 22;
  const [pen, ratio] = sharp(canvas, width, height);
  const gap = parallel.gap = (width - 120) / Math.max(1, axes.length - 1);
  parallel.x = axes.map((_, n) => 60 + n * gap);
  parallel.scales = axes.map(column => axisScale(column, top, bottom));
  canvas.setAttribute("aria-label", `A line for each of ${inView} trials over ${axes.map(column => column.title).join(", ")}. Every range can be set with Add a limit above.`);
  const key = [width, ratio, now.axes, [...now.flipped], paint.ink].join();
  if (key !== parallel.key) {
    parallel.places = axes.map((column, n) => Float32Array.from(column.values, value => parallel.scales[n].at(value)));
    const [back] = sharp(parallel.ground, width, height);
    back.strokeStyle = paint.veil; back.lineWidth = 0.8;
    const all = numbers.map((_, at) => at).filter(at => data.look[at] >= 0), every = Math.ceil(all.length / 1500);
    all.filter((_, n) => n % every === 0).forEach(at => line(back, at));
    const [over] = sharp(parallel.labels, width, height);
    axes.forEach((column, n) => axis(over, column, n, top, bottom));
    parallel.key = key;
    heads(axes);
  }
  pen.drawImage(parallel.ground, 0, 0, width, height);
  clearTimeout(parallel.rest);
  const ramp = steps(), plain = [], above = [];
  for (let at = 0; at < size; at++) if (mask[at]) (data.member.has(at) || data.looks[data.look[at]].kind === "control" ? above : plain).push(at);
  const alpha = Math.max(0.12, Math.min(0.75, 60 / plain.length)), shown = new Set([now.trial, scatter.over].filter(at => at >= 0 && mask[at]));
  const colours = new Map();
  const lines = (from, to) => {
    pen.lineWidth = 1; pen.globalAlpha = alpha;
    for (const at of plain.slice(from, to)) {
      const look = 100 * ramp[at] + data.look[at];
      if (!colours.has(look)) colours.set(look, looksOf(at, ramp)[1]);
      pen.strokeStyle = colours.get(look);
      line(pen, at);
    }
  };
  const finish = () => {
    pen.globalAlpha = 0.9; pen.lineWidth = 1.7;
    for (const at of above) { pen.strokeStyle = looksOf(at, ramp)[1]; pen.setLineDash(data.looks[data.look[at]].kind === "control" ? [6, 4] : []); line(pen, at); }
    pen.setLineDash([]); pen.globalAlpha = 1;
    for (const at of shown) { pen.lineWidth = 5; pen.strokeStyle = paint.card; line(pen, at); pen.lineWidth = 2.6; pen.strokeStyle = paint.ink; line(pen, at); }
    pen.drawImage(parallel.labels, 0, 0, width, height);
    axes.forEach((column, n) => kept(pen, column, n));
    if (document.documentElement.classList.contains("paper")) axes.forEach((column, n) => {  // buttons are not printed
      pen.fillStyle = paint.ink; pen.font = "600 11px system-ui, sans-serif"; pen.textAlign = "center";
      pen.fillText(column.short, parallel.x[n], n % 2 ? 38 : 20, parallel.gap * 1.9);
    });
  };
  const go = from => {
    lines(from, from + AT_ONCE);
    finish();
    if (from + AT_ONCE < plain.length) parallel.rest = setTimeout(() => go(from + AT_ONCE), from ? 0 : 120);
  };
  go(0);
}

function line(pen, at) {
  pen.beginPath();
  let open = false;
  for (let n = 0; n < parallel.x.length; n++) {
    const y = parallel.places[n][at];
    if (Number.isNaN(y)) { open = false; continue; }  // nothing is drawn where it has no value
    if (open) pen.lineTo(parallel.x[n], y); else pen.moveTo(parallel.x[n], y);
    open = true;
  }
  pen.stroke();
}

function axis(pen, column, n, top, bottom) {
  const x = Math.round(parallel.x[n]) + 0.5, scale = parallel.scales[n];
  pen.strokeStyle = paint.soft; pen.lineWidth = 1;
  pen.beginPath(); pen.moveTo(x, top); pen.lineTo(x, bottom); pen.stroke();
  pen.font = "11px system-ui, sans-serif"; pen.textBaseline = "middle";
  const last = n === parallel.x.length - 1 && n > 0;
  pen.textAlign = last ? "right" : "left";
  const ticks = column.kind === "word" ? column.words.map((_, at) => at) : scale.ticks(6, column.form === "count" || column.values.every(value => Number.isNaN(value) || Number.isInteger(value)));
  for (const value of ticks) {
    const y = scale.at(value), text = column.kind === "word" ? column.words[value].slice(0, 16) : brief(value);
    pen.lineWidth = 3.5; pen.strokeStyle = paint.card; pen.lineJoin = "round";
    pen.strokeText(text, last ? x - 5 : x + 5, y); pen.fillStyle = paint.ink; pen.fillText(text, last ? x - 5 : x + 5, y);
    pen.strokeStyle = paint.soft; pen.lineWidth = 1; pen.beginPath(); pen.moveTo(x - 3, y); pen.lineTo(x + 3, y); pen.stroke();
  }
}

// The range of an axis that is kept.
function kept(pen, column, n) {
  const ends = now.limits.get(column.key), x = Math.round(parallel.x[n]) + 0.5, scale = parallel.scales[n];
  if (!ends) return;
  const [one, other] = ends.map((value, end) => scale.at(Number.isFinite(value) ? Math.max(scale.low, Math.min(scale.high, value)) : end ? scale.high : scale.low));
  pen.fillStyle = paint.accent; pen.globalAlpha = 0.3; pen.fillRect(x - 8, Math.min(one, other), 16, Math.abs(other - one));
  pen.globalAlpha = 1; pen.strokeStyle = paint.accent; pen.lineWidth = 1.5; pen.strokeRect(x - 8, Math.min(one, other), 16, Math.abs(other - one));
}

function heads(axes) {
  one("#parallel .heads").replaceChildren(...axes.map((column, n) => {
    const button = made("button", { type: "button", title: `${column.title}: turn round` }, column.short, made("small", {}, column.goal ? "better is " + (now.flipped.has(column.key) ? "down" : "up") : ""));
    button.style.left = `${parallel.x[n]}px`;
    button.style.width = `${Math.min(140, parallel.gap - 4)}px`;
    button.onclick = () => { now.flipped.has(column.key) ? now.flipped.delete(column.key) : now.flipped.add(column.key); draw("parallel"); };
    return button;
  }));
}

function lineAt(px, py) {
  const n = Math.max(0, Math.min(parallel.x.length - 2, parallel.x.findIndex(x => x > px) - 1));
  if (parallel.x.length < 2) return -1;
  const share = (px - parallel.x[n]) / (parallel.x[n + 1] - parallel.x[n]);
  let best = -1, far = 9;
  for (let at = 0; at < size; at++) {
    if (!mask[at]) continue;
    const found = Math.abs(parallel.places[n][at] * (1 - share) + parallel.places[n + 1][at] * share - py);
    if (found < far) { far = found; best = at; }
  }
  return best;
}

function startParallel() {
  const canvas = one("#parallel canvas");
  const place = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const axisAt = px => parallel.x.findIndex(x => Math.abs(x - px) < 14);
  canvas.onpointerdown = event => {
    if (event.button) return;
    const [px, py] = place(event), n = axisAt(px);
    parallel.drag = { n, from: py, moved: false, at: [px, py] };
    if (n >= 0) { canvas.setPointerCapture(event.pointerId); event.preventDefault(); }
  };
  // On an axis a finger brushes; beside it, it scrolls the page.
  canvas.addEventListener("touchstart", event => { const box = canvas.getBoundingClientRect(); if (axisAt(event.touches[0].clientX - box.left) >= 0) event.preventDefault(); }, { passive: false });
  canvas.onpointermove = event => {
    const [px, py] = place(event), drag = parallel.drag;
    if (!drag) {
      const over = axisAt(px) >= 0 ? -1 : lineAt(px, py);
      canvas.style.cursor = axisAt(px) >= 0 ? "ns-resize" : over >= 0 ? "pointer" : "default";
      if (over !== scatter.over) { scatter.over = over; draw("scatter", "parallel"); }
      return;
    }
    if (drag.n < 0 || (!drag.moved && Math.abs(py - drag.from) < 4)) return;
    drag.moved = true;
    const key = now.axes[drag.n], scale = parallel.scales[drag.n];
    const inside = value => Math.max(scale.low, Math.min(scale.high, value));
    limit(key, ...[drag.from, py].map(y => inside(scale.value(y))).sort((a, b) => a - b));
    changed();
  };
  canvas.onpointerup = canvas.onpointercancel = event => {
    const drag = parallel.drag;
    parallel.drag = null;
    if (!drag || drag.moved || event.type === "pointercancel") return;
    if (drag.n >= 0) { if (now.limits.delete(now.axes[drag.n])) changed(); return; }
    const at = lineAt(...place(event));
    if (at >= 0) choose(at);
  };
  canvas.onpointerleave = () => { if (!parallel.drag && scatter.over >= 0) { scatter.over = -1; draw("scatter", "parallel"); } };
}

