"""A classifier with a log-softmax of its own.

    y = x - log Σ exp(x)    along each row

The task: tell from two numbers which of three clouds of points they are from. One cloud has ten
times as many points as each of the others. The loss is convex, so gradient descent should bring it
to its minimum, below 0.17. It falls, and then it rises again.
"""

import numpy as np

import minigrad as mg
from minigrad import nn, optim

CENTRES = np.array([[0, 0], [3, 0], [0, 3]])


def log_softmax(x):
    """The logarithm of the softmax of each row of x (N, C)."""
    shifted = x.data - x.data.max(axis=1, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    def dx(dy):
        return dy - np.exp(y) * dy

    return mg.record(y, (x, dx))


def main():
    mg.manual_seed(1)
    rng = np.random.default_rng(1)
    label = np.repeat([0, 1, 2], [300, 30, 30])
    points = (CENTRES[label] + rng.normal(size=(len(label), 2))).astype(np.float32)
    layer = nn.Linear(2, 3)
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    for step in range(201):
        y = log_softmax(layer(mg.tensor(points)))
        loss = -y[np.arange(len(label)), label].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            right = y.data.argmax(axis=1) == label
            told = "  ".join(f"{100 * right[label == c].mean():3.0f}%" for c in range(3))
            print(f"step {step:3}  loss {loss.item():.3f}  right in each cloud: {told}")


if __name__ == "__main__":
    main()
