// Budgets: a slider for each limited column over the histogram of its values, and every limit as a chip that takes it back.

const FINE = 400;
let spoken = 0;

function drawLimits() {
  const box = one("#sliders"), keys = now.sliders.join("|");
  if (box.dataset.keys !== keys) { box.replaceChildren(...now.sliders.map(slider)); box.dataset.keys = keys; moreLimits(); }
  for (const key of now.sliders) settle(key);
  chips();
  const front = data.members.filter(number => mask[placeOf.get(number)]).length, all = data.look.filter(look => look >= 0).length;
  const text = `${inView.toLocaleString("en")} of ${all.toLocaleString("en")} trials in view · ${front} of ${data.members.length} of the front`;
  one("#count").textContent = text;
  // Readers are told when the brush rests, not at each of its steps.
  clearTimeout(spoken);
  spoken = setTimeout(() => { one("#said").textContent = text; }, 700);
}

function sides(column) { return column.goal === "max" ? 0 : 1; }  // which end a budget bounds

function slider(key) {
  const column = byKey.get(key), scale = new Scale(...column.range, column.log, 0, FINE), side = sides(column), sign = side ? "≤" : "≥";
  const range = made("input", { type: "range", min: 0, max: FINE, step: 1 }), box = made("input", { type: "text", inputMode: "decimal", spellcheck: false });
  range.setAttribute("aria-label", `${column.title} ${sign}`);
  box.setAttribute("aria-label", `${column.title} ${sign}, as a number`);
  const put = value => {
    const kept = now.limits.get(key) ?? [-Infinity, Infinity];
    limit(key, side ? kept[0] : value, side ? value : kept[1]);
    changed();
  };
  // At its end a slider limits nothing.
  range.oninput = () => put(Number(range.value) === (side ? FINE : 0) ? (side ? Infinity : -Infinity) : scale.value(Number(range.value)));
  box.onchange = () => { const value = typed(box.value); put(box.value.trim() === "" || Number.isNaN(value) ? (side ? Infinity : -Infinity) : value); };
  const found = made("div", { className: "slider", title: [column.title, column.meaning].filter(Boolean).join(": ") }, made("span", { className: "name" }, `${column.short} ${sign}`), box, made("canvas", { ariaHidden: "true" }), range);
  found.dataset.key = key;
  return found;
}

function settle(key) {
  const column = byKey.get(key), found = [...one("#sliders").children].find(one => one.dataset.key === key), side = sides(column);
  const scale = new Scale(...column.range, column.log, 0, FINE), [low, high] = now.limits.get(key) ?? [-Infinity, Infinity], end = side ? high : low;
  const [box, range] = [found.querySelector("input[type=text]"), found.querySelector("input[type=range]")];
  if (document.activeElement !== box) { box.value = Number.isFinite(end) ? written(column, end) : ""; box.placeholder = "any"; }
  range.value = Number.isFinite(end) ? Math.round(scale.at(Math.max(scale.low, Math.min(scale.high, end)))) : side ? FINE : 0;
  range.setAttribute("aria-valuetext", Number.isFinite(end) ? written(column, end) : "any");
  found.classList.toggle("set", now.limits.has(key));
  histogram(found.querySelector("canvas"), column, scale);
}

function histogram(canvas, column, scale) {
  const bins = 40, all = new Float32Array(bins), kept = new Float32Array(bins), width = canvas.parentElement.clientWidth || 180, high = 26;
  column.bins ??= Int8Array.from(column.values, (value, at) => data.look[at] < 0 || Number.isNaN(value) ? -1 : Math.min(bins - 1, Math.floor(scale.at(value) / FINE * bins)));
  for (let at = 0; at < size; at++) if (column.bins[at] >= 0) {
    all[column.bins[at]]++;
    kept[column.bins[at]] += mask[at];
  }
  const [pen] = sharp(canvas, width, high), most = Math.sqrt(Math.max(...all)) || 1, each = (width - 12) / bins;
  const bars = (of, colour) => { pen.fillStyle = colour; of.forEach((count, n) => { const h = Math.sqrt(count) / most * (high - 2); pen.fillRect(6 + n * each, high - h, each - 1, h); }); };
  bars(all, paint.veil);
  bars(kept, paint.accent);
}

function moreLimits() {
  const others = columns.filter(column => column.kind === "number" && column.different > 1 && column.key !== "trial" && !now.sliders.includes(column.key));
  one("#more").replaceChildren(made("option", { value: "" }, "Add a limit…"), ...others.map(column => made("option", { value: column.key }, column.title)));
}

function chips() {
  const found = [];
  const chip = (text, back) => { const button = made("button", { type: "button", className: "chip" }, text, made("span", { ariaHidden: "true" }, " ×")); button.setAttribute("aria-label", `Remove: ${text}`); button.onclick = back; found.push(button); };
  for (const [key, [low, high]] of now.limits) {
    const column = byKey.get(key);
    const ends = column.kind === "word" ? column.words.filter((_, n) => n >= low && n <= high).join(", ") : null;
    const text = ends !== null ? `${column.title}: ${ends || "none"}` : [Number.isFinite(low) ? `${written(column, low)} ≤ ` : "", column.title, Number.isFinite(high) ? ` ≤ ${written(column, high)}` : ""].join("");
    chip(text, () => { now.limits.delete(key); changed(); });
  }
  for (const site of now.sites) chip(`grew ${data.growth.sites[site]}`, () => { now.sites.delete(site); changed(); });
  for (const look of now.hidden) chip(`hidden: ${data.looks[look].name}`, () => { now.hidden.delete(look); changed(); });
  if (now.find) chip(`“${now.find}”`, () => { now.find = one("#find").value = ""; changed(); });
  one("#chips").replaceChildren(...found);
}

// Where the trials in view grew: one bar a site, and a click keeps those that grew it.
function drawSites() {
  const kept = new Int32Array(data.growth.sites.length), all = new Int32Array(data.growth.sites.length);
  let total = 0;
  for (let at = 0; at < size; at++) if (data.look[at] >= 0) {
    total++;
    for (const site of grownAt[at]) { all[site]++; kept[site] += mask[at]; }
  }
  const strip = one("#sites .strip"), known = data.growth.sites.map((_, site) => site).filter(site => all[site]);
  one("#sites").hidden = !known.length;
  const had = strip.contains(document.activeElement) ? document.activeElement.dataset.site : null;
  strip.replaceChildren(...known.map(site => {
    const share = inView ? kept[site] / inView : 0, before = all[site] / total;
    const bar = made("span", { className: "bar-box" }, made("i", { className: "before" }), made("i", { className: "kept" }));
    bar.children[0].style.height = `${100 * before}%`;
    bar.children[1].style.height = `${100 * share}%`;
    const found = made("button", { type: "button" }, bar, made("b", {}, `${Math.round(100 * share)} %`), made("span", {}, data.growth.sites[site]));
    found.dataset.site = site;
    found.title = `${kept[site]} of ${inView} trials in view grew ${data.growth.sites[site]}; of all, ${all[site]} of ${total}`;
    found.setAttribute("aria-pressed", now.sites.has(site));
    found.onclick = () => { now.sites.has(site) ? now.sites.delete(site) : now.sites.add(site); changed(); };
    return found;
  }));
  if (had !== null) strip.querySelector(`[data-site="${had}"]`)?.focus();
}

