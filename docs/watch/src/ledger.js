import { fixed, fmt, norm } from "./format.js";
import { subscript } from "./cell.js";
import { put, widthOf } from "./svg.js";

/** The gradient ledger: the loss at t down, the use of W_hh at step s across. */
export class Ledger {
  constructor({ svg, sum, select, chain, chainTitle, onPick, onElement }) {
    Object.assign(this, { svg, sum, select, chain, chainTitle, onPick });
    select.addEventListener("change", () => onElement(+select.value));
    svg.addEventListener("keydown", (e) => this.key(e));
  }

  render({ net, run, element, picked }) {
    const T = net.T;
    const dW = net.gradient(run.cut);
    const columns = dW.shape[1];
    this.fill(net, dW, element);
    const entries = net.part.ledger.map((row) => row.map((n) => net.array(n).data));
    const values = entries.map((row) => row.map((e) => e[element]));
    const most = Math.max(...values.flat().map(Math.abs), 1e-12);
    const width = Math.max(Math.min(widthOf(this.svg.parentElement) - 24, 424), 290);
    const left = 44;
    const size = (width - left - 4) / T;
    const high = Math.min(size, 41);
    const kept = (t, s) => s >= run.cut || t < run.cut;
    const items = [];
    for (let s = 0; s < T; s++) items.push({ key: `s${s}`, tag: "text", class: "tiny", x: left + (s + 0.5) * size, y: 12, "text-anchor": "middle", text: `s = ${s}` });
    for (let t = 0; t < T; t++) {
      items.push({ key: `t${t}`, tag: "text", class: "tiny", x: left - 6, y: 20 + (t + 0.5) * high + 4, "text-anchor": "end", text: `L${subscript(t)}` });
      for (let s = 0; s <= t; s++) {
        const v = values[t][s];
        const [x, y] = [left + s * size, 20 + t * high];
        const on = kept(t, s);
        const here = picked && picked[0] === t && picked[1] === s;
        const bar = (size - 8) / 2;
        const length = (Math.abs(v) / most) * bar;
        const text = fixed(v, size < 52 ? 2 : 4);
        const label = `${text}: loss at ${t}, use at step ${s}${on ? "" : ", cut off"}`;
        items.push({ key: `e${t}${s}`, tag: "g", class: `entry-box ${on ? "kept" : "lost"} ${here ? "picked" : ""}`, role: "button", tabindex: here || (!picked && t === 0) ? 0 : -1, "data-t": t, "data-s": s, "data-value": v, "aria-label": label, "aria-pressed": !!here,
          on: { click: () => this.onPick([t, s]) },
          children: [
            { key: "r", tag: "rect", class: "box", x: x + 1.5, y: y + 1.5, width: size - 3, height: high - 3, rx: 5 },
            { key: "b", tag: "rect", class: "bit grad", x: x + size / 2 - (v < 0 ? length : 0), y: y + high - 11, width: length, height: 5, rx: 1.5 },
            { key: "v", tag: "text", x: x + size / 2, y: y + high / 2 + 1, "text-anchor": "middle", class: "num", text },
            ...(on ? [] : [{ key: "x", tag: "path", class: "strike", d: `M${x + 6} ${y + high - 6}L${x + size - 6} ${y + 6}` }]),
          ] });
      }
    }
    const height = 24 + T * high;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.style.height = `${height}px`;
    this.svg.style.width = `${width}px`;
    put(this.svg, items);
    let total = 0;
    let count = 0;
    let lost = 0;
    values.forEach((row, t) => row.forEach((v, s) => (kept(t, s) ? ((total += v), count++) : lost++)));
    this.total = total;
    const name = `dW<sub>hh</sub>[${Math.floor(element / columns)}, ${element % columns}]`;
    this.sum.innerHTML = `<p><b data-sum>${fixed(total)}</b> sum of the ${count} entries that remain</p><p><b data-gradient>${fixed(dW.data[element])}</b> <i>${name}</i>, as <code>gradients</code> computed it</p>${lost ? `<p class="dim">${lost} entries cut off</p>` : ""}`;
    this.renderChain(net, picked, kept);
  }

