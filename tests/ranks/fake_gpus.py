"""train_ptb.py on a machine with as many fake GPUs as the environment variable FAKE_GPUS says.

FAKE_GPUS=2 python tests/ranks/fake_gpus.py --ranks 2 --backend cupy ...
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "shared"))
import fake_cupy

from lm.console import run_command

if __name__ == "__main__":
    fake_cupy.install()
    run_command("train")
