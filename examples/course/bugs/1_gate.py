"""A cell with one gate, whose derivative is written by hand.

    z = σ(a_z)    n = tanh(a_n)    h = (1 - z) n + z h_prev

The task: read a sign, +1 or -1, then 14 random numbers, and tell the sign. The cell has to
learn to keep its state. The loss should fall below 0.1, but it stays near log 2 = 0.69.
"""

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim


def gate(a_z, a_n, h_prev):
    """One step: pre-activations and the state before, each (B, H), to the next state."""
    z, n = 1 / (1 + np.exp(-a_z.data)), np.tanh(a_n.data)
    h = (1 - z) * n + z * h_prev.data

    def backward(dh):
        da_z = dh * (n - h_prev.data) * z * (1 - z)
        da_n = dh * (1 - z) * (1 - n * n)
        dh_prev = dh * z
        return [da_z, da_n, dh_prev]

    return mg.record_joint([h], [a_z, a_n, h_prev], backward)[0]


def main():
    mg.manual_seed(1)
    rng = np.random.default_rng(1)
    read, decode = nn.Linear(1 + 16, 2 * 16), nn.Linear(16, 2)
    optimizer = optim.Adam([*read.parameters(), *decode.parameters()], lr=0.02)
    for step in range(301):
        sign = rng.integers(0, 2, 32)
        x = rng.normal(size=(15, 32, 1)).astype(np.float32)
        x[0, :, 0] = 2 * sign - 1
        h = mg.tensor(np.zeros((32, 16), np.float32))
        for x_t in x:
            a_z, a_n = read(mg.concatenate([mg.tensor(x_t), h], axis=1)).chunk(2, axis=1)
            h = gate(a_z, a_n, h)
        loss = F.cross_entropy(decode(h), sign)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:3}  loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
