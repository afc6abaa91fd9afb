"""A network with a batch normalisation of its own.

In training, each feature is normalised with mean and variance of the batch, afterwards with
running estimates. The task: tell from a, b and c, which have scales of 1, 10 and 100, whether
a + b / 10 > c / 100. After training, about as many answers should be right as in training.
"""

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim


class Normalise:
    """Batch normalisation of x (N, C), without scale and shift."""

    def __init__(self, features, momentum=0.9):
        self.momentum = momentum
        self.running_mean, self.running_var = np.zeros(features), np.ones(features)

    def __call__(self, x, training):
        if training:
            m = self.momentum
            self.running_mean = m * self.running_mean + (1 - m) * x.data.mean(axis=0)
            self.running_var = m * self.running_var + (1 - m) * x.data.std(axis=0)
            mean, var = x.mean(axis=0), x.var(axis=0, correction=0)
        else:
            mean, var = (s.astype(x.dtype) for s in (self.running_mean, self.running_var))
        return (x - mean) / mg.sqrt(mg.clip(var, min=0) + 1e-5)


def main():
    mg.manual_seed(1)
    rng = np.random.default_rng(1)
    normalise, first, second = Normalise(3), nn.Linear(3, 16), nn.Linear(16, 2)
    optimizer = optim.Adam([*first.parameters(), *second.parameters()], lr=0.01)
    for step in range(301):
        x = (rng.normal(size=(64, 3)) * [1, 10, 100] + [0, 30, 300]).astype(np.float32)
        label = (x @ [1, 0.1, -0.01] > 0).astype(int)
        right = []
        for training in (False, True):
            logits = second(first(normalise(mg.tensor(x), training)).tanh())
            right.append(100 * (logits.data.argmax(axis=1) == label).mean())
        optimizer.zero_grad()
        F.cross_entropy(logits, label).backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:3}  right: {right[1]:3.0f}% in training, {right[0]:3.0f}% after")


if __name__ == "__main__":
    main()
