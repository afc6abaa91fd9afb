// The recording, decoded. Its format is described in examples/course/trace_bptt.py.

/** The arrays of a part: {shape, data}. */
function decodeArrays(part, shapes) {
  const parts = part.parts.split(" ").map((p) => p.split(",").map((x) => (x === "" ? NaN : x.includes("e") ? +x : +x / 1e7)));
  return part.arrays.map(([shape, ...numbers]) => {
    const data = [];
    if (!shapes[shape].includes(0)) {
      numbers.forEach((n, i) => {
        if (n >= 0) data.push(...parts[n]);
        else for (let k = numbers[i - 1] + 1; k <= numbers[i - 1] - n; k++) data.push(...parts[k]);
      });
    }
    return { shape: shapes[shape], data };
  });
}

/** One run: its events, and the marks from which the picture is drawn. */
class Run {
  constructor(recording, net, run) {
    Object.assign(this, { cut: run.cut, chunks: run.chunks, norm: run.norm, cosine: run.cosine, bytes: run.bytes });
    const [events, marks] = recording.courses[run.course];
    let value = 0;
    let chunk = -1;
    let backward = false;
    this.events = events.map(([site, depth, t, ...names], index) => {
      const [fn, inner, first, last, text] = recording.sites[site];
      if (depth === 0) backward = text.startsWith("loss.backward");
      if (fn === "read" && text.startsWith("for start")) chunk = Math.min(chunk + 1, run.chunks.length - 1);
      const changes = names.map((n) => [recording.names[n], net.array(run.values[value++])]);
      const step = t < 0 ? -1 : run.chunks[Math.max(chunk, 0)][0] + t;
      return { index, site, fn, inner, first, last, text, depth, t, step, chunk, changes, back: backward };
    });
    this.marks = marks.map(([kind, t, at], i) => ({ kind, t, at, value: net.array(run.marks[i]) }));
    this.length = this.events.length;
  }

  /** What is known after event k: {h: [vector of step 0, …], …}, each with the event that made it. */
  known(k) {
    if (this.last?.k === k) return this.last.found;
    const found = {};
    for (const m of this.marks) if (m.at <= k) (found[m.kind] ??= [])[m.t] = m;
    this.inside(k, found);
    this.last = { k, found };
    return found;
  }

  /** A mark is made when a cell has returned. Show what it has written before that, once it is final. */
  inside(k, found) {
    const frame = this.stack(k).at(-1);
    const names = frame.fn.endsWith(".step") ? ["h", "c"] : frame.fn.endsWith(".step_backward") ? ["dzx"] : [];
    const t = frame.event.step;
    for (const kind of names) {
      const value = frame.values[kind];
      const mark = value && this.marks.find((m) => m.kind === kind && m.t === t);
      if (mark && mark.at > k && mark.value.data.every((v, i) => v === value.data[i])) (found[kind] ??= [])[t] = { ...mark, at: this.wrote(kind, k) };
    }
  }

  /** The last event up to k that changed this variable. */
  wrote(name, k) {
    while (k > 0 && !this.events[k].changes.some(([n]) => n === name)) k--;
    return k;
  }

  /** The frames on the stack after event k: {fn, inner, event, values: {name: array}}. */
  stack(k) {
    this.stacks ??= new Map();
    if (!this.stacks.has(k)) {
      if (this.stacks.size > 8) this.stacks.clear();
      this.stacks.set(k, this.frames(k));
    }
    return this.stacks.get(k);
  }

  frames(k) {
    const frames = [];
    let previous = -1;
    for (let i = 0; i <= k; i++) {
      const e = this.events[i];
      frames.length = Math.min(frames.length, e.depth + 1);
      const top = frames[e.depth];
      const isHead = e.text.startsWith("def ") && e.changes.length > 0;
      if (!top || e.depth > previous || top.fn !== e.fn || top.inner !== e.inner || isHead) {
        frames[e.depth] = { fn: e.fn, inner: e.inner, values: {} };
      }
      const frame = frames[e.depth];
      frame.event = e;
      for (const [name, value] of e.changes) frame.values[name] = value;
      previous = e.depth;
    }
    return frames;
  }

  /** The first event with this mark. */
  when(kind, t) {
    return this.marks.find((m) => m.kind === kind && m.t === t)?.at ?? -1;
  }

  value(kind, t) {
    return this.marks.findLast((m) => m.kind === kind && m.t === t)?.value.data;
  }
}

/** One cell at one scale. */
export class Net {
  constructor(recording, name) {
    this.part = JSON.parse(recording.nets[name]);
    this.recording = recording;
    this.cell = this.part.cell;
    this.arrays = decodeArrays(this.part, recording.shapes);
    this.runs = [];
    this.T = recording.T;
  }

  array(n) {
    return this.arrays[n];
  }

  run(cut) {
    return (this.runs[cut] ??= new Run(this.recording, this, this.part.cases[cut]));
  }

  gradient(cut) {
    return this.array(this.part.cases[cut].dW_hh);
  }

  get hasMemory() {
    return this.cell === "LSTM";
  }
}

const nets = new Map();

export function getNet(cell, scale) {
  const name = `${cell} ${scale.toFixed(1)}`;
  if (!nets.has(name)) nets.set(name, new Net(globalThis.recording, name));
  return nets.get(name);
}
