// What to type for a trial, quoted for a shell, and its page in MLflow.

function quoted(text) { return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`; }

// JSON is YAML, which `--set` reads; a word stays a word.
function setting(path, value) {
  const plain = typeof value === "string" && /^[A-Za-z][\w./-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|nan|inf|y|n)$/i.test(value);
  return `--set ${quoted(`${path}=${plain ? value : JSON.stringify(value)}`)}`;
}

function commandsOf(at) {
  const name = quoted(`${data.folder}:${numbers[at]}`), sets = Object.entries(data.details.changes[at]).map(([path, value]) => setting(path, value));
  const found = [["Run it again", ["plastsearch trial", quoted(data.space), ...sets].join(" ")]];
  if (["done", "reused"].includes(data.states[data.state[at]])) {
    found.push(["Score clips with it", `plastsearch score ${name} clips/*.flac`]);
    found.push(["Export it", `plastsearch export ${name} ${quoted(`trial-${numbers[at]}`)}`]);
  }
  return found;
}

// Inside MLflow the page lies in a frame without an origin: the one around it is the server.
function serverOf() {
  const around = window.location.ancestorOrigins?.[0];
  if (around && /^https?:/.test(around)) return around;
  if (/get-artifact/.test(location.href)) return location.href.split(/\/(ajax-api\/[^?]*)?get-artifact/)[0];
  return data.links.server;
}

function mlflowOf(at) {
  const run = data.links?.runs[numbers[at]];
  if (!run) return null;
  const route = `/#/experiments/${data.links.experiment}/runs/${run}`, server = serverOf();
  return { route, address: server ? server + route : null };
}

async function copy(text, button) {
  const said = button.textContent;
  let done = false;
  // A frame without an origin may not use the clipboard, but may copy what is selected.
  try { await navigator.clipboard.writeText(text); done = true; } catch { done = copySelected(text); }
  button.textContent = done ? "Copied" : "Press Ctrl+C";
  one("#said").textContent = done ? "Copied." : "Select the text and press Ctrl+C.";
  setTimeout(() => { button.textContent = said; }, 1500);
}

function copySelected(text) {
  const box = made("textarea", { value: text, readOnly: true, className: "away" }), had = document.activeElement;
  document.body.append(box);
  box.select();
  let done = false;
  try { done = document.execCommand("copy"); } catch { done = false; }
  box.remove();
  had?.focus();
  return done;
}