  fill(net, dW, element) {
    const columns = dW.shape[1];
    const blocks = { LSTM: "ifgo", GRU: "rzn" }[net.cell] ?? "";
    if (this.filled !== dW.data.length + blocks) {
      this.filled = dW.data.length + blocks;
      this.select.innerHTML = dW.data.map((_, i) => {
        const row = Math.floor(i / columns);
        return `<option value="${i}">[${row}, ${i % columns}]${blocks ? ` (${blocks[Math.floor(row / 3)]})` : ""}</option>`;
      }).join("");
    }
    this.select.value = String(element);
  }

  key(e) {
    const at = e.target.closest("[data-t]");
    if (!at) return;
    let [t, s] = [+at.dataset.t, +at.dataset.s];
    if (e.key === "ArrowLeft") s--;
    else if (e.key === "ArrowRight") s++;
    else if (e.key === "ArrowUp") t--;
    else if (e.key === "ArrowDown") t++;
    else if (e.key !== "Enter" && e.key !== " ") return;
    e.preventDefault();
    e.stopPropagation();
    if (s < 0 || s > t || t > 5) return;
    this.onPick([t, s]);
    this.svg.querySelector(`[data-t="${t}"][data-s="${s}"]`).focus();
  }

  /** The product of Jacobians behind one entry. */
  renderChain(net, picked, kept) {
    const [t, s] = picked ?? [net.T - 1, net.T - 3];
    this.chainTitle.innerHTML = `Entry: loss at ${t} through step ${s}`;
    const H = net.recording.H;
    const part = net.part;
    const first = part.upstream[t][t].flatMap((n) => net.array(n).data);
    const last = part.upstream[t][s].flatMap((n) => net.array(n).data);
    const state = net.hasMemory ? "(<i>h</i>, <i>c</i>)" : "<i>h</i>";
    const pieces = [[`d<i>L</i><sub>${t}</sub>/d${state}<sub>${t}</sub>`, grid(first, first.length)]];
    for (let k = t; k > s; k--) {
      const J = net.array(part.jacobians[k]);
      pieces.push([`∂${state}<sub>${k}</sub>/∂${state}<sub>${k - 1}</sub>`, grid(J.data, J.shape[1])]);
    }
    const dz = net.array(part.dz[t][s]).data;
    const h = net.array(part.states[s][0]).data;
    const entry = net.array(part.ledger[t][s]).data;
    const crossing = kept(t, s) ? "" : `<p class="warn">Cut off: this path crosses the scissors.</p>`;
    const dzName = net.cell === "GRU" ? "dzh" : "dz";
    this.chain.innerHTML = `${crossing}
      <div class="chain">${pieces.map(([n, g]) => `<span class="piece"><span class="label">${n}</span>${g}</span>`).join('<span class="times">·</span>')}
      <span class="times">=</span><span class="piece"><span class="label">d<i>L</i><sub>${t}</sub>/d${state}<sub>${s}</sub></span>${grid(last, last.length)}</span></div>
      <p class="small">${t === s ? "No step back in time: the loss acts on its own step." : `${t - s} ${t - s === 1 ? "factor" : "factors"}, one for each step back. Length: ${fmt(norm(first))} → <b>${fmt(norm(last))}</b>.`} The cell at step ${s} turns it into <i>${dzName}</i>; times the old state, this is the entry:</p>
      <div class="chain"><span class="piece"><span class="label"><i>${dzName}</i><sub>${s}</sub></span>${grid(dz, 1)}</span><span class="times">×</span><span class="piece"><span class="label"><i>h</i><sub>${s === 0 ? "−1" : s - 1}</sub><sup>⊤</sup></span>${grid(h, H)}</span><span class="times">=</span><span class="piece"><span class="label">entry, ${entry.length / H} × ${H}</span>${grid(entry, H)}</span></div>
      ${s === 0 ? '<p class="small">The state before step 0 is zero, so column 0 is zero.</p>' : ""}`;
  }
}

/** A small matrix: numbers if there are few, else shades. */
function grid(data, columns) {
  const most = Math.max(...data.map(Math.abs), 1e-12);
  let html = `<span class="mini ${data.length > 12 ? "dense" : ""}" style="--c:${columns}" role="img" aria-label="${data.length <= 12 ? data.map((v) => fmt(v)).join(", ") : "matrix"}">`;
  for (const v of data) html += `<span class="${v < 0 ? "neg" : ""}" style="--s:${(Math.abs(v) / most).toFixed(2)}" title="${fmt(v)}">${data.length > 12 ? "" : fmt(v, 2)}</span>`;
  return html + "</span>";
}
