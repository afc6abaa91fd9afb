import { fixed, fmt } from "./format.js";
import { put, widthOf } from "./svg.js";

const name = (o) => (o.op === "cross_entropy" ? "loss" : o.op);

/** The tape of the same steps: operations recorded from left to right, visited from right to left. */
export class TapeView {
  constructor({ svg, info, title, onPick }) {
    Object.assign(this, { svg, info, title, onPick });
  }

  length(net) {
    return 2 * net.part.tape.length;
  }

  render({ net, k, picked }) {
    const tape = net.part.tape;
    const n = tape.length;
    const T = net.T;
    const last = k < n ? k : tape.findIndex((o) => o.visit === k - n);
    const shown = picked ?? last;
    const columns = T + 2;
    const width = Math.max(widthOf(this.svg.parentElement), 560);
    const pitch = width / columns;
    const box = Math.min(pitch - 12, 92);
    const row = 30;
    const counts = Array(columns).fill(0);
    const place = tape.map((o) => [pitch * (o.step + 1.5), 34 + row * counts[o.step + 1]++]);
    const height = 34 + row * Math.max(...counts) + 4;
    const items = [];
    for (let t = -1; t <= T; t++) {
      items.push({ key: `c${t}`, tag: "text", class: "tiny", x: pitch * (t + 1.5), y: 14, "text-anchor": "middle", text: t < 0 ? "before" : t === T ? "after" : `t = ${t}` });
    }
    const arrived = (o) => o.visit >= 0 && k >= n + o.visit;
    tape.forEach((o, i) => {
      for (const from of new Set(o.inputs)) {
        if (typeof from !== "number") continue;
        const [x1, y1] = place[from];
        const [x2, y2] = place[i];
        const hot = i === shown || from === shown;
        const same = Math.abs(x1 - x2) < 1;
        const [sx, ex] = same ? [x1 + box / 2, x2 + box / 2] : [x1 + box / 2, x2 - box / 2];
        const bow = same ? 16 + Math.min(Math.abs(y2 - y1) / 6, 12) : 0;
        const middle = (sx + ex) / 2;
        const d = same ? `M${sx} ${y1}C${sx + bow} ${y1} ${sx + bow} ${y2} ${ex} ${y2}` : `M${sx} ${y1}C${middle} ${y1} ${middle} ${y2} ${ex} ${y2}`;
        items.push({ key: `e${from}-${i}`, tag: "path", class: `wire ${arrived(o) ? "grad" : i <= k ? "value" : "off"} ${hot ? "hot" : ""}`, d });
      }
    });
    tape.forEach((o, i) => {
      const [x, y] = place[i];
      const weights = o.inputs.filter((v) => typeof v === "string" && v !== "leaf");
      const state = arrived(o) ? "grad" : i <= k ? "value" : "off";
      items.push({ key: `n${i}`, tag: "g", class: `op-node ${state} ${i === last ? "last" : ""} ${i === shown ? "shown" : ""}`, "data-op": i, tabindex: i === shown ? 0 : -1, role: "button", "aria-label": `${name(o)}${o.step >= 0 && o.step < T ? `, step ${o.step}` : ""}`,
        on: { click: () => this.onPick(i), focus: () => {} },
        children: [
          { key: "r", tag: "rect", x: x - box / 2, y: y - 11, width: box, height: 22, rx: 11 },
          { key: "t", tag: "text", x, y: y + 4, "text-anchor": "middle", text: name(o) },
          ...(weights.length ? [{ key: "w", tag: "circle", class: "weight", cx: x - box / 2, cy: y, r: 4, children: [{ key: "t", tag: "title", text: weights.join(", ") }] }] : []),
        ] });
    });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.style.width = `${width}px`;
    this.svg.style.height = `${height}px`;
    put(this.svg, items);
    this.details(net, tape[shown], shown, k, n);
  }

  details(net, o, i, k, n) {
    const weights = o.inputs.filter((v) => typeof v === "string" && v !== "leaf");
    const list = (numbers) => numbers.map((v) => {
      const a = net.array(v);
      return `<span class="shape">${a.shape.join(" × ") || "number"}</span> ${a.data.slice(0, 12).map((x) => fmt(x)).join(", ")}${a.data.length > 12 ? ", …" : ""}`;
    }).join("<br>");
    const arrived = o.visit >= 0 && k >= n + o.visit;
    const where = o.step < 0 ? "before the first step" : o.step >= net.T ? "after the last step" : `at step ${o.step}`;
    this.title.innerHTML = `<code>${o.op}</code> ${where}`;
    const [hand, tape] = [net.gradient(0).data, net.array(net.part.tape_dW_hh).data];
    this.info.innerHTML = `<dl class="facts">
      <dt>recorded as</dt><dd>operation ${i + 1} of ${n}${weights.length ? `, with ${weights.join(", ")}` : ""}</dd>
      <dt class="value-text">value</dt><dd>${i <= k ? list(o.values) : "not recorded yet"}</dd>
      <dt class="grad-text">gradient</dt><dd>${arrived ? list(o.grads) : "has not arrived yet"}</dd></dl>
      <p class="small"><code>backward</code> visits the operations from the youngest to the oldest. An operation is always younger than its inputs, so when it is visited, all gradients that flow into it have arrived. This walk <em>is</em> backpropagation through time; <code>through_time</code> writes the same walk out by hand.</p>
      <h4>The same numbers: d<i>W</i><sub>hh</sub></h4>
      <div class="wrap"><table class="plain-table"><thead><tr><th scope="col">element</th>${hand.slice(0, 4).map((_, j) => `<th scope="col">[${Math.floor(j / 3)}, ${j % 3}]</th>`).join("")}</tr></thead><tbody>
      <tr><th scope="row">by hand</th>${hand.slice(0, 4).map((v) => `<td>${fixed(v)}</td>`).join("")}</tr>
      <tr><th scope="row">by the tape</th>${tape.slice(0, 4).map((v) => `<td>${fixed(v)}</td>`).join("")}</tr></tbody></table></div>
      <p class="small">Largest difference over all weights: ${fmt(net.part.tape_minus_hand, 2)}.</p>`;
  }

  status(net, k) {
    const n = net.part.tape.length;
    return k < n ? `recording: operation ${k + 1} of ${n}` : `backward: visit ${k - n + 1} of ${n}`;
  }
}
