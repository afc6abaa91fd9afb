"""Code shared by the benchmarks: contestants that take turns, and a lower bound for their time.

The speed of a shared machine can change by half. So contestants take turns, A B A B, and the result
is the median of the ratios within each turn. Each runs in its own process, as it would for a user:
settings, memory and threads of one do not affect the other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import minigrad as mg  # before NumPy: sets how long OpenBLAS's threads busy-wait

# isort: split
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from lm.arguments import Parser, at_least_one
from lm.results import this_command, write_result
from minigrad.cells import CELLS

Work = Callable[[], Any]  # one call is timed
Contestant = Callable[[argparse.Namespace], Work]  # creates the work, in its own process


def parser(description: str, batch_size: int = 20, turns: int = 15) -> Parser:
    """A parser for the options of a workload: the sizes of a language model and a batch."""
    p = Parser(description=description)
    p.add_argument("--against", choices=["torch"], help="take turns with PyTorch's CPU build")
    p.add_argument("--before", metavar="FOLDER", help="take turns with minigrad in this checkout")
    p.add_argument("--model", choices=CELLS, default="LSTM")
    p.add_argument("--words", type=at_least_one, default=10_000, help="vocabulary")
    p.add_argument("--nhid", type=at_least_one, default=200, help="embedding and hidden units")
    p.add_argument("--nlayers", type=at_least_one, default=2)
    p.add_argument("--tied", action="store_true")
    p.add_argument("--dropout", type=float, default=0.2)
    p.add_argument("--batch-size", type=at_least_one, default=batch_size)
    p.add_argument("--bptt", type=at_least_one, default=35)
    p.add_argument("--turns", type=at_least_one, default=turns)
    p.add_argument("--threads", type=at_least_one, default=2, help="of each contestant")
    return p


def writes(p: Parser) -> Parser:
    """The parser with the option --out, for `write`."""
    p.add_argument("--out", type=Path, metavar="FILE.json", help="write the numbers to this file")
    return p


def write(
    args: argparse.Namespace, settings: Mapping[str, Any], started: float, numbers: dict[str, Any]
) -> None:
    """Write a result if the user named a file for it; it began at perf_counter() = started."""
    if args.out is not None:
        seconds = time.perf_counter() - started
        write_result(args.out, this_command(), settings, [0], seconds, numbers)


def compare(
    args: argparse.Namespace,
    ours: Contestant,
    theirs: Contestant,
    floor: Contestant | None = None,
    tokens: int | None = None,
    calls: int = 6,
) -> None:
    """Time the contestants in turns and print a report.

    `tokens` is the number of tokens per call, by default that of a chunk.
    """
    contestants = {"minigrad": ours}
    if floor is not None:
        contestants["products"] = floor
    if args.against:
        contestants[args.against] = theirs
    if args.before:
        contestants["before"] = ours
    seconds = take_turns(contestants, args, partial(seconds_of, calls))
    report(seconds, tokens or args.bptt * args.batch_size)


def seconds_of(calls: int, work: Work) -> float:
    """The median time of a few calls.

    The first two calls are left out: the other contestants have removed their data from the cache.
    """
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:] or times)


def peak_bytes(calls: int, work: Work) -> float:
    """The peak memory of the process, after a few more calls."""
    for _ in range(calls):
        work()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux


def take_turns(
    contestants: dict[str, Contestant],
    args: argparse.Namespace,
    measure: Callable[[Work], float],
    warm_up: int = 1,
) -> dict[str, list[float]]:
    """The result of `measure` for each contestant's work, turn by turn, after `warm_up` turns.

    The contestant "before" imports minigrad and lm from the checkout in `args.before`.
    """
    spawn = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name, contestant in contestants.items():
        pipes[name], theirs = spawn.Pipe()
        path = sys.path.copy()
        if name == "before":  # a spawned process copies this list
            sys.path.insert(0, args.before)
        spawn.Process(target=_play, args=(contestant, args, measure, theirs), daemon=True).start()
        sys.path[:] = path
        theirs.close()  # if a contestant dies, recv() raises EOFError instead of waiting
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warm_up + args.turns):
        for name, pipe in pipes.items():
            pipe.send("your turn")
            measured = pipe.recv()
            if turn >= warm_up:
                results[name].append(measured)
    for pipe in pipes.values():
        pipe.send(None)
    return results


def _play(
    contestant: Contestant,
    args: argparse.Namespace,
    measure: Callable[[Work], float],
    pipe: Connection,
) -> None:
    mg.set_num_threads(args.threads)
    with threadpool_limits(args.threads):
        work = contestant(args)
        while pipe.recv():
            pipe.send(measure(work))


def ratio(seconds: dict[str, list[float]], a: str, b: str) -> float:
    """The median over the turns of a's time / b's time."""
    return statistics.median(x / y for x, y in zip(seconds[a], seconds[b], strict=True))


def report(seconds: dict[str, list[float]], tokens: int) -> None:
    """Print each contestant's median time, and the ratios to minigrad's."""
    print(machine())
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{name:9} median {1000 * median:8.2f} ms (from {1000 * min(times):.2f} to "
            f"{1000 * max(times):.2f}), {tokens / median:,.0f} tokens/s"
        )
    for name in set(seconds) - {"minigrad", "products"}:
        print(f"{name}'s time / minigrad's: {ratio(seconds, name, 'minigrad'):.2f}")
    if "products" in seconds:
        print(f"share of the floor: {ratio(seconds, 'products', 'minigrad'):.2f}")


def machine() -> str:
    """The machine and the versions, in one line."""
    blas = {f"{i['internal_api']} {i['version']}" for i in threadpool_info() if i["version"]}
    return (
        f"{platform.machine()}, {os.cpu_count()} cores | Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {', '.join(sorted(blas))}"
    )


def products(args: argparse.Namespace, backward: bool) -> Work:
    """The lower bound: only the matrix products of a step, in the same form as in minigrad."""
    T, B, H, V = args.bptt, args.batch_size, args.nhid, args.words
    G, N = CELLS[args.model].num_gates * H, T * B
    x, h, W_ih, W_hh, dz = _some((N, H), (H, B), (G, H), (G, H), (N, G))
    zh, dzh, dh, decoder, logits = _some((G, B), (G, B), (H, B), (V, H), (N, V))
    W_hh_T = W_hh.T.copy()

    def work() -> None:
        for _ in range(args.nlayers):
            np.matmul(x, W_ih.T, out=dz)
            for _ in range(T):
                np.matmul(W_hh, h, out=zh)
        np.matmul(x, decoder.T, out=logits)
        if not backward:
            return
        logits @ decoder
        logits.T @ x
        for _ in range(args.nlayers):
            for _ in range(T):
                np.matmul(W_hh_T, dzh, out=dh)
            dz @ W_ih
            dz.T @ x
            dz.T @ x

    return work


def _some(*shapes: tuple[int, ...]) -> Sequence[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def chunks(args: argparse.Namespace) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """A function that draws a random chunk: the ids of the input words and of the targets."""
    rng = np.random.default_rng(0)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        text = rng.integers(0, args.words, (args.bptt + 1, args.batch_size))
        return text[:-1], text[1:].reshape(-1)

    return draw
