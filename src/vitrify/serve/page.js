"use strict";
// The page asks for the table every two seconds, and for the curves of the runs selected. What a record holds reaches
// the document as text only, never as markup.

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00", "#7f7f7f"];
const COLUMNS = [
  ["begun", (r) => (r.values.started || "").slice(0, 16).replace("T", " "), (r) => r.values.started, "optional"],
  ["what", (r) => r.label, (r) => r.label, ""],
  ["status", (r) => r.values.status, (r) => r.values.status, ""],
  ["validation", (r) => r.scores.best_validation_accuracy, (r) => value(r.scores.best_validation_accuracy), "optional"],
  ["test", (r) => r.scores.best_test_accuracy, (r) => value(r.scores.best_test_accuracy), ""],
  ["AUC", (r) => r.scores.best_test_auc, (r) => value(r.scores.best_test_auc), ""],
  ["energy's AUC", (r) => r.scores.energy_test_auc, (r) => value(r.scores.energy_test_auc), "optional"],
  ["wall", (r) => seconds(r.values.wall_s), (r) => r.values.wall_s, "optional"],
];
const $ = (id) => document.getElementById(id);
const state = { runs: [], shown: [], byKey: new Map(), here: null, opened: null, selected: new Map(), curves: new Map(),
  sort: "begun", descending: false, etag: "", rows: new Map(), edited: null };

// ---------------------------------------------------------------- small things

const value = (estimate) => (estimate ? estimate.value : undefined);
const digits = (x) => (typeof x === "number" && !Number.isInteger(x) ? String(Number(x.toPrecision(6))) : String(x));
const text = (x) => (x === null || x === undefined ? "" : typeof x === "object" ? JSON.stringify(x) : digits(x));
function seconds(s) {
  if (s === null || s === undefined) return "";
  return s >= 7200 ? `${(s / 3600).toFixed(1)} h` : s >= 120 ? `${(s / 60).toFixed(1)} min` : `${s.toFixed(1)} s`;
}
function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, given] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key === "role" || key === "scope") element.setAttribute(key, given);
    else element[key] = given;
  }
  element.append(...children);
  return element;
}
function drawn(name, attributes, content) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, given] of Object.entries(attributes)) element.setAttribute(key, given);
  if (content !== undefined) element.textContent = content;
  return element;
}
function say(message) {
  $("error").textContent = message || "";
  $("error").hidden = !message;
}
async function ask(path, options) {
  const answer = await fetch(path, options);
  if (answer.status === 304) return null;
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || answer.statusText);
  return { found, etag: answer.headers.get("etag") || "" };
}
const address = (key) => key.split("/").map(encodeURIComponent).join("/");

// ---------------------------------------------------------------- the table

