// Numbers as the report writes them, scales, and the ticks of axes.

function written(column, value) {
  if (value == null || Number.isNaN(value)) return "–";
  if (column.kind === "word") return column.words[value];
  if (column.form === "count") return Math.round(value).toLocaleString("en");
  if (column.form === "percent") return value.toFixed(2);
  if (column.form === "ratio") return value.toFixed(3);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return value.toLocaleString("en");
  return Math.abs(value) < 1000 ? String(Number(value.toPrecision(3))) : Math.round(value).toLocaleString("en");
}

function brief(value) {
  const [size, letter] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([one]) => Math.abs(value) >= one * 0.9999) ?? [1, ""];
  return Number((value / size).toPrecision(3)) + letter;
}

// What a person types as a budget: 170k, 1.2M, 1e6, 12.5.
function typed(text) {
  const found = /^\s*([-+]?[\d.,]+(?:e[-+]?\d+)?)\s*([kMG]?)\s*%?\s*$/i.exec(text);
  return found ? Number(found[1].replace(/,/g, "")) * ({ k: 1e3, m: 1e6, g: 1e9 }[found[2].toLowerCase()] ?? 1) : NaN;
}

class Scale {
  constructor(low, high, log, from, to) {
    const middle = low === high ? Math.abs(low) * 0.05 || 0.5 : 0;
    this.log = log && low > 0;
    this.low = low - middle; this.high = high + middle;
    this.from = from; this.to = to;
    this.start = this.log ? Math.log(this.low) : this.low;
    this.span = (this.log ? Math.log(this.high) : this.high) - this.start;
  }
  at(value) { return this.from + ((this.log ? Math.log(value) : value) - this.start) / this.span * (this.to - this.from); }
  value(place) {
    const found = this.start + (place - this.from) / (this.to - this.from) * this.span;
    return this.log ? Math.exp(found) : found;
  }
  ticks(most, whole = false) {
    const inside = value => value >= this.low && value <= this.high;
    if (this.log) {
      const tens = [];
      for (let n = Math.floor(Math.log10(this.low)); n <= Math.log10(this.high); n++) tens.push(n);
      const of = steps => tens.flatMap(n => steps.map(one => Number((one * 10 ** n).toPrecision(3)))).filter(inside);
      const fits = [[1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]].map(of).find(found => found.length <= most);
      if (fits && fits.length > 1) return fits;
    }
    const rough = Math.max((this.high - this.low) / most, whole ? 1 : 0), ten = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find(one => one * ten >= rough) * ten, found = [];
    for (let value = Math.ceil(this.low / step) * step; value <= this.high; value += step) found.push(Number(value.toPrecision(10)));
    return found;
  }
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  return [low, high];
}

// Room around the outermost points.
function padded([low, high], log) {
  if (low === high) return [low, high];
  if (log && low > 0) { const by = (high / low) ** 0.05; return [low / by, high * by]; }
  return [low - 0.05 * (high - low), high + 0.05 * (high - low)];
}

