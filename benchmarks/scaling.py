"""How time and memory of a training step grow with T, the number of steps per chunk.

    python benchmarks/scaling.py --against torch

The time per token should not depend on T. The memory should grow linearly: each additional step
should take the same number of bytes.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import harness
import train_step

LENGTHS = (35, 70, 140, 350)


def of_length(contestant: harness.Contestant, T: int, args: argparse.Namespace) -> harness.Work:
    return contestant(argparse.Namespace(**{**vars(args), "bptt": T}))


def main() -> None:
    args = harness.parser("Time training steps of several lengths.", turns=7).parse()
    contestants = {"minigrad": train_step.ours}
    if args.against:
        contestants[args.against] = train_step.theirs
    runs = {
        (name, T): partial(of_length, contestant, T)
        for name, contestant in contestants.items()
        for T in LENGTHS
    }
    seconds = harness.take_turns(runs, args, partial(harness.seconds_of, 4))
    once = argparse.Namespace(**{**vars(args), "turns": 1})
    peaks = harness.take_turns(runs, once, partial(harness.peak_bytes, 4), warm_up=0)
    print(harness.machine())
    for name in contestants:
        print(f"{name}:   T   µs/token   to T = {LENGTHS[0]}   peak MiB   KiB per step more")
        short = name, LENGTHS[0]
        for T in LENGTHS:
            per_token = 1e6 * statistics.median(seconds[name, T]) / (T * args.batch_size)
            longer = harness.ratio(seconds, (name, T), short) * LENGTHS[0] / T
            more = (peaks[name, T][0] - peaks[short][0]) / 1024 / max(1, T - LENGTHS[0])
            print(
                f"{'':9}{T:5}   {per_token:8.1f}   {longer:9.2f}   {peaks[name, T][0] / 2**20:8.0f}"
                f"   {more:17,.0f}"
            )


if __name__ == "__main__":
    main()
