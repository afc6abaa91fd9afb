"""Time one training step: forward, loss, backward, clipping, update.

    python benchmarks/train_step.py --against torch

With --against torch the two take turns in one process, and the ratio is taken pair by pair, so
that a machine whose speed drifts does not favour one of them.
"""

from __future__ import annotations

import os

# After a product OpenBLAS's second thread waits busily, for so long that it would take a core
# from PyTorch's turn. Read when NumPy is imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

import minigrad as mg
from lm import RNNModel, train_step
from lm.arguments import Parser, at_least_one
from lm.model import RNN_TYPES
from minigrad.optim import SGD

LR, CLIP, DROPOUT = 1.0, 0.25, 0.2


def ours(args: Any) -> Callable[[np.ndarray], None]:
    mg.manual_seed(0)
    model = RNNModel(args.model, args.words, args.nhid, args.nhid, args.nlayers, DROPOUT, args.tied)
    optimizer = SGD(model.parameters(), LR)
    hidden = model.init_hidden(args.batch_size)

    def step(ids: np.ndarray) -> None:
        nonlocal hidden
        data, target = ids[:-1], ids[1:].reshape(-1)
        _, _, hidden = train_step(model, optimizer, data, target, hidden, CLIP)

    return step


def theirs(args: Any) -> Callable[[np.ndarray], None]:
    import torch
    import torch_model

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    model = torch_model.RNNModel(
        args.model, args.words, args.nhid, args.nhid, args.nlayers, DROPOUT, args.tied
    )
    hidden = model.init_hidden(args.batch_size)

    def step(ids: np.ndarray) -> None:
        nonlocal hidden
        data, target = torch.from_numpy(ids[:-1]), torch.from_numpy(ids[1:].reshape(-1))
        _, hidden = torch_model.train_step(model, LR, data, target, hidden, CLIP)

    return step


def main() -> None:
    p = Parser(description="Time one training step.")
    p.add_argument("--against", choices=["torch"], help="take turns with PyTorch's CPU build")
    p.add_argument("--model", choices=RNN_TYPES, default="LSTM")
    p.add_argument("--words", type=at_least_one, default=10_000, help="vocabulary")
    p.add_argument("--nhid", type=at_least_one, default=200, help="embedding and hidden units")
    p.add_argument("--nlayers", type=at_least_one, default=2)
    p.add_argument("--tied", action="store_true")
    p.add_argument("--batch-size", type=at_least_one, default=20)
    p.add_argument("--bptt", type=at_least_one, default=35)
    p.add_argument("--repeats", type=at_least_one, default=30)
    p.add_argument("--threads", type=at_least_one, default=2, help="of both libraries")
    args = p.parse()

    rng = np.random.default_rng(0)
    text = rng.integers(0, args.words, (3 + args.repeats, args.bptt + 1, args.batch_size))
    steps = {"minigrad": ours(args)}
    if args.against:
        steps[args.against] = theirs(args)
    with threadpool_limits(args.threads):
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for ids in text:
            for name, step in steps.items():
                start = time.perf_counter()
                step(ids)
                seconds[name].append(time.perf_counter() - start)
        blas = [f"{i['internal_api']} {i['version']}" for i in threadpool_info()]

    print(f"numpy {np.__version__} | {args.threads} threads | {', '.join(sorted(set(blas)))}")
    tokens = args.bptt * args.batch_size
    for name, all_times in seconds.items():
        times = all_times[3:]  # the first steps warm up
        median = statistics.median(times)
        print(
            f"{name:9} median {1000 * median:6.1f} ms a step "
            f"(from {1000 * min(times):.1f} to {1000 * max(times):.1f}), "
            f"{tokens / median:,.0f} tokens/s"
        )
    if args.against:
        pairs = zip(seconds["minigrad"][3:], seconds[args.against][3:], strict=True)
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"{args.against}'s time / minigrad's, pair by pair: median {ratio:.2f}")


if __name__ == "__main__":
    main()
