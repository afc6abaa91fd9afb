import { line } from "d3-shape";
import { fmt } from "./format.js";
import { put, widthOf } from "./svg.js";
import { getNet } from "./recording.js";

export const CELLS = {
  RNN_TANH: { name: "tanh", css: "c-tanh", marker: "circle" },
  RNN_RELU: { name: "ReLU", css: "c-relu", marker: "square" },
  LSTM: { name: "LSTM", css: "c-lstm", marker: "diamond" },
  GRU: { name: "GRU", css: "c-gru", marker: "triangle" },
};
const MARKERS = {
  circle: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
  square: "M-3.7-3.7h7.4v7.4h-7.4Z",
  diamond: "M0-5L5 0L0 5L-5 0Z",
  triangle: "M0-5L4.8 3.8H-4.8Z",
  open: "M0-5L5 0L0 5L-5 0Z",
};

/** The lines of the chart: every cell's dh_T/dh_t, and the LSTM's path through the forget gate. */
export function lines(recording, scale, long) {
  const key = long ? "far" : "reach";
  const found = recording.cells.map((cell) => ({ ...CELLS[cell], cell, values: getNet(cell, scale).array(getNet(cell, scale).part[key].h).data }));
  const lstm = getNet("LSTM", scale);
  found.push({ name: "LSTM, c", css: "c-lstm memory", marker: "open", cell: "LSTM c", values: lstm.array(lstm.part[key].c).data });
  return found;
}

/** How far gradients reach: the norm of dh_T/dh_t on a logarithmic axis. */
export class Reach {
  constructor({ svg, title, numbers }) {
    Object.assign(this, { svg, title, numbers });
  }

  render({ recording, cell, scale, long }) {
    const data = lines(recording, scale, long);
    const steps = data[0].values.length;
    const width = Math.max(widthOf(this.svg.parentElement) - 2, 290);
    const narrow = width < 560;
    const height = narrow ? 330 : 500;
    const [left, right, top, bottom] = [narrow ? 70 : 112, narrow ? 40 : 54, 16, 46];
    const [low, high] = long ? [-10, 10] : [-4, 2];
    const x = (t) => left + ((width - left - right) * t) / (steps - 1);
    const y = (v) => top + ((height - top - bottom) * (high - Math.min(Math.max(Math.log10(Math.max(v, 1e-300)), low), high))) / (high - low);
    const items = [];
    const each = long ? 5 : 1;
    for (let e = low; e <= high; e += each) {
      items.push({ key: `gy${e}`, tag: "path", class: `grid ${e === 0 ? "one" : ""}`, d: `M${left} ${y(10 ** e)}H${width - right}` });
      items.push({ key: `gl${e}`, tag: "text", class: "tiny", x: width - right + 8, y: y(10 ** e) + 4, text: e === 0 ? "1" : e === 1 ? "10" : e === 2 ? "100" : e >= -3 && e < 0 ? String(10 ** e) : `10${sup(e)}` });
    }
    const every = steps > 12 ? 4 : 1;
    for (let t = 0; t < steps; t++) {
      if ((steps - 1 - t) % every) continue;
      items.push({ key: `x${t}`, tag: "text", class: "tiny", x: x(t), y: height - bottom + 18, "text-anchor": "middle", text: narrow || long ? `h${down(t)}` : `h${down(t)} “${recording.sentence[t]}”` });
    }
    items.push({ key: "xt", tag: "text", class: "tiny", x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle", text: `← back in time, from h${down(steps - 1)}` });
    const path = line((v, t) => x(t), (v) => y(v)).defined((v) => v > 0);
    const ends = data.map((d) => ({ d, y: y(d.values[0]), zero: d.values[0] <= 0 })).sort((a, b) => a.y - b.y);
    for (let i = 1; i < ends.length; i++) ends[i].y = Math.max(ends[i].y, ends[i - 1].y + 14);
    const over = Math.max(0, (ends.at(-1)?.y ?? 0) - (height - bottom));
    if (over) for (let i = ends.length - 1; i >= 0; i--) ends[i].y = Math.min(ends[i].y, height - bottom - (ends.length - 1 - i) * 14);
    for (const d of data) {
      const chosen = d.cell === cell || (cell === "LSTM" && d.cell === "LSTM c");
      items.push({ key: `p${d.cell}`, tag: "path", class: `line ${d.css} ${chosen ? "chosen" : ""}`, d: path(d.values) ?? "" });
      d.values.forEach((v, t) => {
        if (v <= 0 || (steps > 12 && (steps - 1 - t) % 4)) return;
        items.push({ key: `m${d.cell}${t}`, tag: "path", class: `marker ${d.css} ${chosen ? "chosen" : ""}`, d: MARKERS[d.marker], transform: `translate(${x(t).toFixed(1)} ${y(v).toFixed(1)})`, children: [{ key: "t", tag: "title", text: `${d.name}, step ${t}: ${fmt(v)}` }] });
      });
    }
    for (const { d, y: at } of ends) {
      const chosen = d.cell === cell || (cell === "LSTM" && d.cell === "LSTM c");
      items.push({ key: `e${d.cell}`, tag: "text", class: `end ${d.css} ${chosen ? "chosen" : ""}`, x: left - 10, y: at + 4, "text-anchor": "end", text: narrow ? d.name : `${d.name} ${fmt(d.values[0], 2)}` });
    }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.style.height = `${height}px`;
    const last = down(steps - 1);
    this.title.innerHTML = `Norm of ∂<i>h</i>${last}/∂<i>h<sub>t</sub></i> at scale ${scale}`;
    this.svg.setAttribute("aria-label", `Norms of the derivative of the last state by each earlier state at scale ${scale}: ` + data.map((d) => `${d.name} ${fmt(d.values[0], 2)} at the first`).join(", "));
    put(this.svg, items);
    this.table(recording, scale);
  }

  table(recording, scale) {
    const rows = [...recording.cells.map((c) => [CELLS[c].name, CELLS[c].css, (net) => net.array(net.part.reach.h).data[0], c]), ["LSTM, ∂c₅/∂c₀", "c-lstm memory", (net) => net.array(net.part.reach.c).data[0], "LSTM"], ["LSTM, product of f", "c-lstm memory", (net) => net.array(net.part.reach.direct).data[0], "LSTM"], ["GRU, product of z", "c-gru", (net) => net.array(net.part.reach.direct).data[0], "GRU"]];
    this.numbers.innerHTML = `<div class="wrap"><table class="plain-table"><thead><tr><th scope="col">scale</th>${recording.scales.map((s) => `<th scope="col" class="${s === scale ? "here" : ""}">${s}</th>`).join("")}</tr></thead><tbody>${rows.map(([name, css, value, cell]) => `<tr><th scope="row"><span class="dot ${css}"></span>${name}</th>${recording.scales.map((s) => `<td class="${s === scale ? "here" : ""}">${fmt(value(getNet(cell, s)), 2)}</td>`).join("")}</tr>`).join("")}<tr class="dim"><th scope="row">scale<sup>5</sup></th>${recording.scales.map((s) => `<td class="${s === scale ? "here" : ""}">${fmt(s ** 5, 2)}</td>`).join("")}</tr></tbody></table></div><p class="small">The tanh row stays below scale<sup>5</sup>: the slopes only shrink. The products of gates are their largest element; they hardly move with the scale.</p>`;
  }
}

const sup = (n) => String(n).replace("-", "⁻").replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);
const down = (n) => String(n).replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d]);
