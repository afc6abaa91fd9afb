import { fmt, norm } from "./format.js";
import { getNet } from "./recording.js";

/** The main numbers as tables, for a reader without JavaScript. */
export function stillNumbers() {
  const { recording } = globalThis;
  const net = getNet("RNN_TANH", 1);
  const run = net.run(0);
  const steps = [0, 1, 2, 3, 4, 5];
  const table = (caption, head, rows) => `<table class="plain-table"><caption>${caption}</caption><thead><tr>${head.map((h) => `<th scope="col">${h}</th>`).join("")}</tr></thead><tbody>${rows.map(([name, ...cells]) => `<tr><th scope="row">${name}</th>${cells.map((c) => `<td>${c}</td>`).join("")}</tr>`).join("")}</tbody></table>`;
  const vector = (kind) => steps.map((t) => `(${run.value(kind, t).map((v) => fmt(v, 2)).join(", ")})`);
  const scales = recording.scales;
  const first = (cell, key) => scales.map((s) => fmt(getNet(cell, s).array(getNet(cell, s).part.reach[key]).data[0], 2));
  return [
    table("Forward and back, tanh, scale 1", ["step", ...steps.map((t) => `${t} “${recording.sentence[t]}”`)], [["<i>h</i>", ...vector("h")], ["loss", ...steps.map((t) => fmt(run.value("loss", t)[0]))], ["<i>dh</i>", ...vector("dh")], ["norm of <i>dh</i>", ...steps.map((t) => fmt(norm(run.value("dh", t))))]]),
    table("Cut before step", ["", "no cut", ...steps.slice(1)], [["norm of d<i>W</i><sub>hh</sub>", ...steps.map((c) => fmt(net.run(c).norm))], ["cosine to the whole", ...steps.map((c) => net.run(c).cosine.toFixed(3))], ["bytes kept", ...steps.map((c) => net.run(c).bytes)]]),
    table("Far: norm of ∂<i>h</i><sub>5</sub>/∂<i>h</i><sub>0</sub> at each scale", ["", ...scales], [["tanh", ...first("RNN_TANH", "h")], ["ReLU", ...first("RNN_RELU", "h")], ["LSTM", ...first("LSTM", "h")], ["LSTM, ∂c₅/∂c₀", ...first("LSTM", "c")], ["GRU", ...first("GRU", "h")]]),
  ].join("");
}
