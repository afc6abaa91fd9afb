"""Settings of the process that make NumPy faster. No result depends on them."""

from __future__ import annotations

import ctypes
import os
import sys

# After a matrix product, OpenBLAS's threads busy-wait for the next one. By default they wait so
# long (2^26 cycles) that they take the cores from element-wise work. 2^20 cycles still cover the
# time between two steps. OpenBLAS reads this when NumPy is imported; later it has no effect.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")

# From malloc.h. From M_MMAP_THRESHOLD bytes on, an allocation gets its own pages (mmap).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Keep the memory of freed arrays in the process, for the next training step.

    Otherwise, large arrays go back to the operating system each time, which must clear every page
    of the next ones. For programs that train. Affects the whole process; needs glibc.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, 1 << 30)
            mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
