import "katex/dist/katex.css";
import "./page.css";
import { cellHtml } from "rendered";
import { CellView } from "./cell.js";
import { fmt } from "./format.js";
import { terms } from "./glossary.js";
import { Ledger } from "./ledger.js";
import { Network } from "./network.js";
import { Questions } from "./ask.js";
import { CELLS, Reach } from "./reach.js";
import { getNet } from "./recording.js";
import { Source } from "./source.js";
import { forgetWidths } from "./svg.js";
import { TapeView } from "./tape.js";

const $ = (id) => document.getElementById(id);
const ACTS = ["forward", "back", "cut", "far"];
const recording = globalThis.recording;

const state = {
  act: "forward", cell: "RNN_TANH", scale: 1, cut: 0, k: 0, mode: "hand", zoom: 0,
  element: null, picked: [5, 3], long: false, tapeK: 0, tapePick: null, playing: false,
};

// -------------------------------------------------------------------- what is shown now

const net = () => getNet(state.cell, state.scale);
const run = () => net().run(state.act === "cut" ? state.cut : 0);
const tape = () => state.mode === "tape" && (state.act === "forward" || state.act === "back");
const turn = (r) => r.events.findIndex((e) => e.text.startsWith("loss.backward"));

function largest(values) {
  return values.reduce((best, v, i) => (Math.abs(v) > Math.abs(values[best]) ? i : best), 0);
}

/** Change the state and redraw. */
function update(change) {
  const before = { ...state };
  Object.assign(state, change);
  if (state.cell !== before.cell) state.element = null;
  if (state.element === null) state.element = largest(net().gradient(0).data);
  if ((state.cut !== before.cut || state.cell !== before.cell) && change.k === undefined && state.act === "cut") state.k = run().length - 1;
  if (state.cell !== before.cell && change.k === undefined && state.act !== "cut") state.k = sameMoment(before);
  state.k = Math.min(Math.max(state.k, 0), run().length - 1);
  state.tapeK = Math.min(Math.max(state.tapeK, 0), 2 * net().part.tape.length - 1);
  followAct(before);
  const event = run().events[state.k];
  if (change.zoom === undefined && event.step >= 0 && (state.k !== before.k || state.cut !== before.cut)) state.zoom = event.step;
  render(before);
}

/** The moment of another cell's run that corresponds to the old one: phase and step. */
function sameMoment(before) {
  const old = getNet(before.cell, before.scale).run(0).events[before.k];
  const events = run().events;
  const found = events.findIndex((e) => e.back === old.back && e.step === old.step && e.depth === Math.min(old.depth, 1) && e.text.slice(0, 9) === old.text.slice(0, 9));
  return found >= 0 ? found : old.back ? turn(run()) : 0;
}

/** Acts 1 and 2 are the two halves of one run: stepping across the middle turns the page. */
function followAct(before) {
  if (state.act !== before.act || !["forward", "back"].includes(state.act) || state.k === before.k) return;
  const act = state.k >= turn(run()) ? "back" : "forward";
  if (act !== state.act && !tape()) {
    state.act = act;
    history.replaceState(null, "", "#" + act);
  }
}

function go(act, push = true) {
  if (!ACTS.includes(act)) act = "forward";
  const change = { act, playing: false };
  state.act = act;
  const r = run();
  if (act === "forward") change.k = r.when("h", 0);
  if (act === "back") change.k = turn(r);
  if (act === "cut") change.k = r.length - 1;
  if (act === "back") change.tapeK = net().part.tape.length;
  if (act === "forward") change.tapeK = 0;
  if (push) history.pushState(null, "", "#" + act);
  update(change);
}

// -------------------------------------------------------------------- moving

function stops() {
  const r = run();
  return r.events.filter((e) => e.depth === 0 || (e.fn === "through_time" && e.text.startsWith("for t in"))).map((e) => e.index);
}

function move(by) {
  if (state.act === "far") return;
  if (tape()) return update({ tapeK: state.tapeK + by, tapePick: null });
  update({ k: state.k + by });
}