function names() {
  const known = new Set();
  for (const run of state.runs) for (const name in run.values) known.add(name);
  return [...known].sort();
}
function stands(name, known) {
  return known.includes(name) ? [name] : known.filter((full) => full.endsWith("." + name));
}
function passes(words, known) {
  const tests = words.map((word) => {
    const parts = word.match(/^([^!<>=~]+)(!=|<=|>=|=|<|>|~)(.*)$/);
    if (!parts) return (run) => run.text.includes(word.toLowerCase());
    const [, name, sign, wanted] = parts;
    const full = stands(name, known);
    const number = wanted === "" ? NaN : Number(wanted);
    return (run) => full.some((one) => holds(run.values[one], sign, wanted, number));
  });
  return (run) => tests.every((test) => test(run));
}
function holds(found, sign, wanted, number) {
  const numbers = typeof found === "number" && !Number.isNaN(number);
  const left = numbers ? found : text(found).toLowerCase();
  const right = numbers ? number : wanted.toLowerCase();
  if (sign === "=") return left === right;
  if (sign === "!=") return left !== right;
  if (sign === "~") return text(found).toLowerCase().includes(wanted.toLowerCase());
  if (found === undefined || found === null || (!numbers && !Number.isNaN(number))) return false;
  return sign === "<" ? left < right : sign === ">" ? left > right : sign === "<=" ? left <= right : left >= right;
}
function sorted(runs) {
  const column = COLUMNS.find(([name]) => name === state.sort);
  const of = column ? column[2] : (run) => run.values[state.sort];
  const empty = (x) => x === undefined || x === null || x === "";
  const sign = state.descending ? -1 : 1;
  return [...runs].sort((a, b) => {
    const [x, y] = [of(a), of(b)];
    if (empty(x) || empty(y)) return empty(x) - empty(y);
    if (typeof x === "number" && typeof y === "number") return sign * (x - y);
    return sign * String(x).localeCompare(String(y), "en", { numeric: true });
  });
}
function cell(content, kind) {
  if (content && typeof content === "object") {
    const interval = make("span", { className: "interval" }, ` [${content.low.toFixed(2)}, ${content.high.toFixed(2)}]`);
    return make("td", { className: `number ${kind}` }, content.value.toFixed(3), interval);
  }
  return make("td", { className: kind }, content || "");
}
function row(run) {
  const element = make("tr", { role: "row" });
  element.dataset.key = run.values.key;
  for (const [name, shown, , kind] of COLUMNS) {
    const content = cell(shown(run), kind);
    if (name === "what") content.prepend(make("span", { className: "dot" }));
    if (name === "status") content.className = `status-${run.values.status}`;
    if (name === "what" && run.notes.some((note) => note.text)) content.append(make("span", { title: "has notes" }, " ✎"));
    content.setAttribute("role", "gridcell");
    element.append(content);
  }
  return element;
}
function filter() {
  const words = $("filter").value.split(/\s+/).filter(Boolean);
  state.shown = sorted(state.runs.filter(passes(words, names())));
  const body = document.createDocumentFragment();
  const rows = new Map();
  for (const run of state.shown) {
    const held = state.rows.get(run.values.key);
    const element = held && held.json === run.json ? held.element : row(run);
    rows.set(run.values.key, { element, json: run.json });
    body.append(element);
  }
  for (const [key, kept] of state.rows) if (!rows.has(key) && state.byKey.has(key)) rows.set(key, kept);
  state.rows = rows;
  $("runs").tBodies[0].replaceChildren(body);
  $("empty").hidden = state.shown.length > 0;
  const running = state.runs.filter((run) => run.values.status === "running").length;
  $("count").textContent = `${state.shown.length} of ${state.runs.length} runs shown, ${running} running`;
  mark();
  plotProgress();
}
function mark() {
  for (const [key, { element }] of state.rows) {
    const colour = state.selected.get(key);
    element.setAttribute("aria-selected", colour ? "true" : "false");
    element.classList.toggle("here", key === state.here);
    element.querySelector(".dot").style.background = colour || "transparent";
    element.id = key === state.here ? "here" : "";
  }
  $("runs").setAttribute("aria-activedescendant", "here");
  $("compare").disabled = state.selected.size < 2;
}
function headings() {
  const cells = COLUMNS.map(([name, , , kind]) => {
    const button = make("button", { type: "button", onclick: () => sortBy(name) }, name);
    const at = state.sort === name;
    if (at) button.append(state.descending ? " ▼" : " ▲");
    return make("th", { className: kind, scope: "col", "aria-sort": at ? (state.descending ? "descending" : "ascending") : "none" }, button);
  });
  $("runs").tHead.rows[0].replaceChildren(...cells);
}
function sortBy(name) {
  state.descending = state.sort === name ? !state.descending : name !== "begun" && name !== "what";
  state.sort = name;
  $("sort").value = name;
  headings();
  filter();
}
function choices() {
  const all = [...COLUMNS.map(([name]) => name), ...names()];
  if ($("sort").length === all.length) return;
  $("sort").replaceChildren(...all.map((name) => make("option", { value: name }, `sort: ${name}`)));
  $("sort").value = state.sort;
}
async function refresh() {
  const answer = await ask("/api/runs", { headers: state.etag ? { "If-None-Match": state.etag } : {}, cache: "no-store" });
  if (!answer) return;
  state.etag = answer.etag;
  const { shared, rows } = answer.found;
  const one = "where" in shared;
  state.runs = rows.map((run) => {
    const json = JSON.stringify(run);
    const values = { ...shared, ...run.values };
    const label = (one || values.where === "." ? "" : `${values.where}: `) + run.title;
    const notes = run.notes.map((note) => note.text).join(" ");
    return { ...run, values, json, label, text: `${values.key} ${values.kind} ${values.name} ${label} ${values.study} ${values.status} ${notes}`.toLowerCase() };
  });
  state.byKey = new Map(state.runs.map((run) => [run.values.key, run]));
  choices();
  filter();
}

// ---------------------------------------------------------------- curves

