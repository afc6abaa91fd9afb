/** Terms, in alphabetical order. */
export const terms = {
  "backpropagation through time": "Computing the gradient of a recurrent net by applying the chain rule to all of its steps, from the last to the first. Short: BPTT.",
  "cell": "The function that computes the next state from a word and the state before. The same cell, with the same weights, is used at each step.",
  "detach": "Keep the value of a tensor and drop its history. For the backward pass it is then a constant: no gradient goes through it.",
  "exploding": "The product of many factors above 1 grows without bound. Gradients that explode make training jump; clipping limits their norm.",
  "forget gate": "In an LSTM, f = σ(z_f), between 0 and 1: how much of the old memory c stays.",
  "gate": "A vector between 0 and 1 that multiplies another, element by element: 0 closes, 1 opens.",
  "gradient": "The derivative of the loss with respect to a quantity; dx is short for dL/dx. It says how the loss changes if x changes a little.",
  "Jacobian": "The matrix of all derivatives of one vector with respect to another. Chained steps multiply their Jacobians.",
  "ledger": "Here: the gradient of W_hh as a table. Entry (t, s) is what the loss at step t contributes through the use of W_hh at step s.",
  "loss": "How wrong the prediction is: −log of the probability given to the word that really follows, in nats. The whole loss is the sum over all steps.",
  "state": "What the net remembers between steps: h, and for an LSTM also the memory c. Here three numbers each.",
  "tape": "The record of all operations, made as they run. Walking it backward computes the gradient without any hand-written derivative.",
  "truncated": "Truncated BPTT goes back through one chunk of the text only. The state is carried into the next chunk as a constant.",
  "vanishing": "The product of many factors below 1 shrinks towards zero. A gradient that vanishes carries no information about early steps.",
};
