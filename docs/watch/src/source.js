import { equationHtml } from "rendered";
import { equations, find } from "./equations.js";
import { escape, fmt } from "./format.js";

const KEYWORDS = new Set("def return for in if else elif with while and or not is None True False class lambda import from".split(" "));
const TOKEN = /(#.*$)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([A-Za-z_]\w*)|(\d[\w.]*)|(.)/gm;

/** The source with the current statement, its equation, and the arrays of the current frame. */
export class Source {
  constructor(parts, recording) {
    Object.assign(this, parts); // code, equation, say, arrays, entry, where, pop
    Object.assign(this, { built: new Map(), marked: [], top: 0, restOpen: false });
    this.code.addEventListener("scroll", () => (this.top = this.code.scrollTop), { passive: true });
    addEventListener("resize", () => {
      this.height = undefined;
      for (const { offsets } of this.built.values()) offsets.clear();
    });
    this.arrays.addEventListener("toggle", (e) => {
      if (!e.target.matches(".rest") || e.target.open === this.restOpen) return;
      this.restOpen = e.target.open;
      this.showArrays();
    }, true);
    this.functions = new Map(recording.functions.map((f) => [f.name, f]));
    this.code.addEventListener("pointerover", (e) => this.hover(e));
    this.code.addEventListener("click", (e) => this.hover(e));
    this.code.addEventListener("pointerleave", () => (this.pop.hidden = true));
    for (const kind of ["pointerover", "focusin", "click"]) this.arrays.addEventListener(kind, (e) => this.showEntry(e));
  }

  render({ run, k }) {
    const event = run.events[k];
    const stack = run.stack(k);
    this.frame = stack.at(-1);
    this.before = k > 0 && event.depth === run.events[k - 1].depth && run.events[k - 1].fn === event.fn ? run.stack(k - 1).at(-1) : this.frameBefore(run, k);
    this.run = run;
    this.event = event;
    this.index = find(event.fn, event.inner, event.text);
    if (this.shown !== event.fn) this.show(event.fn);
    for (const line of this.marked) line.classList.remove("now", "back");
    this.marked = [];
    for (let n = event.first; n <= event.last; n++) {
      const line = this.lines.get(n);
      if (!line) continue;
      line.classList.add("now");
      line.classList.toggle("back", event.back);
      this.marked.push(line);
    }
    this.scroll();
    const file = this.functions.get(event.fn).file;
    this.where.innerHTML = `<span class="file">${file}</span> ${stack.map((f) => `<span>${f.fn.split(".").at(-1) === "step" || f.fn.includes("step_") || f.fn.includes("local") ? f.fn : f.fn.split(".").at(-1)}${f.inner ? "." + f.inner : ""}</span>`).join(" › ")}`;
    const names = new Set(Object.keys(this.frame.values).map((n) => n.replace(/\[.*/, "")));
    for (const [token, name] of this.tokens) token.classList.toggle("has", names.has(name));
    const found = equations[this.index]?.[3];
    this.equation.innerHTML = this.index >= 0 ? equationHtml[this.index] : "";
    this.equation.classList.toggle("back", event.back);
    this.say.textContent = found?.say ?? (event.text.startsWith("def ") ? "A function begins: its arguments." : "Bookkeeping: shapes and names.");
    this.showArrays();
  }

  frameBefore(run, k) {
    for (let i = k - 1; i >= 0; i--) {
      const e = run.events[i];
      if (e.depth < this.frame.event.depth) break;
      if (e.depth === this.frame.event.depth && e.fn === this.frame.event.fn) return run.stack(i).at(-1);
    }
    return this.frame;
  }

  /** Bring the current statement into view; offsets are measured once for each function. */
  scroll() {
    const [first] = this.marked;
    if (!first) return;
    const height = (this.height ??= this.code.clientHeight);
    if (!this.offsets.has(first)) for (const line of this.lines.values()) this.offsets.set(line, [line.offsetTop, line.offsetHeight]);
    const [top, size] = this.offsets.get(first);
    if (top < this.top + 8 || top + size > this.top + height - 8) this.code.scrollTop = this.top = Math.max(0, top - height / 2 + 20);
  }

  show(name) {
    this.shown = name;
    if (!this.built.has(name)) this.built.set(name, this.build(name));
    Object.assign(this, this.built.get(name));
    this.code.replaceChildren(...this.lines.values());
    this.code.scrollTop = this.top = 0;
  }

  build(name) {
    const f = this.functions.get(name);
    const lines = new Map();
    const indent = Math.min(...f.lines.filter((l) => l.trim()).map((l) => l.length - l.trimStart().length));
    f.lines.forEach((text, i) => {
      const number = f.first + i;
      const [from, to] = f.docstring ?? [0, -1];
      if (number > from && number <= to) return;
      const line = document.createElement("div");
      line.className = "line";
      const body = number === from ? '<span class="s">"""…"""</span>' : highlight(text.slice(indent));
      const lead = number === from ? " ".repeat(4) : "";
      line.innerHTML = `<span class="n">${number}</span><span class="t">${lead}${body || " "}</span>`;
      lines.set(number, line);
    });
    const tokens = [...lines.values()].flatMap((line) => [...line.querySelectorAll(".v")].map((v) => [v, v.dataset.name]));
    return { lines, tokens, offsets: new Map() };
  }

  /** The arrays behind a name: itself, or the elements of a short list. */
  values(name) {
    return Object.entries(this.frame?.values ?? {}).filter(([n]) => n === name || n.startsWith(name + "["));
  }

  hover(e) {
    const token = e.target.closest?.(".v.has");
    this.pop.hidden = !token;
    if (!token) return;
    this.pop.innerHTML = this.values(token.dataset.name).map(([n, a]) => `<b>${n}</b> <span class="shape">${shapeText(a)}</span>${table(a, [])}`).join("");
    const box = token.getBoundingClientRect();
    this.pop.style.left = `${Math.max(6, Math.min(box.left, innerWidth - this.pop.offsetWidth - 8))}px`;
    const below = box.bottom + 6 + this.pop.offsetHeight < innerHeight;
    this.pop.style.top = `${below ? box.bottom + 6 : Math.max(4, box.top - this.pop.offsetHeight - 6)}px`;
  }

  showArrays() {
    const changed = new Map(this.event.changes);
    const all = Object.entries(this.frame.values);
    // An array and its views change together: show those of the equation first, and each value once.
    const wanted = equations[this.index]?.[3].entry?.of ?? [];
    const first = all.filter(([n]) => changed.has(n)).sort(([a], [b]) => order(a, wanted) - order(b, wanted));
    const seen = [];
    const shown = first.filter(([, a]) => !seen.includes(a.data.join()) && seen.push(a.data.join()));
    const rest = all.filter(([n]) => !changed.has(n));
    this.arrays.innerHTML =
      shown.map(([n, a]) => this.array(n, a, true)).join("") +
      (rest.length ? `<details class="rest" ${this.restOpen ? "open" : ""}><summary>${rest.length} ${shown.length ? "more" : "arrays"} in this function</summary>${this.restOpen ? rest.map(([n, a]) => this.array(n, a, false)).join("") : ""}</details>` : "");
    this.entry.innerHTML = shown.some(([n]) => wanted.includes(n)) ? `<span class="hint">Choose an entry to see how it comes about.</span>` : "";
  }

  array(name, a, changed) {
    const old = this.before?.values[name];
    const fresh = changed ? a.data.map((v, i) => !old || !(old.data[i] === v || (Number.isNaN(v) && Number.isNaN(old.data[i])))) : [];
    return `<div class="array ${changed ? "changed" : ""} ${this.event.back ? "back" : ""}" data-name="${name}"><b>${name}</b> <span class="shape">${shapeText(a)}</span>${table(a, fresh, changed)}</div>`;
  }

  showEntry(e) {
    const cell = e.target.closest?.("td");
    if (!cell) return;
    const name = cell.closest(".array").dataset.name;
    const text = this.explain(name, +cell.dataset.i);
    if (text) this.entry.innerHTML = text;
    else this.entry.innerHTML = `<code>${name}</code> = ${fmt(this.frame.values[name].data[+cell.dataset.i], 4)}`;
  }

  /** How an entry of a changed array comes about, with the numbers. */
  explain(name, i) {
    const entry = equations[this.index]?.[3].entry;
    const result = this.frame.values[name];
    if (!entry || !entry.of.includes(name) || !this.event.changes.some(([n]) => n === name)) return null;
    const before = this.before.values;
    const { data } = result;
    if (entry.first && i >= entry.first) return null;
    if (entry.last && i < data.length - entry.last) return null;
    const operand = (n) => {
      const a = n === "*" ? before[name] : (before[n] ?? this.frame.values[n]);
      return a ? a.data[(entry.last ? i - (data.length - entry.last) + (a.data.length > entry.last && n === "dzx" ? a.data.length - entry.last : 0) : i) % a.data.length] : NaN;
    };
    const number = (v) => `<span class="operand">${fmt(v)}</span>`;
    let right = "";
    if (entry.from) right = entry.from.replace(/\{([^}]+)\}/g, (_, n) => number(operand(n)));
    if (entry.plusRow) {
      const rows = before[entry.plusRow].data;
      right = `${number(before[name].data[i])} + ${number(rows[this.event.t * data.length + i])}`;
    }
    if (entry.row) {
      const [W, v] = [before[entry.row], before[entry.times]];
      const n = W.shape.at(-1);
      const start = this.event.t * n;
      const terms = Array.from({ length: n }, (_, j) => `${number(W.data[i * n + j])}·${number(v.data[start + j])}`);
      right = (["dh", "dstate[0]"].includes(name) && before[name] && before[name].data[i] !== 0 ? `${number(before[name].data[i])} + ` : "") + terms.slice(0, 6).join(" + ") + (n > 6 ? " + …" : "");
    }
    if (entry.dot) {
      const [A, B] = entry.dot.map((n) => before[n]);
      const n = A.shape.at(-1);
      const columns = B.data.length / n;
      const [r, c] = [Math.floor(i / columns), i % columns];
      right = Array.from({ length: n }, (_, j) => `${number(A.data[r * n + j])}·${number(B.data[c * n + j])}`).join(" + ");
    }
    return `<b>${fmt(data[i])}</b> = ${right}`;
  }
}

const order = (name, wanted) => (wanted.includes(name) ? wanted.indexOf(name) : 99);
const shapeText = (a) => (a.shape.length ? a.shape.join(" × ") : "number");

/** An array as a table: the first axis down, the others across; a column vector lies down. */
function table(a, fresh, focus = false) {
  const { shape, data } = a;
  if (!data.length) return "";
  let rows = shape.length > 1 ? shape[0] : 1;
  if (shape.length && data.length === shape[0] && shape.length < 3) rows = 1;
  const columns = data.length / rows;
  const most = Math.max(...data.map((v) => Math.abs(v) || 0), 1e-12);
  let html = '<div class="wrap"><table>';
  for (let r = 0; r < rows; r++) {
    html += "<tr>";
    for (let c = 0; c < columns; c++) {
      const i = r * columns + c;
      const v = data[i];
      const share = Number.isNaN(v) ? 0 : Math.abs(v) / most;
      html += `<td data-i="${i}" class="${fresh[i] ? "fresh" : ""} ${v < 0 ? "neg" : ""}" style="--s:${share.toFixed(2)}" ${focus ? 'tabindex="0"' : ""}>${fmt(v)}</td>`;
    }
    html += "</tr>";
  }
  return html + "</table></div>";
}

function highlight(text) {
  return text.replace(TOKEN, (all, comment, string, word, number) => {
    if (comment) return `<span class="c">${escape(comment)}</span>`;
    if (string) return `<span class="s">${escape(string)}</span>`;
    if (word) return KEYWORDS.has(word) ? `<span class="k">${word}</span>` : `<span class="v" data-name="${word}">${word}</span>`;
    if (number) return `<span class="d">${number}</span>`;
    return escape(all);
  });
}
