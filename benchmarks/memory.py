"""The peak memory of a training process, including its imports.

    python benchmarks/memory.py --against torch

The default vocabulary is WikiText-2's, 33,278 words. Linux only.
"""

from __future__ import annotations

import time
from functools import partial

import harness
import train_step

from lm.arguments import Parser, at_least_one


def parser() -> Parser:
    p = harness.writes(harness.parser("Measure the peak memory of training.", turns=1))
    p.set_defaults(words=33_278)
    p.add_argument("--steps", type=at_least_one, default=20,
                   help="of training; the peak is reached within the first few")  # fmt: skip
    return p


def main() -> None:
    args = parser().parse()
    started = time.perf_counter()
    contestants = {"minigrad": train_step.ours}
    if args.against:
        contestants[args.against] = train_step.theirs
    if args.before:
        contestants["before"] = train_step.ours
    peaks = harness.take_turns(
        contestants, args, partial(harness.peak_bytes, args.steps), warm_up=0
    )
    print(harness.machine())
    for name, of_turns in peaks.items():  # a process's peak never falls: the last counts
        print(f"{name:9} {of_turns[-1] / 2**20:7.0f} MiB")
    numbers = {f"{name}_MiB": of_turns[-1] / 2**20 for name, of_turns in peaks.items()}
    for name in set(peaks) - {"minigrad"}:
        numbers[f"share_of_{name}"] = share = harness.ratio(peaks, "minigrad", name)
        print(f"minigrad's peak / {name}'s: {share:.2f}")
    settings = {"words": args.words, "units": args.nhid, "tied": args.tied, "steps": args.steps}
    harness.write(args, settings, started, numbers)


if __name__ == "__main__":
    main()
