import { short } from "./format.js";
import { bars, put, widthOf } from "./svg.js";

// Where the parts of each cell are drawn, in columns and rows; what they show of step t: the value
// and, where it is recorded, its gradient. `local` names the variable in the cell's own step.
const block = (name, i) => (known, t, H) => known[name]?.[t]?.value.data.slice(i * H, (i + 1) * H);
const at = (name, shift = 0) => (known, t) => known[name]?.[t + shift]?.value.data;
const gate = (id, i, label, col, row) => ({ id, label, col, row, value: block("gates", i), gradient: block("dzx", i), dlabel: `dz${id === "z" && label === "z" ? "" : "_" + id}`, local: id });
const hPrev = (row) => ({ id: "h_prev", label: "h", before: true, col: 0, row, value: null, gradient: at("dh_prev"), dlabel: "dh" });

const diagrams = {
  RNN_TANH: {
    rows: 2,
    nodes: [hPrev(0), { id: "x", label: "x", col: 0, row: 1, value: null }, { ...gate("z", 0, "z", 1.25, 0.5), dlabel: "dz" }, { id: "h", label: "h", now: true, col: 2.5, row: 0.5, value: at("h"), gradient: at("dh"), dlabel: "dh", local: "h" }],
    edges: [["h_prev", "z", "W_hh"], ["x", "z", "W_ih"], ["z", "h", "tanh"]],
  },
  LSTM: {
    rows: 4,
    nodes: [
      { id: "c_prev", label: "c", before: true, col: 0, row: 0, value: null, gradient: at("dc_prev"), dlabel: "dc" },
      hPrev(1.5), { id: "x", label: "x", col: 0, row: 3, value: null },
      gate("f", 1, "f  forget", 1.1, 0), gate("i", 0, "i  input", 1.1, 1), gate("g", 2, "g  candidate", 1.1, 2), gate("o", 3, "o  output", 1.1, 3),
      { id: "c", label: "c", now: true, col: 2.3, row: 0.5, value: at("c"), gradient: at("dc"), dlabel: "dc", local: "c" },
      { id: "h", label: "h", now: true, col: 3.3, row: 1.75, value: at("h"), gradient: at("dh"), dlabel: "dh", local: "h" },
    ],
    edges: [["c_prev", "c", "× f", "direct"], ["h_prev", "f"], ["h_prev", "i"], ["h_prev", "g"], ["h_prev", "o"], ["x", "f"], ["x", "i"], ["x", "g"], ["x", "o"], ["f", "c", ""], ["i", "c"], ["g", "c"], ["c", "h"], ["o", "h"]],
  },
  GRU: {
    rows: 3,
    nodes: [
      hPrev(0.4), { id: "x", label: "x", col: 0, row: 1.9, value: null },
      gate("z", 1, "z  update", 1.1, 0), gate("r", 0, "r  reset", 1.1, 1), gate("n", 2, "n  candidate", 1.1, 2),
      { id: "h", label: "h", now: true, col: 2.5, row: 0.9, value: at("h"), gradient: at("dh"), dlabel: "dh", local: "h" },
    ],
    edges: [["h_prev", "h", "× z", "direct"], ["h_prev", "z"], ["h_prev", "r"], ["h_prev", "n"], ["x", "z"], ["x", "r"], ["x", "n"], ["r", "n"], ["z", "h"], ["n", "h", "× (1−z)"]],
  },
};
diagrams.RNN_RELU = { ...diagrams.RNN_TANH, edges: [["h_prev", "z", "W_hh"], ["x", "z", "W_ih"], ["z", "h", "max(·, 0)"]] };

/** The inside of one cell at one step: its gates with their values and gradients. */
export class CellView {
  constructor(svg) {
    this.svg = svg;
  }

