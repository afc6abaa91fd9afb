"""With what a run is computed: the one place that knows."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

import minigrad


def versions(xp: Any = np) -> dict[str, str]:
    """The versions of this program, Python, NumPy, and of CuPy if `xp` is that."""
    found = {
        "minigrad": minigrad.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    return found if xp is np else {**found, "cupy": vars(xp).get("__version__", "unknown")}
