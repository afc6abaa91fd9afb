import { questions } from "./questions.js";

/** Predict, then reveal: shows the question that is due, and after the answer its explanation. */
export class Questions {
  constructor({ box, cover, update, context }) {
    Object.assign(this, { box, cover, update, context, done: new Map() });
    box.addEventListener("click", (e) => this.click(e));
    box.addEventListener("submit", (e) => {
      e.preventDefault();
      this.answer(box.querySelector("input").value);
    });
  }

  /** The question to ask at event k, if any. */
  due(c, k = c.k) {
    return questions.find((q) => q.act === c.act && !this.done.has(q.id) && !q.skip?.(c.net) && c.mode === "hand" && (q.when === null || q.when(c.net.run(0)) === k));
  }

  render(c, before) {
    const moved = before.k !== c.k || before.act !== c.act;
    if (this.told && (c.act !== this.told.q.act || (moved && c.k !== this.told.k))) this.told = null;
    const q = this.told?.q ?? this.due(c);
    this.box.hidden = !q;
    this.cover.hidden = !(c.act === "far" && questions.some((x) => x.cover && !this.done.has(x.id)));
    document.body.classList.toggle("covered", !this.cover.hidden);
    if (!this.cover.hidden) this.cover.innerHTML = "<p>First predict: answer the question, or choose “Just show me”.</p>";
    if (!q) {
      this.shown = null;
      return;
    }
    const key = `${q.id}|${!!this.told}|${c.cell}|${c.scale}`;
    if (this.shown === key) return;
    this.shown = key;
    this.current = q;
    if (this.told) {
      const { right, text } = this.told;
      this.box.innerHTML = `${right === null ? "" : `<p class="verdict">${right ? "✓ Right." : "✗ Not quite."}</p>`}<p>${text}</p><button type="button" data-next>Go on</button>`;
    } else {
      const answer = q.number
        ? '<form><label>Your number <input type="text" inputmode="decimal" autocomplete="off" size="8"></label> <button type="submit">Check</button></form>'
        : `<div class="options">${q.options.map((o, i) => `<button type="button" data-option="${i}">${o}</button>`).join("")}</div>`;
      this.box.innerHTML = `<p class="ask"><b>Predict.</b> ${q.ask(c.net, c.net.run(0))}</p>${answer}<button type="button" class="quiet" data-reveal>Just show me</button>`;
    }
  }

  click(e) {
    const button = e.target.closest("button");
    if (!button || button.type === "submit") return;
    if (button.dataset.option !== undefined) this.answer(button.dataset.option);
    else if ("reveal" in button.dataset) this.tell(null);
    else if ("next" in button.dataset) {
      this.told = null;
      this.shown = null;
      this.update({});
    }
  }

  answer(given) {
    const { net } = this.context();
    const q = this.current;
    const truth = q.answer(net, net.run(0));
    const value = Number(String(given).replace("−", "-").replace(",", "."));
    const right = q.number ? Math.abs(value - truth) <= 0.01 * Math.abs(truth) + 0.0051 : value === truth;
    this.tell(right);
  }

  tell(right) {
    const c = this.context();
    const q = this.current;
    this.done.set(q.id, right);
    const change = {};
    if (q.goto) change.k = q.goto(c.net.run(0));
    if (q.cut !== undefined) Object.assign(change, { cut: q.cut });
    if (q.pick) change.picked = q.pick;
    if (q.scale) change.scale = q.scale;
    this.told = null;
    this.update(change);
    const now = this.context();
    this.told = { q, right, k: now.k, text: q.explain(now.net, now.net.run(0)) };
    this.shown = null;
    this.update({});
    this.box.querySelector("button")?.focus({ preventScroll: true });
  }
}