  render({ net, run, k, zoom }) {
    const { nodes, edges, rows } = diagrams[net.cell];
    const wide = Math.max(widthOf(this.svg.parentElement), net.hasMemory ? 580 : 480);
    const H = net.recording.H;
    const known = run.known(k);
    const frame = run.stack(k).at(-1);
    const inStep = frame && frame.fn.endsWith(".step") && frame.event.step === zoom ? frame.values : {};
    const cols = Math.max(...nodes.map((n) => n.col));
    const [w, h] = [net.hasMemory ? 138 : 150, 62];
    const above = edges.some((e) => e[3] === "direct") ? 18 : 0;
    const pitch = [Math.min((wide - w - 16) / cols, 280), 66];
    const height = (rows - 1) * pitch[1] + h + 14 + above;
    const place = new Map(nodes.map((n) => [n.id, [6 + n.col * pitch[0], 6 + above + n.row * pitch[1]]]));
    const items = [];
    for (const [from, to, label, kind] of edges) {
      const [x1, y1] = place.get(from);
      const [x2, y2] = place.get(to);
      const same = Math.abs(x1 - x2) < 1;
      const [sx, sy] = same ? [x1 + w / 2, y1 + h] : [x1 + w, y1 + h / 2];
      const [ex, ey] = same ? [x2 + w / 2, y2] : [x2, y2 + h / 2];
      const mid = (sx + ex) / 2;
      const direct = kind === "direct";
      const d = same ? `M${sx} ${sy}L${ex} ${ey}`
        : direct ? `M${sx} ${sy}C${sx + 26} ${sy} ${sx + 8} 14 ${sx + 44} 14H${ex - 60}C${ex - 16} 14 ${ex - 40} ${ey} ${ex} ${ey}`
        : `M${sx} ${sy}C${mid} ${sy} ${mid} ${ey} ${ex} ${ey}`;
      items.push({ key: `e${from}${to}`, tag: "path", class: `wire ${kind ?? ""}`, d });
      if (label) {
        const at = same ? [sx + 6, (sy + ey) / 2 + 4] : direct ? [(sx + ex) / 2, 18] : [sx + (ex - sx) * 0.5, sy + (ey - sy) * 0.5 - 5];
        items.push({ key: `l${from}${to}`, tag: "text", class: `tiny op ${kind ?? ""}`, x: at[0], y: at[1], "text-anchor": same ? "start" : "middle", text: label });
      }
    }
    for (const n of nodes) {
      const [x, y] = place.get(n.id);
      let value = n.value?.(known, zoom, H);
      if (n.id === "x") value = net.array(net.part.x).data.slice(zoom * H, (zoom + 1) * H);
      if (n.before) value = zoom === 0 ? Array(H).fill(0) : known[n.label]?.[zoom - 1]?.value.data;
      if (n.local && inStep[n.local] && !inStep[n.local].data.some(Number.isNaN)) value = inStep[n.local].data;
      const gradient = n.gradient?.(known, zoom, H);
      const t = n.before ? zoom - 1 : zoom;
      const name = n.before || n.now || n.id === "x" ? n.label + subscript(t) : n.label;
      const dname = n.before || n.now ? n.dlabel + subscript(t) : n.dlabel;
      const numbers = (values, key, x0, kind) => values.map((v, i) => ({ key: `${key}${i}`, tag: "text", class: `num ${kind}`, x: x0, y: y + 27 + i * 14, "text-anchor": "end", text: short(v) }));
      items.push({ key: n.id, tag: "g", class: `gate ${n.now || n.before ? "state" : ""}`, children: [
        { key: "r", tag: "rect", class: "cell-box", x, y, width: w, height: h, rx: 8 },
        { key: "n", tag: "text", class: "gate-name value-text", x: x + 8, y: y + 13, text: name },
        ...(n.gradient ? [{ key: "d", tag: "text", class: "gate-name grad-text", x: x + w - 8, y: y + 13, "text-anchor": "end", text: dname + (n.before ? " ←" : "") }] : []),
        ...bars("v", value ?? [NaN, NaN, NaN], x + 5, y + 17, 22, 42, scale(value), "value"),
        ...numbers(value ?? [NaN, NaN, NaN], "vn", x + w - 76, "value-text"),
        ...(n.gradient ? [...bars("g", gradient ?? [NaN, NaN, NaN], x + w - 72, y + 17, 22, 42, scale(gradient), "grad"), ...numbers(gradient ?? [NaN, NaN, NaN], "gn", x + w - 5, "grad-text")] : []),
      ] });
    }
    this.svg.setAttribute("viewBox", `0 0 ${wide} ${height}`);
    this.svg.style.width = `${wide}px`;
    this.svg.style.height = `${height}px`;
    put(this.svg, items);
  }
}

const scale = (values) => (values ? Math.max(...values.map((v) => Math.abs(v) || 0), 1e-12) : 1);
export const subscript = (t) => String(t).replace("-", "₋").replace(/\d/g, (d) => "₀₁₂₃₄₅₆₇₈₉"[d]);
