"""A recurrent layer of its own, for any cell.

The task: read a sign, +1 or -1, then seven random numbers, and tell the sign. The loss should
fall below 0.1, but it stays near log 2 = 0.69, as if the layer could not learn to remember.
"""

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.cells import CELLS


def one_layer(cell, x, state, W_ih, W_hh, b_ih, b_hh):
    """A layer over x (T, B, I); returns its output (T, B, H) and the last state, as `unrolled`."""
    output = []
    for zx in mg.unbind(F.linear(x, W_ih, b_ih)):
        h = mg.tensor(np.clip(state[0].data, -5, 5))  # keep the state in a safe range
        zh = F.linear(h, W_hh, b_hh)
        state = cell.equations(zx, zh, h, *state[1:])
        output.append(state[0])
    return mg.stack(output), *state


def main():
    mg.manual_seed(1)
    rng = np.random.default_rng(1)
    layer, decode = nn.RNN(1, 16), nn.Linear(16, 2)
    optimizer = optim.Adam([*layer.parameters(), *decode.parameters()], lr=0.01)
    zeros = mg.tensor(np.zeros((32, 16), np.float32))
    for step in range(201):
        sign = rng.integers(0, 2, 32)
        x = rng.normal(size=(8, 32, 1)).astype(np.float32)
        x[0, :, 0] = 2 * sign - 1
        _, h = one_layer(CELLS["RNN_TANH"], mg.tensor(x), [zeros], *layer.weights(0))
        loss = F.cross_entropy(decode(h), sign)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step:3}  loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
