import { fmt } from "./format.js";
import { getNet } from "./recording.js";

// Each question: the act; `when`, the event before which it is asked, or null (asked at once); the
// text; its options or `number`; the answer, read from the recording; and what to say afterwards.
const vector = (values) => `(${values.map((v) => fmt(v)).join(", ")})`;
const largest = (values) => values.reduce((best, v, i) => (Math.abs(v) > Math.abs(values[best]) ? i : best), 0);
const gated = (net) => net.cell === "LSTM" || net.cell === "GRU";

export const questions = [
  {
    id: "same-word", act: "forward", when: (run) => run.when("h", 2) + 1,
    ask: () => "Step 3 reads “the”, just like step 0. Will <i>h</i><sub>3</sub> be equal to <i>h</i><sub>0</sub>?",
    options: ["Yes, the same word", "No"], answer: () => 1, goto: (run) => run.when("h", 3),
    explain: (net, run) => `No. The word contributes the same, but the state before differs: <i>h</i><sub>0</sub> = ${vector(run.value("h", 0))}, <i>h</i><sub>3</sub> = ${vector(run.value("h", 3))}. This difference is all the net knows about “keys”.`,
  },
  {
    id: "last", act: "back", when: (run) => run.when("dh", 5) - 1,
    ask: () => "Step 5 is the last. What is <i>dh</i><sub>5</sub> made of?",
    options: ["Its own loss only", "Its own loss and step 6", "Nothing: it is zero"], answer: () => 0, goto: (run) => run.when("dh", 5),
    explain: (net, run) => `There is no step 6 to come back from. <i>dh</i><sub>5</sub> = <i>dh</i><sup>out</sup><sub>5</sub> = ${vector(run.value("dh", 5))}.`,
  },
  {
    id: "meet", act: "back", when: (run) => run.when("dh", 4) - 1, number: true,
    ask: (net, run) => {
      const i = largest(run.value("dh", 4));
      return `Two gradients meet in <i>h</i><sub>4</sub>. In element ${i}, ${fmt(run.value("dout", 4)[i])} comes from its own loss, and ${fmt(run.value("dh_prev", 5)[i])} from step 5. What is <i>dh</i><sub>4</sub>[${i}]?`;
    },
    answer: (net, run) => run.value("dh", 4)[largest(run.value("dh", 4))], goto: (run) => run.when("dh", 4),
    explain: (net, run) => `They add up: <b>${fmt(run.value("dh", 4)[largest(run.value("dh", 4))])}</b>. That is how much the whole loss changes for each unit of this state, now and later.`,
  },
  {
    id: "sign", act: "back", when: (run) => run.when("dzx", 3) - 3, skip: gated,
    ask: (net, run) => {
      const i = largest(run.value("dzx", 3));
      return `<i>dh</i><sub>3</sub>[${i}] = ${fmt(run.value("dh", 3)[i])} and <i>h</i><sub>3</sub>[${i}] = ${fmt(run.value("h", 3)[i])}. Which sign has <i>dz</i><sub>3</sub>[${i}]?`;
    },
    options: ["Negative", "Zero", "Positive"], answer: (net, run) => Math.sign(run.value("dzx", 3)[largest(run.value("dzx", 3))]) + 1, goto: (run) => run.when("dzx", 3),
    explain: (net, run) => `The slope is never negative, so <i>dz</i> keeps the sign of <i>dh</i>: ${fmt(run.value("dzx", 3)[largest(run.value("dzx", 3))])}.`,
  },
  {
    id: "survives", act: "cut", when: null,
    ask: () => "We will cut before step 3. The loss at step 5 depends on <i>W</i><sub>hh</sub> through its use at step 1. Does this term survive?",
    options: ["Yes", "No"], answer: () => 1, cut: 3, pick: [5, 1],
    explain: () => "No: its path goes from step 5 back to step 1 and must cross the cut. Nine terms do: losses 3, 4, 5 through steps 0, 1, 2. The ledger shows them struck out.",
  },
  {
    id: "value", act: "cut", when: null,
    ask: () => "With the cut before step 3: does the value of <i>h</i><sub>3</sub> change?",
    options: ["Yes", "No"], answer: () => 1, cut: 3,
    explain: (net) => `No: <i>h</i><sub>3</sub> = ${vector(net.run(0).value("h", 3))} without the cut, and ${vector(net.run(3).value("h", 3))} with it. detach keeps the value. The net still remembers; it only can’t learn from what happened before the cut.`,
  },
  {
    id: "far", act: "far", when: null, cover: true,
    ask: () => "At scale 0.3, a gradient of length 1 goes back five steps through the tanh net. How long is it at most when it arrives?",
    options: ["0.3", "0.06", "0.0024"], answer: () => 2, scale: 0.3,
    explain: () => `0.3<sup>5</sup> = 0.0024, if no slope is below 1. Measured: <b>${fmt(getNet("RNN_TANH", 0.3).array(getNet("RNN_TANH", 0.3).part.reach.h).data[0], 2)}</b>. After five steps, two thousandths are left.`,
  },
];