function over(by) {
  if (state.act === "far") return;
  if (tape()) {
    const tape = net().part.tape;
    const n = tape.length;
    const step = (k) => (k < n ? tape[k].step : tape.findLast((o) => o.visit === k - n)?.step);
    let k = state.tapeK + by;
    while (k > 0 && k < 2 * n - 1 && step(k) === step(state.tapeK)) k += by;
    return update({ tapeK: k, tapePick: null });
  }
  const all = stops();
  const next = by > 0 ? all.find((k) => k > state.k) : all.findLast((k) => k < state.k);
  update({ k: next ?? (by > 0 ? run().length - 1 : 0) });
}

const ends = { start: () => (tape() ? update({ tapeK: 0, tapePick: null }) : update({ k: 0 })), end: () => (tape() ? update({ tapeK: 1e9, tapePick: null }) : update({ k: run().length - 1 })) };

let timer = 0;
function play(on) {
  clearInterval(timer);
  state.playing = on;
  if (on) {
    timer = setInterval(() => {
      const atEnd = tape() ? state.tapeK >= 2 * net().part.tape.length - 1 : state.k >= run().length - 1;
      if (atEnd || state.act === "far") return play(false);
      if (tape()) return move(1);
      let k = state.k + 1;
      const { events, length } = run();
      const due = (i) => questions.due(context(), i);
      while (k < length - 1 && !events[k].changes.length && !events[k].text.startsWith("for t") && !due(k)) k++;
      update({ k });
      if (due(k)) play(false);
    }, 420);
  }
  $("p-icon").setAttribute("d", on ? "M4 3h3v10H4ZM9.5 3h3v10h-3Z" : "M4 2.500L13 8L4 13.500Z");
  $("p-play").setAttribute("aria-label", on ? "Pause (space)" : "Play (space)");
}

// -------------------------------------------------------------------- drawing

const network = new Network($("net"), { onCut: (cut) => update({ cut }), onZoom: (zoom) => update({ zoom }) });
const cellView = new CellView($("cell"));
const source = new Source({ code: $("code"), equation: $("equation"), say: $("say"), arrays: $("arrays"), entry: $("entry"), where: $("where"), pop: $("pop") }, recording);
const ledger = new Ledger({ svg: $("ledger"), sum: $("sum"), select: $("element"), chain: $("chain"), chainTitle: $("chain-title"), onPick: (picked) => update({ picked }), onElement: (element) => update({ element }) });
const reach = new Reach({ svg: $("reach"), title: $("reach-title"), numbers: $("reach-numbers") });
const tapeView = new TapeView({ svg: $("tape"), info: $("tape-info"), title: $("tape-title"), onPick: (tapePick) => update({ tapePick }) });
const questions = new Questions({ box: $("question"), cover: $("reach-cover"), update, context });

function context() {
  return { ...state, recording, net: net(), run: run(), scissors: state.act === "cut" };
}

