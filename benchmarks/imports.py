"""Compare the times of `import minigrad, lm` and `import torch`, each in a new Python process.

    python benchmarks/imports.py

`lm` imports its contents at first use, so the benchmark imports `lm.api`, which imports all of it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

import harness

MODULES = {"minigrad": "minigrad, lm.api", "torch": "torch"}
PROGRAM = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(modules: str) -> float:
    command = [sys.executable, "-c", PROGRAM.format(modules)]
    # Compile our modules only once, as those of installed packages.
    compiled = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return float(subprocess.run(command, capture_output=True, check=True, env=compiled).stdout)


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in MODULES}
    for turn in range(12):
        for name, modules in MODULES.items():
            took = seconds(modules)
            if turn:  # the first turn compiles modules and reads files from disk
                times[name].append(took)
    print(harness.machine())
    for name, taken in times.items():
        print(f"import {MODULES[name]:13} median {1000 * statistics.median(taken):7.1f} ms")
    print(f"minigrad's time / torch's: {harness.ratio(times, 'minigrad', 'torch'):.3f}")


if __name__ == "__main__":
    main()
