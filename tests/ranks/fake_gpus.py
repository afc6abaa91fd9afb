"""A program on a machine with as many fake GPUs as the environment variable FAKE_GPUS says.

    FAKE_GPUS=2 python tests/ranks/fake_gpus.py --ranks 2 --backend cupy ...

It is train_ptb.py, or with FAKE_PROGRAM=two_gpus benchmarks/two_gpus.py.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

sys.path += [str(Path(__file__).parents[2] / name) for name in ("tests/shared", "benchmarks")]
import fake_cupy

from lm.console import run_command

if __name__ == "__main__":
    fake_cupy.install()
    if name := os.environ.get("FAKE_PROGRAM"):
        raise SystemExit(importlib.import_module(name).main())
    run_command("train")
