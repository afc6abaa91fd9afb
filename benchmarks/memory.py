"""The peak memory of a training process, including its imports.

    python benchmarks/memory.py --against torch

The default vocabulary is WikiText-2's, 33,278 words. Linux only.
"""

from __future__ import annotations

from functools import partial

import harness
import train_step

STEPS = 20  # the peak is reached within the first few


def main() -> None:
    p = harness.parser("Measure the peak memory of training.", turns=1)
    p.set_defaults(words=33_278)
    args = p.parse()
    contestants = {"minigrad": train_step.ours}
    if args.against:
        contestants[args.against] = train_step.theirs
    peaks = harness.take_turns(contestants, args, partial(harness.peak_bytes, STEPS), warm_up=0)
    print(harness.machine())
    for name, (peak,) in peaks.items():
        print(f"{name:9} {peak / 2**20:7.0f} MiB")
    for name in set(peaks) - {"minigrad"}:
        print(f"minigrad's peak / {name}'s: {harness.ratio(peaks, 'minigrad', name):.2f}")


if __name__ == "__main__":
    main()
