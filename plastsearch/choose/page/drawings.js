// Drawings of one trial, as SVG: where it grew, how it learned, which attacks fool it. Each says in words what it shows.

function svg(name, attributes, ...inside) {
  const found = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...inside);
  return found;
}

function drawing(width, height, label, ...inside) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "drawing" }, ...inside);
}

// Each site of the network is a bar as long as its width: grey what was there, coloured what came; hatched what went again.
function growthDrawing(at) {
  const growth = data.growth, kind = growth.adds[growth.kind[at]], widths = growth.widths[growth.network[at]] ?? [];
  if (growth.rings[at].length) return ringDrawing(growth.rings[at].map(([site, ...rest]) => [growth.sites[site], ...rest]));
  const of = new Map(growth.grown[at].map(([site, ...rest]) => [site, rest]));
  if (!of.size) return made("p", { className: "help" }, kind === "nothing" ? "It grew nowhere: the network keeps its shape." : "Nothing is recorded of where it grew.");
  let sites = growth.sites.map((_, site) => site).filter(site => widths[site] || of.has(site));
  const parts = name => name.split(".").pop();
  const kinds = new Set([...of.keys()].map(site => parts(growth.sites[site])));
  if (sites.length > 8) sites = sites.filter(site => of.has(site) || kinds.has(parts(growth.sites[site])));
  if (sites.length > 40) sites = sites.filter(site => of.has(site));
  const label = site => {
    const [added, kept, lost] = of.get(site) ?? [0, 0, 0];
    return !of.has(site) ? "" : kind === "adapters" ? `adapters like +${added}` : kept === added && !lost ? `+${added}` : `+${added}, kept ${kept}${lost ? `, −${lost} old` : ""}`;
  };
  const room = 14 + 6.6 * Math.max(...sites.map(site => label(site).length)), row = 19, left = 12 + 6.6 * Math.max(...sites.map(site => growth.sites[site].length)), right = 420, high = sites.length * row + 8;
  const most = Math.max(...sites.map(site => (widths[site] || 0) + (of.get(site)?.[0] ?? 0))), scale = (right - left - room) / most;
  const adapters = kind === "adapters", said = [], found = [];
  sites.forEach((site, n) => {
    const y = 4 + n * row, [added, kept, lost] = of.get(site) ?? [0, 0, 0], width = widths[site] || 0, grew = of.has(site), name = growth.sites[site];
    found.push(svg("text", { x: left - 6, y: y + 11, "text-anchor": "end", class: grew ? "strong" : "soft" }, name));
    let x = left;
    const part = (count, look) => { if (count > 0) found.push(svg("rect", { x, y, width: Math.max(1, count * scale), height: 13, class: look })); x += Math.max(0, count) * scale; };
    part(width - lost, "old");
    part(lost, "old gone");
    part(adapters ? 0 : kept, "new");
    part(adapters ? 0 : added - kept, "new gone");
    if (adapters && grew) found.push(svg("rect", { x: left, y: y - 1, width: Math.max(6, width * scale), height: 15, class: "adapter" }));
    const text = label(site);
    if (text) { found.push(svg("text", { x: x + 6, y: y + 11, class: "strong" }, text)); said.push(`${name} ${text}`); }
  });
  const legend = adapters ? [["old", "width"], ["adapter", "with adapters"]] : [["old", "was there"], ["new", "added, kept"], ["new gone", "added, pruned"], ...([...of.values()].some(one => one[2]) ? [["old gone", "old, pruned"]] : [])];
  return made("div", {}, drawing(right, high, `Where it grew: ${said.join("; ")}.`, pattern(), ...found),
    made("p", { className: "keys" }, ...legend.map(([look, text]) => made("span", {}, svg("svg", { viewBox: "0 0 14 12", class: "key", "aria-hidden": "true" }, svg("rect", { x: 1, y: 1, width: 12, height: 10, class: look })), text))));
}