function ticks(low, high) {
  const rough = (high - low || 1) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((one) => one * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(6)));
  return found;
}
function axes(limits, labels, reference) {
  const [width, height, left, bottom, top, right] = [560, 250, 46, 38, 12, 12];
  const [x0, x1, y0, y1] = limits;
  const X = (x) => left + ((x - x0) / (x1 - x0 || 1)) * (width - left - right);
  const Y = (y) => height - bottom - ((y - y0) / (y1 - y0 || 1)) * (height - bottom - top);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${labels[1]} against ${labels[0]}` });
  for (const y of ticks(y0, y1)) {
    svg.append(drawn("line", { class: "grid", x1: left, x2: width - right, y1: Y(y), y2: Y(y) }));
    svg.append(drawn("text", { x: left - 6, y: Y(y) + 4, "text-anchor": "end" }, digits(y)));
  }
  for (const x of ticks(x0, x1)) svg.append(drawn("text", { x: X(x), y: height - bottom + 15, "text-anchor": "middle" }, digits(x)));
  svg.append(drawn("path", { class: "axis", d: `M${left} ${top}V${height - bottom}H${width - right}` }));
  if (reference !== undefined) svg.append(drawn("line", { class: "axis", "stroke-dasharray": "3 4", x1: left, x2: width - right, y1: Y(reference), y2: Y(reference) }));
  svg.append(drawn("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, labels[0]));
  svg.append(drawn("text", { x: 12, y: (height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(height - bottom) / 2})` }, labels[1]));
  return { svg, X, Y };
}
function legend(figure, entries) {
  figure.querySelector(".legend").replaceChildren(...entries.map(([colour, words]) => {
    const dot = make("span", { className: "dot" });
    dot.style.background = colour;
    return make("li", {}, dot, words);
  }));
}
function plotCurves() {
  const lines = [...state.selected].map(([key, colour]) => [key, colour, state.curves.get(key)])
    .filter(([, , curve]) => curve && curve.step && curve.step.length);
  $("curves").hidden = lines.length === 0;
  if (!lines.length) return;
  const all = lines.flatMap(([, , curve]) => curve.validation_accuracy);
  const last = Math.max(...lines.flatMap(([, , curve]) => curve.step));
  const lowest = Math.min(0.5, Math.floor(Math.min(...all) * 10) / 10);
  const { svg, X, Y } = axes([0, last, lowest, 1], ["optimiser step", "validation accuracy"], 0.5);
  for (const [, colour, curve] of lines) {
    const points = curve.step.map((step, i) => `${X(step)},${Y(curve.validation_accuracy[i])}`);
    svg.append(drawn("polyline", { points: points.join(" "), fill: "none", stroke: colour, "stroke-width": 2 }));
    for (const point of points) {
      const [cx, cy] = point.split(",");
      svg.append(drawn("circle", { cx, cy, r: 2.6, fill: colour }));
    }
  }
  $("curves").querySelector(".plot").replaceChildren(svg);
  $("curves").dataset.points = lines.map(([, , curve]) => curve.step.length).join(" ");
  legend($("curves"), lines.map(([key, colour, curve]) => [colour, `${state.byKey.get(key).label}, ${curve.step.length} evaluations`]));
}
function plotProgress() {
  const series = new Map();
  const add = (name, point) => series.set(name, [...(series.get(name) || []), point]);
  for (const run of state.shown) {
    const { model, input, control, train_T: T } = run.values;
    if (run.values.kind !== "train" || control) continue;
    const own = run.scores.best_test_accuracy;
    if (own && typeof T === "number") add(`${model}, ${input}`, [T, own]);
    if (typeof T === "number") for (const one of run.transfer) if (typeof one.T === "number") add(`${model}, ${input}, applied elsewhere`, [one.T, one.accuracy]);
  }
  const names = [...series.keys()].sort();
  const kinds = [...new Set(names.map((name) => name.replace(", applied elsewhere", "")))];
  const colourOf = (name) => COLOURS[kinds.indexOf(name.replace(", applied elsewhere", "")) % COLOURS.length];
  $("progress").hidden = names.length === 0;
  if (!names.length) return;
  const hottest = Math.max(...[...series.values()].flat().map(([T]) => T));
  const lowest = Math.min(0.4, ...[...series.values()].flat().map(([, a]) => Math.floor(a.value * 10) / 10));
  const { svg, X, Y } = axes([0, Math.ceil(hottest * 10) / 10, lowest, 1], ["temperature of the liquid, T (ε/k)", "test accuracy"], 0.5);
  for (const name of names) {
    const colour = colourOf(name);
    const there = !name.endsWith("elsewhere");
    const points = series.get(name).sort((a, b) => a[0] - b[0]);
    svg.append(drawn("polyline", { points: points.map(([T, a]) => `${X(T)},${Y(a.value)}`).join(" "), fill: "none", stroke: colour, "stroke-width": 1, "stroke-dasharray": there ? "none" : "4 3" }));
    for (const [T, a] of points) {
      svg.append(drawn("line", { x1: X(T), x2: X(T), y1: Y(Math.max(a.low, lowest)), y2: Y(a.high), stroke: colour, opacity: 0.35 }));
      svg.append(drawn("circle", { cx: X(T), cy: Y(a.value), r: 3, fill: there ? colour : "none", stroke: colour }));
    }
  }
  $("progress").querySelector(".plot").replaceChildren(svg);
  legend($("progress"), kinds.map((name) => [colourOf(name), name]));
}
async function fetchCurve(key) {
  const answer = await ask(`/api/runs/${address(key)}`);
  if (answer) state.curves.set(key, answer.found.history);
}
async function follow() {
  for (const key of state.selected.keys()) {
    const run = state.byKey.get(key);
    if (run && (!state.curves.has(key) || run.values.status === "running" || run.followed !== run.json)) {
      await fetchCurve(key);
      run.followed = run.json;
    }
  }
  plotCurves();
}
function select(key) {
  if (state.selected.has(key)) state.selected.delete(key);
  else {
    const used = new Set(state.selected.values());
    state.selected.set(key, COLOURS.find((colour) => !used.has(colour)) || COLOURS[state.selected.size % COLOURS.length]);
  }
  mark();
  follow().catch((error) => say(error.message));
}