function render(before = {}) {
  const c = context();
  const { act } = state;
  if (act !== before.act || state.mode !== before.mode) forgetWidths();
  document.body.dataset.act = act;
  document.body.dataset.mode = tape() ? "tape" : "hand";
  for (const a of ACTS) $("act-" + a).hidden = a !== act;
  for (const link of document.querySelectorAll(".acts a")) {
    if (link.dataset.act === act) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (act !== "far") {
    if (!tape()) network.render(c);
    if (tape()) tapeView.render({ ...c, k: state.tapeK, picked: state.tapePick });
    else source.render(c);
    if (act === "cut") {
      ledger.render(c);
      numbers(c);
    } else if (!tape()) {
      cellView.render(c);
      $("cell-title").innerHTML = `Inside the cell at step ${state.zoom}, “${recording.sentence[state.zoom]}”`;
    }
  } else reach.render(c);
  if (state.cell !== before.cell) $("cell-math").innerHTML = cellHtml[state.cell].join("<br>");
  $("scale-value").textContent = state.scale;
  $("scale").value = recording.scales.indexOf(state.scale);
  $("scale").setAttribute("aria-valuetext", String(state.scale));
  for (const input of document.querySelectorAll(".segmented input")) input.checked = String(state[input.name]) === input.value;
  player(c);
  questions.render(c, before);
}

function player(c) {
  const bar = $("scrub");
  const r = c.run;
  const length = tape() ? 2 * c.net.part.tape.length : r.length;
  const k = tape() ? state.tapeK : state.k;
  bar.max = length - 1;
  bar.value = k;
  const parts = [];
  if (tape()) parts.push(["value", 0, length / 2], ["grad", length / 2, length]);
  else for (let i = 0, from = 0; i <= length; i++) if (i === length || r.events[i].back !== r.events[from].back) { parts.push([r.events[from].back ? "grad" : "value", from, i]); from = i; }
  bar.style.setProperty("--track", `linear-gradient(90deg, ${parts.map(([kind, a, b]) => `var(--${kind}) ${(100 * a) / length}% ${(100 * b) / length}%`).join(", ")})`);
  let text;
  if (tape()) text = tapeView.status(c.net, k);
  else {
    const e = r.events[k];
    text = `line ${k + 1} of ${length} · ${e.back ? "backward" : "forward"}${e.step >= 0 ? ` · step ${e.step}, “${recording.sentence[e.step]}”` : ""}`;
  }
  $("status").textContent = text;
  bar.setAttribute("aria-valuetext", text);
  for (const [id, off] of [["p-start", k === 0], ["p-back", k === 0], ["p-over-back", k === 0], ["p-next", k === length - 1], ["p-over", k === length - 1], ["p-end", k === length - 1]]) $(id).setAttribute("aria-disabled", off);
}

/** What the cut changes: the gradient's norm, its angle to the whole one, the memory. */
function numbers({ net, run }) {
  const whole = net.run(0);
  const row = (label, value, share, note) => `<tr><th scope="row">${label}</th><td class="big">${value}</td><td><span class="meter" style="--v:${Math.max(0, Math.min(share, 1))}"></span></td><td class="dim">${note}</td></tr>`;
  const kept = recording.T * (recording.T + 1) / 2 - run.cut * (recording.T - run.cut);
  $("numbers").innerHTML = `<table class="numbers">
    ${row("norm of d<i>W</i><sub>hh</sub>", fmt(run.norm, 4), run.norm / Math.max(...[0, 1, 2, 3, 4, 5].map((c) => net.run(c).norm)), run.cut ? `of ${fmt(whole.norm, 4)}` : "whole")}
    ${row("cosine to the whole", run.cosine.toFixed(3), run.cosine, run.cosine > 0.9995 ? "parallel" : "")}
    ${row("memory held", `${run.bytes.toLocaleString("en")} B`, run.bytes / whole.bytes, run.cut ? `of ${whole.bytes.toLocaleString("en")}` : "whole")}
    ${row("terms kept", `${kept} of 21`, kept / 21, run.cut === 1 ? "those cut are zero" : "")}
  </table><p class="small">${run.cut ? `Across the cut, <i>h</i><sub>${run.cut - 1}</sub> = (${net.run(run.cut).value("h", run.cut - 1).map((v) => fmt(v)).join(", ")}), as without it. Memory: the most that one chunk’s graph keeps.` : "No cut: one chunk, and the gradient goes all the way back."}</p>`;
}

// -------------------------------------------------------------------- controls

function radios(id, name, options) {
  $(id).innerHTML = options.map(([value, label]) => `<label><input type="radio" name="${name}" value="${value}"><span>${label}</span></label>`).join("");
  $(id).addEventListener("change", (e) => update({ [name]: name === "long" ? e.target.value === "true" : e.target.value }));
}
radios("cells", "cell", recording.cells.map((c) => [c, CELLS[c].name]));
radios("mode", "mode", [["hand", "by hand"], ["tape", "by the tape"]]);
radios("lengths", "long", [["false", "6 words"], ["true", `${recording.long} steps`]]);
$("scale").max = recording.scales.length - 1;
$("scale").addEventListener("input", () => update({ scale: recording.scales[+$("scale").value] }));
$("scrub").addEventListener("input", () => update(tape() ? { tapeK: +$("scrub").value, tapePick: null } : { k: +$("scrub").value }));
const buttons = { "p-start": ends.start, "p-end": ends.end, "p-back": () => move(-1), "p-next": () => move(1), "p-over-back": () => over(-1), "p-over": () => over(1), "p-play": () => play(!state.playing) };
for (const [id, action] of Object.entries(buttons)) $(id).addEventListener("click", () => { if (id !== "p-play") play(false); action(); });

$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", document.documentElement.dataset.theme); } catch { /* no storage */ }
});