// Each site's kernel as it looks from above: the trained taps in the middle, the ring around them; hatched what was cut again.
function ringDrawing(sites) {
  const tap = Math.min(5, 38 / Math.max(...sites.map(([, , grown]) => grown))), left = 12 + 6.6 * Math.max(...sites.map(([name]) => name.length));
  const said = [], found = [];
  let y = 4;
  for (const [name, before, grown, kept] of sites) {
    const side = grown * tap, text = `${before || "?"} → ${grown} taps${kept === grown ? "" : kept === before ? ", cut back" : `, cut to ${kept}`}`;
    const square = (taps, look) => { if (taps > 0) found.push(svg("rect", { x: left + (side - taps * tap) / 2, y: y + (side - taps * tap) / 2, width: taps * tap, height: taps * tap, class: look })); };
    square(grown, kept < grown ? "new gone" : "new");
    if (kept < grown && kept > before) square(kept, "new");
    square(before, "tap");
    for (let n = 1; n < grown; n++) for (const [x1, y1, x2, y2] of [[n, 0, n, grown], [0, n, grown, n]]) found.push(svg("line", { x1: left + x1 * tap, y1: y + y1 * tap, x2: left + x2 * tap, y2: y + y2 * tap, class: "tap-edge" }));
    found.push(svg("text", { x: left - 6, y: y + side / 2 + 4, "text-anchor": "end", class: "strong" }, name), svg("text", { x: left + side + 8, y: y + side / 2 + 4, class: "strong" }, text));
    said.push(`${name} ${text}`);
    y += Math.max(19, side + 6);
  }
  const gone = sites.some(([, , grown, kept]) => kept < grown), legend = [["tap", "trained taps"], ["new", "ring"], ...(gone ? [["new gone", "ring, cut again"]] : [])];
  return made("div", {}, drawing(420, y, `Kernels that grew: ${said.join("; ")}.`, pattern(), ...found),
    made("p", { className: "keys" }, ...legend.map(([look, text]) => made("span", {}, svg("svg", { viewBox: "0 0 14 12", class: "key", "aria-hidden": "true" }, svg("rect", { x: 1, y: 1, width: 12, height: 10, class: look })), text))));
}

