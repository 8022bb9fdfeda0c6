// Shapes and colours of points: told apart by shape, too. The colours come with the data and are the report's own.

const RAMP = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];  // cividis
const STEPS = 32;
let paint = {};  // colours of the page as it is now: light, dark or paper

function readPaint() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "soft", "faint", "line", "card", "point", "veil", "band", "accent", "warm"]) paint[name] = style.getPropertyValue(`--${name}`).trim();
  sprites.clear();
}

function rampColour(share) {
  const place = Math.min(0.9999, Math.max(0, share)) * (RAMP.length - 1), at = Math.floor(place);
  const parts = n => [1, 3, 5].map(start => parseInt(RAMP[n].slice(start, start + 2), 16));
  const [one, other] = [parts(at), parts(at + 1)];
  return `rgb(${one.map((part, n) => Math.round(part + (other[n] - part) * (place - at))).join(",")})`;
}

// Of each place a step of the ramp by the chosen column; -1 where it has no value.
function steps() {
  const found = new Int8Array(size).fill(-1), column = byKey.get(now.colour);
  if (!column) return found;  // by group
  const scale = new Scale(...column.range, column.log, 0, STEPS - 1);
  for (let at = 0; at < size; at++) if (!Number.isNaN(column.values[at])) found[at] = Math.round(scale.at(column.values[at]));
  return found;
}

function outline(pen, symbol, x, y, r) {
  pen.beginPath();
  const path = points => { points.forEach(([a, b], n) => n ? pen.lineTo(x + a * r, y + b * r) : pen.moveTo(x + a * r, y + b * r)); pen.closePath(); };
  if (symbol === "triangle") path([[0, -1.15], [1.05, 0.8], [-1.05, 0.8]]);
  else if (symbol === "diamond") path([[0, -1.25], [1.1, 0], [0, 1.25], [-1.1, 0]]);
  else if (symbol === "square") path([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]);
  else if (symbol === "cross") path([[-0.35, -1.1], [0.35, -1.1], [0.35, -0.35], [1.1, -0.35], [1.1, 0.35], [0.35, 0.35], [0.35, 1.1], [-0.35, 1.1], [-0.35, 0.35], [-1.1, 0.35], [-1.1, -0.35], [-0.35, -0.35]]);
  else if (symbol === "x") path([[-1, -0.6], [-0.6, -1], [0, -0.4], [0.6, -1], [1, -0.6], [0.4, 0], [1, 0.6], [0.6, 1], [0, 0.4], [-0.6, 1], [-1, 0.6], [-0.4, 0]]);
  else if (symbol === "star") path([...Array(10).keys()].map(n => { const far = n % 2 ? 0.58 : 1.4, turn = n * Math.PI / 5; return [far * Math.sin(turn), -far * Math.cos(turn)]; }));
  else pen.arc(x, y, r, 0, 7);
}

const sprites = new Map();

// Drawn once and stamped: thousands of paths a frame would cost more than the frame.
function sprite(symbol, colour, radius, hollow, ratio) {
  const key = [symbol, colour, radius, hollow, ratio].join();
  if (!sprites.has(key)) {
    const half = Math.ceil(radius * 1.5) + 2, canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
    canvas.width = canvas.height = 2 * half * ratio;
    pen.scale(ratio, ratio);
    outline(pen, symbol, half, half, radius);
    if (hollow) { pen.strokeStyle = colour; pen.lineWidth = 1.4; pen.stroke(); }
    else { pen.fillStyle = colour; pen.fill(); pen.strokeStyle = paint.card; pen.lineWidth = 1; pen.stroke(); }
    sprites.set(key, [canvas, half]);
  }
  return sprites.get(key);
}

function looksOf(at, ramp) {
  const one = data.looks[data.look[at]], radius = one.kind === "trials" ? (size > 1500 ? 3 : 4) : one.kind === "refused" ? 3.5 : 6;
  const colour = ramp[at] >= 0 && one.kind !== "control" ? rampColour(ramp[at] / (STEPS - 1)) : one.colour || (one.kind === "refused" ? paint.faint : paint.point);
  return [one.symbol === "dot" || one.symbol === "hollow" ? "circle" : one.symbol, colour, radius, one.symbol === "hollow"];
}

// A canvas as sharp as the screen, its pen in CSS pixels.
function sharp(canvas, width, height) {
  const ratio = Math.min(3, devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return [pen, ratio];
}

