"""Time `import minigrad, lm` against `import torch`, each in a Python of its own.

What `lm` offers is imported when it is first used, so that `lm.api` is what is timed.

python benchmarks/imports.py
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
    # As installed packages are, our modules are compiled once, not at every import.
    compiled = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return float(subprocess.run(command, capture_output=True, check=True, env=compiled).stdout)


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in MODULES}
    for turn in range(12):
        for name, modules in MODULES.items():
            took = seconds(modules)
            if turn:  # the first compiles the modules and reads the files from the disk
                times[name].append(took)
    print(harness.machine())
    for name, taken in times.items():
        print(f"import {MODULES[name]:13} median {1000 * statistics.median(taken):7.1f} ms")
    print(f"minigrad's time / torch's: {harness.ratio(times, 'minigrad', 'torch'):.3f}")


if __name__ == "__main__":
    main()