function pattern() {
  const of = (id, look) => svg("pattern", { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, svg("rect", { width: 5, height: 5, class: `${look} under` }), svg("rect", { width: 2, height: 5, class: look }));
  return svg("defs", {}, of("hatch-new", "ink-new"), of("hatch-old", "ink-old"));
}

// Dev EER over the steps, stage by stage; the baseline's thin beside it.
function curveDrawing(at) {
  const [stages, xs, eers, losses] = data.details.curves[at] ?? [[], [], [], []];
  const known = eers.some(value => value !== null) ? eers : losses, name = known === eers ? "dev EER (%)" : "training loss";
  const points = xs.map((x, n) => [x, known[n], stages[n]]).filter(([, y]) => y !== null);
  if (points.length < 2) return made("p", { className: "help" }, points.length ? `One report alone: ${name} ${points[0][1]} at step ${points[0][0]}.` : "No learning curve is recorded.");
  const beside = placeOf.get(data.baseline), other = beside !== undefined && beside !== at ? data.details.curves[beside] : null;
  const also = other && known === eers ? other[1].map((x, n) => [x, other[2][n]]).filter(([, y]) => y !== null) : [];
  const [left, right, top, bottom] = [40, 406, 18, 142], sx = new Scale(...extent([...points, ...also].map(([x]) => x)), false, left, right);
  const sy = new Scale(...padded(extent([...points, ...also].map(([, y]) => y))), false, bottom, top);
  const path = of => of.map(([x, y], n) => `${n ? "L" : "M"}${sx.at(x).toFixed(1)} ${sy.at(y).toFixed(1)}`).join("");
  const found = [];
  for (const value of sy.ticks(4)) found.push(svg("line", { x1: left, x2: right, y1: sy.at(value), y2: sy.at(value), class: "grid" }), svg("text", { x: left - 5, y: sy.at(value) + 4, "text-anchor": "end", class: "soft" }, brief(value)));
  let begun = 0;
  points.forEach(([x, , stage], n) => {
    const ends = n === points.length - 1 || points[n + 1][2] !== stage;
    if (!ends) return;
    const from = begun ? sx.at(points[begun - 1][0]) : left, to = sx.at(x), text = data.details.stages[stage];
    if (n < points.length - 1) found.push(svg("line", { x1: to, x2: to, y1: top - 4, y2: bottom, class: "edge" }));
    if (to - from > 6.2 * text.length) found.push(svg("text", { x: (from + to) / 2, y: top - 6, "text-anchor": "middle", class: "soft small" }, text));
    begun = n + 1;
  });
  for (const value of sx.ticks(5)) found.push(svg("text", { x: sx.at(value), y: bottom + 14, "text-anchor": "middle", class: "soft" }, brief(value)));
  found.push(svg("text", { x: right, y: bottom + 27, "text-anchor": "end", class: "soft" }, "steps"));
  if (also.length > 1) found.push(svg("path", { d: path(also), class: "curve beside" }));
  found.push(svg("path", { d: path(points), class: "curve" }), ...points.map(([x, y]) => svg("circle", { cx: sx.at(x), cy: sy.at(y), r: 2.6, class: "dot" })));
  const last = points[points.length - 1];
  return made("div", {}, drawing(420, 174, `${name} from ${points[0][1]} at step ${points[0][0]} to ${last[1]} at step ${last[0]}.`, ...found),
    made("p", { className: "keys" }, made("span", {}, svg("svg", { viewBox: "0 0 18 10", class: "key", "aria-hidden": "true" }, svg("path", { d: "M1 5H17", class: "curve" })), name),
      also.length > 1 ? made("span", {}, svg("svg", { viewBox: "0 0 18 10", class: "key", "aria-hidden": "true" }, svg("path", { d: "M1 5H17", class: "curve beside" })), "baseline") : ""));
}

// EER of each attack, worst first; the stroke is the baseline's.
function attackDrawing(at) {
  const mine = data.details.per_attack[at] ?? [], beside = placeOf.get(data.baseline), other = beside === undefined || beside === at ? [] : data.details.per_attack[beside] ?? [];
  const found = data.details.attacks.map((name, n) => [name, mine[n], other[n]]).filter(([, value]) => value != null).sort((a, b) => b[1] - a[1]);
  if (!found.length) return made("p", { className: "help" }, "No EER by attack is recorded.");
  const most = Math.max(1, ...found.flatMap(([, value, of]) => [value, of ?? 0])), row = 18, left = 12 + 6.8 * Math.min(20, Math.max(...found.map(([name]) => name.length))), right = 370, scale = (right - left) / most;
  const parts = found.flatMap(([name, value, of], n) => {
    const y = 3 + n * row;
    return [svg("text", { x: left - 6, y: y + 11, "text-anchor": "end" }, name.slice(0, 20)), svg("rect", { x: left, y, width: Math.max(1, value * scale), height: 13, class: "attack" }),
      ...(of == null ? [] : [svg("line", { x1: left + of * scale, x2: left + of * scale, y1: y - 2, y2: y + 15, class: "stroke" })]), svg("text", { x: left + value * scale + 5, y: y + 11, class: "strong" }, value.toFixed(1))];
  });
  const label = `EER by attack: ${found.map(([name, value, of]) => `${name} ${value.toFixed(1)} %${of == null ? "" : ` (baseline ${of.toFixed(1)} %)`}`).join(", ")}.`;
  return made("div", {}, drawing(420, found.length * row + 6, label, ...parts),
    other.length ? made("p", { className: "keys" }, made("span", {}, svg("svg", { viewBox: "0 0 14 12", class: "key", "aria-hidden": "true" }, svg("line", { x1: 7, x2: 7, y1: 0, y2: 12, class: "stroke" })), "baseline")) : "");
}