for (const link of document.querySelectorAll(".acts a")) {
  link.addEventListener("click", (e) => {
    e.preventDefault();
    go(link.dataset.act);
  });
}
addEventListener("popstate", () => go(location.hash.slice(1), false));

document.addEventListener("keydown", (e) => {
  const target = e.target;
  if (e.ctrlKey || e.metaKey || e.altKey || target.closest("select, textarea, input[type=number], input[type=text], input[type=radio], #scale")) return;
  if ((e.key === " " || e.key === "Enter") && target.closest("button, a, summary, [role=button], [role=slider]")) return;
  const actions = { ArrowRight: () => (e.shiftKey ? over(1) : move(1)), ArrowLeft: () => (e.shiftKey ? over(-1) : move(-1)), Home: ends.start, End: ends.end, " ": () => play(!state.playing) };
  if (e.key in actions) {
    e.preventDefault();
    if (e.key !== " ") play(false);
    actions[e.key]();
  } else if (/^[1-4]$/.test(e.key)) go(ACTS[e.key - 1]);
  else if (e.key === "Escape") $("pop").hidden = true;
});

// Links in the text drive the figure: "back:dh:4" goes to the moment when dh of step 4 is known.
document.addEventListener("click", (e) => {
  const link = e.target.closest("[data-do]");
  if (!link) return;
  const [what, where, t] = link.dataset.do.split(":");
  play(false);
  if (what === "cut") return update({ cut: +where });
  if (what === "scale") return update({ scale: +where });
  const r = run();
  const places = { step: () => r.when("h", +t), loss: () => r.when("loss", 0), start: () => turn(r), dh: () => r.when("dh", +t), dz: () => r.when("dzx", +t), prev: () => r.when("dh_prev", +t), sum: () => r.when("dW_hh", 0) };
  update({ k: places[where](), mode: "hand" });
});

// -------------------------------------------------------------------- glossary

function glossary() {
  $("terms").innerHTML = Object.entries(terms).map(([term, text]) => `<dt>${term}</dt><dd>${text}</dd>`).join("");
  const pop = $("pop");
  const hide = () => (pop.hidden = true);
  for (const dfn of document.querySelectorAll("dfn[data-term]")) {
    dfn.tabIndex = 0;
    const show = () => {
      pop.innerHTML = `<b>${dfn.dataset.term}</b><p>${terms[dfn.dataset.term]}</p>`;
      pop.hidden = false;
      const box = dfn.getBoundingClientRect();
      pop.style.left = `${Math.max(6, Math.min(box.left, innerWidth - pop.offsetWidth - 8))}px`;
      pop.style.top = `${box.bottom + 6 + pop.offsetHeight < innerHeight ? box.bottom + 6 : box.top - pop.offsetHeight - 6}px`;
    };
    dfn.setAttribute("aria-describedby", "pop");
    for (const kind of ["pointerenter", "focus", "click"]) dfn.addEventListener(kind, show);
    for (const kind of ["pointerleave", "blur"]) dfn.addEventListener(kind, hide);
  }
  addEventListener("scroll", hide, { passive: true });
}

glossary();
$("about").textContent = `Seed ${recording.seed}; source hash ${recording.hash.slice(0, 10)}.`;
let resizing = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => {
    forgetWidths();
    render(state);
  });
});
globalThis.watch = { state, update, go, move, over, run, net, turn, play }; // for the tests
go(location.hash.slice(1) || "forward", false);
