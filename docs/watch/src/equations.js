// What each statement of the source means: its equation, one sentence, and how one entry of its
// result comes about. A statement is found by its function, the function inside it, and how its
// text begins; a test checks that each pattern matches a recorded statement.
//
// entry: {of: names of the result, from: text with {name} for the operand's entry at the same
// place, or dot: [rows, columns], whose entries are multiplied and added up}. Operands have their
// values from before the statement, so that `dc += ...` reads the old dc.

const cells = ["TanhRNN", "ReLURNN", "LSTM", "GRU"];

export const equations = [
  // ------------------------------------------------------------------ reading the sentence
  ["read", "", "state = net.state", { say: "The state before the first word is zero." }],
  ["read", "", "for start, end", { say: "Take the next chunk of the sentence. Without a cut there is only one." }],
  ["read", "", "state = repackage_hidden", { tex: "h \\leftarrow \\mathrm{detach}(h)", say: "Keep the value of the state and drop its history: here the gradient will stop." }],
  ["read", "", "x, targets =", { say: "Look up the vectors of the words, and the words to predict: each time the next one." }],
  ["read", "", "output, *state =", { say: "Run the recurrent layer over the chunk." }],
  ["read", "", "logits =", { tex: "\\mathrm{logits}_t = W_{out}\\, h_t + b_{out}", say: "The decoder turns each state into twelve scores, one for each word." }],
  ["read", "", "loss =", { tex: "L = \\textstyle\\sum_t L_t, \\quad L_t = -\\log p_t(\\mathrm{target})", say: "The loss is the sum over all steps." }],
  ["read", "", "loss.backward()", { say: "Now back in time: from the loss to all weights." }],
  ["repackage_hidden", "", "", { say: "Detach each array of the state." }],
  ["Tensor.detach", "", "return", { say: "A new tensor with the same data and no history. This is all that detach does." }],

  // ------------------------------------------------------------------ through time, forward
  ["through_time", "", "zx = project_inputs", { tex: "z^x_t = W_{ih}\\, x_t + b", say: "What each word contributes, for all steps at once: no step depends on another here." }],
  ["project_inputs", "", "zx =", { tex: "z^x = x\\, W_{ih}^{\\top}", say: "One product for all steps.", entry: { of: ["zx"], dot: ["x", "W_ih"] } }],
  ["project_inputs", "", "return", { tex: "z^x_t = W_{ih}\\, x_t + b", say: "Add the bias; make each step a column." }],
  ["through_time", "", "gates =", { say: "A view of zx: the cell will write its gates into it." }],
  ["through_time", "", "states =", { tex: "h_{-1} = 0", say: "Room for all states. The first is the one before the first word; the others are empty (·)." }],
  ["through_time", "", "saved =", { say: "Room for what the derivative will need." }],
  ["through_time", "", "for t in range", { say: "Next word." }],
  ["through_time", "", "xp.dot(W_hh", { tex: "z^h_t = W_{hh}\\, h_{t-1}", say: "What the old state contributes. W_hh is the same at every step.", entry: { of: ["zh", "zh_blocks"], row: "W_hh", times: "states[0]" } }],
  ["through_time", "", "zh += b_zh", { tex: "z^h_t = W_{hh}\\, h_{t-1} + b_{hh}", say: "Add the bias of W_hh.", entry: { of: ["zh", "zh_blocks"], from: "{zh} + {b_zh}" } }],
  ["through_time", "", "cell.step(", { tex: "h_t = \\mathrm{step}(z^x_t, z^h_t, h_{t-1})", say: "The cell computes the new state." }],
  ["through_time", "", "return record_joint", { say: "The states are the output. The tape keeps the function backward for later." }],

  // ------------------------------------------------------------------ the cells, forward
  ...["TanhRNN", "ReLURNN", "LSTM"].map((c) => [c + ".step", "", "z += zh", { tex: "z_t = z^x_t + z^h_t", say: "Word and memory meet: add both contributions.", entry: { of: ["z", "zx"], from: "{z} + {zh}" } }]),
  ["TanhRNN.step", "", "array_module(z).tanh", { tex: "h_t = \\tanh(z_t)", say: "Squash to between −1 and 1. This is the new state.", entry: { of: ["h", "state[0]"], from: "tanh({z})" } }],
  ["ReLURNN.step", "", "array_module(z).maximum", { tex: "h_t = \\max(z_t, 0)", say: "Keep what is positive. This is the new state.", entry: { of: ["h", "state[0]"], from: "max({z}, 0)" } }],
  ["LSTM.step", "", "i, f, g, o", { tex: "z = (z_i, z_f, z_g, z_o)", say: "Four blocks of pre-activations: one for each gate." }],
  ["LSTM.step", "", "logistic(z[:2]", { tex: "i = \\sigma(z_i), \\quad f = \\sigma(z_f)", say: "The input gate and the forget gate, between 0 (closed) and 1 (open).", entry: { of: ["i", "f"], from: "σ({*})" } }],
  ["LSTM.step", "", "xp.tanh(g", { tex: "g = \\tanh(z_g)", say: "The candidate: what could be written to the memory.", entry: { of: ["g"], from: "tanh({g})" } }],
  ["LSTM.step", "", "logistic(o", { tex: "o = \\sigma(z_o)", say: "The output gate: how much of the memory to show.", entry: { of: ["o"], from: "σ({o})" } }],
  ["LSTM.step", "", "xp.multiply(f, c_prev", { tex: "c_t = f\\, c_{t-1} + \\cdots", say: "The forget gate decides how much of the old memory c stays.", entry: { of: ["c", "state[1]"], from: "{f} × {c_prev}" } }],
  ["LSTM.step", "", "c += i * g", { tex: "c_t = f\\, c_{t-1} + i\\, g", say: "The input gate decides how much of the candidate is added.", entry: { of: ["c", "state[1]"], from: "{c} + {i} × {g}" } }],
  ["LSTM.step", "", "xp.tanh(c", { tex: "\\tanh(c_t)", say: "Squash the memory.", entry: { of: ["tanh_c", "saved"], from: "tanh({c})" } }],
  ["LSTM.step", "", "xp.multiply(o, tanh_c", { tex: "h_t = o \\tanh(c_t)", say: "What the output gate lets through is the state h, which the decoder and the next step see.", entry: { of: ["h", "state[0]"], from: "{o} × {tanh_c}" } }],
  ["GRU.step", "", "zh_n[...]", { say: "Keep the third block of zh: the reset gate will multiply it." }],
  ["GRU.step", "", "gates[:2] +=", { tex: "z^x + z^h \\;\\text{ for } r \\text{ and } z", say: "Word and memory meet in the first two blocks." }],
  ["GRU.step", "", "r, z, n", { say: "Three blocks: the reset gate r, the update gate z, the candidate n." }],
  ["GRU.step", "", "logistic(gates", { tex: "r = \\sigma(z_r), \\quad z = \\sigma(z_z)", say: "Two gates between 0 and 1.", entry: { of: ["r", "z"], from: "σ({*})" } }],
  ["GRU.step", "", "n += r * zh_n", { tex: "z_n = z^x_n + r\\, z^h_n", say: "The reset gate decides how much of the old state the candidate sees.", entry: { of: ["n"], from: "{n} + {r} × {zh_n}" } }],
  ["GRU.step", "", "xp.tanh(n", { tex: "n = \\tanh(z^x_n + r\\, z^h_n)", say: "The candidate for the new state.", entry: { of: ["n"], from: "tanh({n})" } }],
  ["GRU.step", "", "xp.subtract(h_prev", { tex: "h_t = n + z\\,(h_{t-1} - n)", say: "The difference between the old state and the candidate …", entry: { of: ["h", "state[0]"], from: "{h_prev} − {n}" } }],
  ["GRU.step", "", "h *= z", { tex: "h_t = n + z\\,(h_{t-1} - n)", say: "… and the update gate keeps a part of it …", entry: { of: ["h", "state[0]"], from: "{h} × {z}" } }],
  ["GRU.step", "", "h += n", { tex: "h_t = (1 - z)\\, n + z\\, h_{t-1}", say: "… gives the new state: z of the old one, 1 − z of the candidate.", entry: { of: ["h", "state[0]"], from: "{h} + {n}" } }],

  // ------------------------------------------------------------------ the loss
  ["linear", "", "y = x @ W.T", { tex: "\\mathrm{logits}_t = W_{out}\\, h_t", say: "Twelve scores for each step.", entry: { of: ["y"], dot: ["x", "W"] } }],
  ["linear", "", "y += bias", { tex: "\\mathrm{logits}_t = W_{out}\\, h_t + b_{out}", say: "Add the bias of each word." }],
  ["cross_entropy", "", "log_p = input", { tex: "\\mathrm{logits} - \\max", say: "Subtract the largest score: exp will not overflow." }],
  ["cross_entropy", "", "log_p -=", { tex: "\\log p = \\mathrm{logits} - \\log \\textstyle\\sum \\exp(\\mathrm{logits})", say: "The log probability of each word." }],
  ["cross_entropy", "", "return record", { tex: "L = -\\textstyle\\sum_t \\log p_t(\\mathrm{target})", say: "The loss: how surprised the net is by the words that really come, in nats." }],
  ["cross_entropy", "backward", "d_logits = xp.exp", { tex: "d\\mathrm{logits}_t = p_t - \\cdots", say: "The gradient of the scores begins as the probabilities.", entry: { of: ["d_logits"], from: "exp({log_p})" } }],
  ["cross_entropy", "backward", "d_logits[at]", { tex: "d\\mathrm{logits}_t = p_t - \\mathrm{onehot}(\\mathrm{target})", say: "Subtract 1 at the word that came: its score should rise, all others should fall." }],
  ["cross_entropy", "backward", "d_logits *=", { say: "Times the gradient from above, which is 1." }],
  ["linear", "", "return record", { tex: "dh^{out}_t = W_{out}^{\\top}\\, d\\mathrm{logits}_t", say: "The decoder: its value forward; backward, W_out carries the gradient of the scores to each state." }],
  ["linear", "flat", "", { say: "One row for each step." }],

  // ------------------------------------------------------------------ through time, backward
  ["through_time", "backward", "def backward", { say: "Backward gets the gradient of each step's output." }],
  ["through_time", "backward", "before, after", { say: "The states before and after each step: they were kept for this." }],
  ["through_time", "backward", "local =", { say: "The factors that don't depend on the gradient, for all steps at once." }],
  ["through_time", "backward", "dout =", { tex: "dh^{out}_t = \\partial L_t / \\partial h_t", say: "What each step's own loss asks of its state." }],
  ["through_time", "backward", "dstate =", { tex: "dh = 0", say: "Nothing comes from beyond the last step of this chunk: the gradient starts as zero." }],
  ["through_time", "backward", "dh = dstate", { say: "dh is the gradient of h; it will travel back through the steps." }],
  ["through_time", "backward", "W_hh_T =", { tex: "W_{hh}^{\\top}", say: "The transposed matrix carries gradients back." }],
  ["through_time", "backward", "for t in reversed", { say: "One step further back." }],
  ["through_time", "backward", "dh += dout[t]", { tex: "dh_t = dh^{out}_t + dh^{\\,\\text{from } t+1}", say: "Two gradients meet: from this step's own loss, and from all later losses.", entry: { of: ["dh", "dstate[0]"], plusRow: "dout" } }],
  ["through_time", "backward", "cell.step_backward(", { tex: "dh_t \\to dz_t", say: "The cell takes the gradient from its state to its pre-activations." }],
  ["through_time", "backward", "dh += xp.dot", { tex: "dh_{t-1} \\leftarrow W_{hh}^{\\top}\\, dz_t", say: "W_hh transposed carries it to the state before. This is the step back in time.", entry: { of: ["dh", "dstate[0]", "through_weights"], row: "W_hh_T", times: "dzh" } }],
  ["through_time", "backward", "return gradients", { say: "Every step is done. Now the sums for the weights." }],
  ["gradients", "", "dzx, h_prev =", { say: "The columns of all steps, side by side." }],
  ["gradients", "", "db_ih =", { tex: "db = \\textstyle\\sum_t dz_t", say: "The gradient of the bias: the sum over all steps." }],
  ["gradients", "", "return [", { tex: "dW_{hh} = \\textstyle\\sum_t dz_t\\, h_{t-1}^{\\top}", say: "Each step used W_hh once, so each adds one term. One matrix product computes the sum." }],

  // ------------------------------------------------------------------ the cells, backward
  ["TanhRNN.local_derivatives", "", "return", { tex: "\\partial h_t / \\partial z_t = 1 - h_t^2", say: "The slope of tanh at each step. Where h is near ±1 it is near 0.", entry: { of: ["return[0]"], from: "1 − {h}²" } }],
  ["ReLURNN.local_derivatives", "", "return", { tex: "\\partial h_t / \\partial z_t = 1 \\text{ if } h_t > 0, \\text{ else } 0", say: "The slope of ReLU: all or nothing.", entry: { of: ["return[0]"], from: "1 if {h} > 0, else 0" } }],
  ["TanhRNN.step_backward", "", "array_module(dh).multiply", { tex: "dz_t = dh_t\\,(1 - h_t^2)", say: "Times the slope of tanh.", entry: { of: ["dzx", "dzh"], from: "{dh} × {dh_dz}" } }],
  ["TanhRNN.step_backward", "", "dh.fill", { tex: "h_t \\text{ depends on } h_{t-1} \\text{ only through } W_{hh}", say: "Used up. The state before has its effect only through W_hh, which comes next." }],
  ["LSTM.local_derivatives", "", "dc_dz[:, 0]", { tex: "\\partial c / \\partial z_i = g\\, i\\,(1 - i)", say: "How the memory depends on the input gate." }],
  ["LSTM.local_derivatives", "", "dc_dz[:, 1]", { tex: "\\partial c / \\partial z_f = c_{t-1}\\, f\\,(1 - f)", say: "How the memory depends on the forget gate." }],
  ["LSTM.local_derivatives", "", "dc_dz[:, 2]", { tex: "\\partial c / \\partial z_g = i\\,(1 - g^2)", say: "How the memory depends on the candidate." }],
  ["LSTM.local_derivatives", "", "dh_dz_o", { tex: "\\partial h / \\partial z_o = \\tanh(c)\\, o\\,(1 - o)", say: "How the state depends on the output gate.", entry: { of: ["dh_dz_o"], from: "{tanh_c} × {o} × (1 − {o})" } }],
  ["LSTM.local_derivatives", "", "dh_dc", { tex: "\\partial h / \\partial c = o\\,(1 - \\tanh^2(c))", say: "How the state depends on the memory.", entry: { of: ["dh_dc"], from: "{o} × (1 − {tanh_c}²)" } }],
  ["LSTM.step_backward", "", "dc += dh", { tex: "dc_t = dc^{\\,\\text{from } t+1} + dh_t\\; o\\,(1 - \\tanh^2 c_t)", say: "The memory affects the loss in two ways: through the next memory, and through h.", entry: { of: ["dc", "dstate[1]"], from: "{dc} + {dh} × {dh_dc}" } }],
  ["LSTM.step_backward", "", "xp.multiply(dc", { tex: "dz_i,\\, dz_f,\\, dz_g = dc_t\\; \\partial c / \\partial z", say: "From the memory to three of the gates.", entry: { of: ["dzx", "dzh"], from: "{dc} × {dc_dz}", first: 9 } }],
  ["LSTM.step_backward", "", "xp.multiply(dh, dh_dz_o", { tex: "dz_o = dh_t\\; \\partial h / \\partial z_o", say: "From the state to the output gate.", entry: { of: ["dzx", "dzh"], from: "{dh} × {dh_dz_o}", last: 3 } }],
  ["LSTM.step_backward", "", "dc *= f", { tex: "dc_{t-1} \\leftarrow dc_t\\, f", say: "The second path back in time: through the forget gate, without W_hh. If f is near 1, nothing is lost.", entry: { of: ["dc", "dstate[1]"], from: "{dc} × {f}" } }],
  ["LSTM.step_backward", "", "dh.fill", { say: "Used up. The state before has its effect only through W_hh, which comes next." }],
  ["GRU.local_derivatives", "", "dh_dz[:, 2]", { tex: "\\partial h / \\partial z_n = (1 - z)(1 - n^2)", say: "How the state depends on the candidate." }],
  ["GRU.local_derivatives", "", "dh_dz[:, 1]", { tex: "\\partial h / \\partial z_z = (h_{t-1} - n)\\, z\\,(1 - z)", say: "How the state depends on the update gate." }],
  ["GRU.local_derivatives", "", "dh_dz[:, 0]", { tex: "\\partial h / \\partial z_r = (\\partial h / \\partial z_n)\\; z^h_n\\, r\\,(1 - r)", say: "How the state depends on the reset gate." }],
  ["GRU.step_backward", "", "xp.multiply(dh, dh_dz", { tex: "dz = dh_t\\; \\partial h / \\partial z", say: "From the state to the three gates.", entry: { of: ["dzx"], from: "{dh} × {dh_dz}" } }],
  ["GRU.step_backward", "", "dzh[:2]", { tex: "dz^h_r = dz_r, \\quad dz^h_z = dz_z", say: "zx and zh were added, so both have the same gradient …" }],
  ["GRU.step_backward", "", "xp.multiply(dzx[2]", { tex: "dz^h_n = r\\, dz_n", say: "… but in the third block, zh was multiplied by r.", entry: { of: ["dzh"], from: "{dzx} × {r}", last: 3 } }],
  ["GRU.step_backward", "", "dh *= z", { tex: "dh_{t-1} \\leftarrow dh_t\\, z", say: "A direct path back in time: through the update gate, without W_hh.", entry: { of: ["dh", "dstate[0]"], from: "{dh} × {z}" } }],
  ...cells.flatMap((c) => [
    [c + ".step", "", "def step", { say: "One step of the cell. It writes its results in place." }],
    [c + ".local_derivatives", "", "def local", { say: "The factors of the chain rule that are known before the gradient arrives." }],
    [c + ".step_backward", "", "def step_backward", { say: "One step of the cell, backward." }],
  ]).filter(([f]) => !["ReLURNN.step_backward"].includes(f)),
];

/** The entry for a statement, as its place in `equations`, or -1. */
export function find(functionName, inner, text) {
  return equations.findIndex(([f, i, start]) => f === functionName && i === inner && text.startsWith(start));
}

/** The four cells on paper, for the text. */
export const cellEquations = {
  RNN_TANH: ["h_t = \\tanh(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})"],
  RNN_RELU: ["h_t = \\max(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh},\\; 0)"],
  LSTM: ["c_t = f\\, c_{t-1} + i\\, g", "h_t = o \\tanh(c_t)"],
  GRU: ["h_t = (1 - z)\\, n + z\\, h_{t-1}"],
};
