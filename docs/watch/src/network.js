import { fmt, norm } from "./format.js";
import { arrow, bars, put, widthOf } from "./svg.js";

/** The unrolled network: words below, states in the middle, predictions and losses on top. */
export class Network {
  constructor(svg, { onCut, onZoom }) {
    Object.assign(this, { svg, onCut, onZoom });
    svg.addEventListener("pointerdown", (e) => this.grab(e));
    svg.addEventListener("pointermove", (e) => this.drag(e));
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => (this.dragging = false));
    svg.addEventListener("keydown", (e) => this.key(e));
  }

  layout(net) {
    const width = Math.max(widthOf(this.svg.parentElement) - 2, 280);
    const narrow = width < 560;
    const T = net.T;
    const left = narrow ? 20 : 62;
    const pitch = (width - left - (narrow ? 2 : 8)) / T;
    const box = pitch * (narrow ? 0.74 : 0.7);
    const rows = net.hasMemory ? 2 : 1;
    const rowHeight = narrow ? (rows === 2 ? 30 : 38) : rows === 2 ? 52 : 74;
    const top = narrow ? 74 : 98;
    const gap = narrow ? 22 : 31;
    const boxTop = top + gap;
    const boxHeight = rows * rowHeight + (narrow ? 14 : 22);
    const wordTop = boxTop + boxHeight + gap;
    return { width, narrow, left, pitch, box, rows, rowHeight, top, gap, boxTop, boxHeight, wordTop, height: wordTop + (narrow ? 34 : 46) };
  }

  center(l, t) {
    return l.left + l.pitch * (t + 0.5) + (l.narrow ? 2 : 6);
  }

  render({ net, run, k, scissors, zoom }) {
    const l = (this.l = this.layout(net));
    this.T = net.T;
    this.cut = run.cut;
    this.svg.setAttribute("viewBox", `0 0 ${l.width} ${l.height}`);
    this.svg.style.height = `${l.height}px`;
    const event = run.events[k];
    const known = run.known(k);
    const { sentence, vocabulary } = net.recording;
    const most = this.scales(net);
    const fresh = (mark) => mark && mark.at === k;
    const items = [];

    // The states before step 0, and arrows between steps.
    const zeroX = l.narrow ? 9 : 28;
    const midY = l.boxTop + l.boxHeight / 2;
    items.push({ key: "zero", tag: "text", class: "zero", x: zeroX, y: midY + 4, "text-anchor": "middle", text: l.narrow ? "0" : "h₋₁ = 0" });
    for (let t = 0; t < net.T; t++) {
      const x = this.center(l, t);
      const before = t === 0 ? zeroX + (l.narrow ? 5 : 26) : this.center(l, t - 1) + l.box / 2 + 2;
      const until = x - l.box / 2 - 2;
      const cutHere = run.cut === t && t > 0;
      const lanes = net.hasMemory ? [["h", "dh_prev", 0], ["c", "dc_prev", 1]] : [["h", "dh_prev", 0]];
      for (const [value, gradient, row] of lanes) {
        const y = l.boxTop + (l.narrow ? 12 : 20) + row * l.rowHeight + l.rowHeight / 2;
        const off = l.narrow ? 6 : 9;
        const v = t > 0 ? known[value]?.[t - 1] : known.start?.[0];
        const size = t > 0 && v ? norm(v.value.data) : 0;
        items.push({ key: `vh${value}${t}`, tag: "path", class: `flow value ${v ? "on" : "off"} ${fresh(v) ? "now" : ""} ${row ? "mem" : ""}`,
          d: arrow(before, y - off, until, y - off, v ? this.width(size, most[value], l) : 0.8), "data-norm": size.toFixed(5) });
        if (t > 0) {
          const g = cutHere ? undefined : known[gradient]?.[t];
          const gs = g ? norm(g.value.data) : 0;
          items.push({ key: `gh${value}${t}`, tag: "path", class: `flow grad ${g ? "on" : "off"} ${fresh(g) ? "now" : ""} ${cutHere ? "severed" : ""}`,
            d: arrow(until, y + off, before, y + off, g ? this.width(gs, most[gradient], l) : 0.8), "data-norm": gs.toFixed(5) });
        }
      }
    }

    for (let t = 0; t < net.T; t++) {
      const x = this.center(l, t);
      const active = event.step === t;
      const label = `Step ${t}, word “${sentence[t]}”: look inside the cell`;
      const inside = [{ key: "title", tag: "title", text: label }];
      inside.push({ key: "r", tag: "rect", class: "cell-box", x: x - l.box / 2, y: l.boxTop, width: l.box, height: l.boxHeight, rx: 10 });
      const half = l.box / 2 - (l.narrow ? 1 : 4);
      const rows = net.hasMemory ? [["h", "dh"], ["c", "dc"]] : [["h", "dh"]];
      rows.forEach(([value, gradient], row) => {
        const y = l.boxTop + (l.narrow ? 11 : 18) + row * l.rowHeight;
        const name = `${value}${"₀₁₂₃₄₅"[t]}`;
        const [v, g] = [known[value]?.[t], known[gradient]?.[t]];
        if (!l.narrow || row === 0) {
          inside.push({ key: `nv${row}`, tag: "text", class: `tiny value-text ${v ? "" : "dim"}`, x: x - half / 2 - 2, y: y - 1, "text-anchor": "middle", text: l.narrow ? value : name });
          inside.push({ key: `ng${row}`, tag: "text", class: `tiny grad-text ${g ? "" : "dim"}`, x: x + half / 2 + 2, y: y - 1, "text-anchor": "middle", text: l.narrow ? `d${value}` : `d${name}` });
        }
        const H = l.rowHeight - (l.narrow ? 8 : 14);
        inside.push(...bars(`v${row}`, v ? v.value.data : [NaN, NaN, NaN], x - half - 1, y + 4, half - 2, H, most[value + "_bit"], `value ${fresh(v) ? "now" : ""}`));
        inside.push(...bars(`g${row}`, g ? g.value.data : [NaN, NaN, NaN], x + 3, y + 4, half - 2, H, most[gradient + "_bit"], `grad ${fresh(g) ? "now" : ""}`));
      });
      items.push({ key: `cell${t}`, tag: "g", class: `step ${active ? "active" : ""} ${zoom === t ? "zoomed" : ""} ${active && event.back ? "back" : ""}`,
        tabindex: 0, role: "button", "aria-pressed": zoom === t, "data-step": t, children: inside,
        on: { click: () => this.onZoom(t) } });

      // The word and its arrow.
      const wordOn = known.zx?.[t];
      items.push({ key: `wa${t}`, tag: "path", class: `flow value ${wordOn ? "on" : "off"}`, d: arrow(x, l.wordTop - 2, x, l.boxTop + l.boxHeight + 3, wordOn ? 2.4 : 0.8) });
      items.push({ key: `w${t}`, tag: "text", class: `word ${active ? "active" : ""}`, x, y: l.wordTop + (l.narrow ? 12 : 16), "text-anchor": "middle", text: sentence[t] });
      items.push({ key: `t${t}`, tag: "text", class: "tiny", x, y: l.wordTop + (l.narrow ? 26 : 33), "text-anchor": "middle", text: l.narrow ? t : `t = ${t}` });

      // The prediction, its loss and their arrows.
      const p = known.p?.[t];
      const d = known.dout?.[t];
      const ax = l.narrow ? 5 : 8;
      const hOn = known.h?.[t];
      items.push({ key: `pa${t}`, tag: "path", class: `flow value ${p ? "on" : "off"} ${fresh(p) ? "now" : ""}`, d: arrow(x - ax, l.boxTop - 3, x - ax, l.top + 4, p && hOn ? this.width(norm(hOn.value.data), most.h, l) : 0.8) });
      items.push({ key: `da${t}`, tag: "path", class: `flow grad ${d ? "on" : "off"} ${fresh(d) ? "now" : ""}`, d: arrow(x + ax, l.top + 4, x + ax, l.boxTop - 3, d ? this.width(norm(d.value.data), most.dout, l) : 0.8), "data-norm": d ? norm(d.value.data).toFixed(5) : 0 });
      const target = vocabulary.indexOf(sentence[t + 1]);
      const w = (l.pitch * 0.8) / vocabulary.length;
      const base = l.top;
      const tall = l.narrow ? 34 : 44;
      const probabilities = p ? p.value.data : vocabulary.map(() => 0);
      items.push({ key: `hist${t}`, tag: "g", class: "hist", children: [
        { key: "base", tag: "path", class: "axis", d: `M${x - w * 6} ${base}h${w * 12}` },
        ...probabilities.map((q, i) => ({ key: `p${i}`, tag: "rect", class: `prob ${i === target ? "target" : ""}`, x: x - w * 6 + i * w + w * 0.12, width: w * 0.76, y: base - Math.max(q * tall * 1.6, p ? 1 : 0), height: Math.max(q * tall * 1.6, p ? 1 : 0),
          children: [{ key: "t", tag: "title", text: `${vocabulary[i]}: ${fmt(q)}` }] })),
      ] });
      const loss = known.loss?.[t];
      items.push({ key: `target${t}`, tag: "text", class: "word out", x, y: l.narrow ? 11 : 16, "text-anchor": "middle", text: l.narrow ? sentence[t + 1] : `→ ${sentence[t + 1]}` });
      items.push({ key: `loss${t}`, tag: "text", class: `tiny loss ${fresh(loss) ? "now" : ""}`, x, y: l.narrow ? 24 : 32, "text-anchor": "middle", text: loss ? (l.narrow ? fmt(loss.value.data[0]) : `loss ${fmt(loss.value.data[0])}`) : "" });
    }
    if (scissors) items.push(...this.scissors(net, run, l));
    put(this.svg, items);
  }

  width(size, most, l) {
    return size === 0 ? 0.8 : Math.max(0.9, Math.sqrt(Math.min(size / most, 1)) * (l.narrow ? 7 : 11));
  }

  /** The largest of everything in the uncut run, so that widths can be compared between steps. */
  scales(net) {
    if (net.most) return net.most;
    const most = { h: 1e-9, c: 1e-9, dh_prev: 1e-9, dc_prev: 1e-9, dout: 1e-9, h_bit: 1e-9, c_bit: 1e-9, dh_bit: 1e-9, dc_bit: 1e-9 };
    for (const m of net.run(0).marks) {
      if (m.kind in most) most[m.kind] = Math.max(most[m.kind], norm(m.value.data));
      if (m.kind + "_bit" in most) most[m.kind + "_bit"] = Math.max(most[m.kind + "_bit"], ...m.value.data.map(Math.abs));
    }
    most.dout = most.dh_prev = Math.max(most.dout, most.dh_prev);
    return (net.most = most);
  }

  // ---------------------------------------------------------------- scissors

  gap(l, t) {
    return t === 0 ? (l.narrow ? 6 : 18) : this.center(l, t) - l.pitch / 2;
  }

  scissors(net, run, l) {
    const y = l.wordTop + (l.narrow ? 10 : 14);
    const x = this.gap(l, run.cut);
    const places = [];
    for (let t = 0; t < net.T; t++) {
      places.push({ key: `place${t}`, tag: "circle", class: `place ${t === run.cut ? "here" : ""}`, cx: this.gap(l, t), cy: y, r: 3.5, "data-cut": t, on: { click: () => this.onCut(t) } });
    }
    const text = run.cut ? `before step ${run.cut}` : "no cut";
    return [
      ...places,
      { key: "cutline", tag: "path", class: `cutline ${run.cut ? "" : "none"}`, d: `M${x} ${l.top - 8}V${y - 14}` },
      { key: "scissors", tag: "g", class: "scissors", transform: `translate(${x} ${y})`, tabindex: 0, role: "slider", "aria-label": "Detach the state", "aria-valuemin": 0, "aria-valuemax": net.T - 1, "aria-valuenow": run.cut, "aria-valuetext": text,
        children: [{ key: "c", tag: "circle", r: 13 }, { key: "t", tag: "text", "text-anchor": "middle", y: 5, text: "✂" }] },
    ];
  }

  grab(e) {
    if (!e.target.closest(".scissors")) return;
    this.dragging = true;
    this.svg.setPointerCapture(e.pointerId);
    e.preventDefault();
  }

  drag(e) {
    if (!this.dragging) return;
    const box = this.svg.getBoundingClientRect();
    const x = ((e.clientX - box.left) / box.width) * this.l.width;
    let best = 0;
    for (let t = 0; t < this.T; t++) if (Math.abs(this.gap(this.l, t) - x) < Math.abs(this.gap(this.l, best) - x)) best = t;
    if (best !== this.cut) this.onCut(best);
  }

  key(e) {
    const step = e.target.closest("[data-step]");
    if (step && (e.key === "Enter" || e.key === " ")) {
      this.onZoom(+step.dataset.step);
      e.preventDefault();
      e.stopPropagation();
    }
    if (!e.target.closest(".scissors")) return;
    const move = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[e.key];
    const to = e.key === "Home" ? 0 : e.key === "End" ? this.T - 1 : move ? this.cut + move : null;
    if (to === null) return;
    e.preventDefault();
    e.stopPropagation();
    this.onCut(Math.min(Math.max(to, 0), this.T - 1));
  }
}