// ---------------------------------------------------------------- one run, and some beside each other

function table(head, rows) {
  const body = make("tbody");
  for (const { name, cells, differs } of rows) {
    body.append(make("tr", { className: differs ? "differs" : "" }, make("th", { scope: "row" }, name), ...cells.map((one) => make("td", {}, one))));
  }
  const heading = make("tr", {}, ...["", ...head].map((one) => make("th", { scope: "col" }, one)));
  return make("table", {}, ...(head.length ? [make("thead", {}, heading)] : []), body);
}
async function open(key) {
  const answer = await ask(`/api/runs/${address(key)}`);
  const { record, values } = answer.found;
  state.opened = key;
  state.edited = null;
  const parts = [make("h2", {}, `${values.name}`), make("p", { className: "quiet" }, `${values.key}, ${values.kind}, ${values.status}${record.why ? `: ${record.why}` : ""}, begun ${values.started || ""}`)];
  parts.push(make("h3", {}, "Notes"), notes(record));
  if (record.sentences) parts.push(make("h3", {}, "What the numbers support"), make("ul", {}, ...record.sentences.map((one) => make("li", {}, one))));
  (record.figures || []).forEach((name, number) => parts.push(make("img", { src: `/figure/${number}/${address(key)}`, alt: name, loading: "lazy" })));
  if (record.lineage && record.lineage.length) parts.push(make("p", {}, `Lineage: ${[...record.lineage, record.name].join(" > ")}`));
  const known = Object.entries(values).filter(([, one]) => one !== null && one !== undefined);
  parts.push(make("h3", {}, "Settings and scores"), make("div", { className: "table" }, table([], known.map(([name, one]) => ({ name, cells: [text(one)] })))));
  $("detail").replaceChildren(...parts);
  $("detail").hidden = false;
}
function notes(record) {
  const place = make("div", { id: "notes" });
  record.notes.forEach((note, number) => {
    if (!note.text) return;
    const button = make("button", { type: "button", "aria-label": "Edit this note", onclick: () => edit(place, record, note.text, number) }, "edit");
    place.append(make("div", { className: "note", title: note.at || "" }, button, make("span", {}, note.text)));
  });
  place.append(make("button", { type: "button", id: "write", onclick: () => edit(place, record, "", null) }, "Write a note"));
  return place;
}
function edit(place, record, before, number) {
  const area = make("textarea", { value: before, "aria-label": "Note" });
  const end = () => { state.edited = null; open(record.key).then(() => $("runs").focus()).catch((error) => say(error.message)); };
  const save = async () => {
    const headers = { "Content-Type": "application/json", "X-Vitrify-Token": document.querySelector("meta[name=vitrify-token]").content };
    const body = JSON.stringify({ text: area.value, ...(number === null ? {} : { replaces: number }) });
    await ask(`/api/notes/${address(record.key)}`, { method: "POST", headers, body });
    say("");
    end();
    refresh();
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save().catch((error) => say(error.message));
    if (event.key === "Escape") end();
    event.stopPropagation();
  });
  const buttons = make("p", { className: "buttons" },
    make("button", { type: "button", onclick: () => save().catch((error) => say(error.message)) }, "Save (Ctrl-Return)"),
    make("button", { type: "button", onclick: end }, "Cancel (Esc)"));
  state.edited = record.key;
  place.replaceChildren(area, buttons);
  area.focus();
}
function compare() {
  const runs = [...state.selected.keys()].map((key) => state.byKey.get(key)).filter(Boolean);
  if (runs.length < 2) return;
  const own = new Set(["id", "key", "name", "started", "finished"]);
  const known = [...new Set(runs.flatMap((run) => Object.keys(run.values)))].filter((name) => !own.has(name));
  const rows = known.map((name) => {
    const cells = runs.map((run) => text(run.values[name]).slice(0, name === "data" ? 12 : undefined));
    return { name, cells, differs: cells.some((one) => one !== cells[0]) };
  });
  rows.sort((a, b) => b.differs - a.differs);
  const estimates = Object.keys(runs[0].scores).map((name) => ({ name: name.replaceAll("_", " "), cells: runs.map((run) => {
    const one = run.scores[name];
    return one ? `${one.value.toFixed(3)} [${one.low.toFixed(3)}, ${one.high.toFixed(3)}]` : "";
  }) })).filter(({ cells }) => cells.some(Boolean));
  const estimated = new Set(Object.keys(runs[0].scores));
  $("beside").querySelector(".table").replaceChildren(table(runs.map((run) => `${run.label} (${run.values.key})`), [...estimates, ...rows.filter(({ name }) => !estimated.has(name))]));
  $("beside").showModal();
}

