"""Time an LSTM cell unrolled on the tape, compared with HIPS autograd and MyGrad.

    pip install autograd mygrad
    python benchmarks/tape.py
    python benchmarks/tape.py --nhid 32 --batch-size 8

All three run the same equations: one layer, forward and backward, with all gradients.
"""

from __future__ import annotations

import argparse
from functools import partial

import harness
import numpy as np

import minigrad as mg
from lm.arguments import Parser, at_least_one
from minigrad import nn


def arrays(args: argparse.Namespace) -> list[np.ndarray]:
    """The input (T, B, H) and the weights, in float32."""
    T, B, H = args.bptt, args.batch_size, args.nhid
    rng = np.random.default_rng(0)
    shapes = [(T, B, H), (4 * H, H), (4 * H, H), (4 * H,), (4 * H,)]
    return [0.1 * rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def ours(args: argparse.Namespace) -> harness.Work:
    x, *weights = arrays(args)
    lstm = nn.LSTM(args.nhid, args.nhid, bptt="autograd")
    for parameter, weight in zip(lstm.parameters(), weights, strict=True):
        parameter.data[...] = weight
    x = mg.tensor(x, requires_grad=True)

    def step() -> list[np.ndarray]:
        lstm.zero_grad()
        x.grad = None
        output, _ = lstm(x)
        (output * output).sum().backward()
        return [x.grad, *(p.grad for p in lstm.parameters())]

    return step


def hips(args: argparse.Namespace) -> harness.Work:
    import autograd.numpy as np
    from autograd import grad

    inputs = arrays(args)

    def sigmoid(z):  # as in autograd's examples/lstm.py
        return 0.5 * (np.tanh(0.5 * z) + 1)

    def loss(inputs):
        x, W_ih, W_hh, b_ih, b_hh = inputs
        T, B, H = x.shape
        h, c = np.zeros((B, H), x.dtype), np.zeros((B, H), x.dtype)
        zx = np.dot(x, W_ih.T) + b_ih
        output = []
        for t in range(T):
            i, f, g, o = np.split(zx[t] + np.dot(h, W_hh.T) + b_hh, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            output.append(h)
        output = np.stack(output)
        return np.sum(output * output)

    return partial(grad(loss), inputs)


def mygrad(args: argparse.Namespace) -> harness.Work:
    import mygrad as my
    from mygrad.nnet.activations import sigmoid

    x, *weights = arrays(args)

    def step() -> list[np.ndarray]:
        inputs = [my.tensor(a, copy=False) for a in (x, *weights)]
        zx, W_hh, b_hh = my.matmul(inputs[0], inputs[1].T) + inputs[3], inputs[2], inputs[4]
        T, B, H = x.shape
        h, c = np.zeros((B, H), x.dtype), np.zeros((B, H), x.dtype)
        output = []
        for t in range(T):
            z = zx[t] + my.matmul(h, W_hh.T) + b_hh
            i, f, g, o = (z[:, k * H : (k + 1) * H] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * my.tanh(g)
            h = sigmoid(o) * my.tanh(c)
            output.append(h)
        output = my.stack(output)
        my.sum(output * output).backward()
        return [a.grad for a in inputs]

    return step


CONTESTANTS = {"minigrad": ours, "autograd": hips, "mygrad": mygrad}


def must_agree(args: argparse.Namespace) -> None:
    """Check that all three compute the same; otherwise the comparison means nothing."""
    wanted, *others = (contestant(args)() for contestant in CONTESTANTS.values())
    for other in others:
        for a, b in zip(wanted, other, strict=True):
            assert a.dtype == b.dtype == np.float32
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * abs(a).max())


def main() -> None:
    p = Parser(description="Time an LSTM cell unrolled on the tape.")
    p.add_argument("--nhid", type=at_least_one, default=200, help="hidden units")
    p.add_argument("--batch-size", type=at_least_one, default=20)
    p.add_argument("--bptt", type=at_least_one, default=35)
    p.add_argument("--turns", type=at_least_one, default=15)
    p.add_argument("--threads", type=at_least_one, default=2, help="of each contestant")
    args = p.parse()
    must_agree(args)
    seconds = harness.take_turns(CONTESTANTS, args, partial(harness.seconds_of, 6))
    harness.report(seconds, args.bptt * args.batch_size)


if __name__ == "__main__":
    main()