// ---------------------------------------------------------------- keys, pointer, theme

function move(by) {
  if (!state.shown.length) return;
  const at = state.shown.findIndex((run) => run.values.key === state.here);
  const next = Math.min(Math.max(at < 0 ? 0 : at + by, 0), state.shown.length - 1);
  state.here = state.shown[next].values.key;
  mark();
  state.rows.get(state.here).element.scrollIntoView({ block: "nearest" });
}
function theme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("vitrify-theme", document.documentElement.dataset.theme); } catch { /* without storage it lasts as long as the page */ }
}
const KEYS = {
  ArrowDown: () => move(1), j: () => move(1), ArrowUp: () => move(-1), k: () => move(-1),
  PageDown: () => move(20), PageUp: () => move(-20), Home: () => move(-Infinity), End: () => move(Infinity),
  " ": () => state.here && select(state.here), Enter: () => state.here && open(state.here).catch((error) => say(error.message)),
  c: compare, t: theme, x: () => { state.selected.clear(); mark(); plotCurves(); }, "/": () => $("filter").focus(), "?": () => $("keys").showModal(),
  n: async () => { if (state.here) { await open(state.here); $("write").click(); } },
  Escape: () => { $("detail").hidden = true; state.opened = null; },
};
document.addEventListener("keydown", (event) => {
  const on = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (on.matches("input, select, textarea")) {
    if (event.key === "Escape" || (on.id === "filter" && event.key === "Enter")) { $("runs").focus(); move(0); }
    return;
  }
  if (on.matches("button") && (event.key === " " || event.key === "Enter")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  if (!on.matches("button")) $("runs").focus({ preventScroll: true });
  act();
});
$("runs").tBodies[0].addEventListener("click", (event) => {
  const key = event.target.closest("tr").dataset.key;
  state.here = key;
  select(key);
});
$("runs").tBodies[0].addEventListener("dblclick", (event) => open(event.target.closest("tr").dataset.key).catch((error) => say(error.message)));
$("filter").addEventListener("input", filter);
$("sort").addEventListener("change", () => sortBy($("sort").value));
$("compare").addEventListener("click", compare);
$("theme").addEventListener("click", theme);
$("help").addEventListener("click", () => $("keys").showModal());

async function poll() {
  try {
    await refresh();
    await follow();
    say("");
  } catch (error) {
    say(`The server does not answer (${error.message}): start vitrify serve again; nothing is lost.`);
  }
  setTimeout(poll, 2000);
}
try { const kept = localStorage.getItem("vitrify-theme"); if (kept) document.documentElement.dataset.theme = kept; } catch { /* as the system says */ }
headings();
poll();
