"""What NumPy needs of the process around it to run at full speed. Nothing depends on it."""

from __future__ import annotations

import ctypes
import os
import sys

# After a product, OpenBLAS's threads wait busily for the next one, for so long (2^26 cycles) that
# they take the cores from element-wise work. 2^20 cycles bridge the gap between the products of
# two time steps. Read when NumPy is imported: without effect if it already is.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")

# From malloc.h. The second is the size from which an array gets memory of its own.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let the process keep the memory of freed arrays for the arrays of the next training step.

    Otherwise large ones are returned to the system each time, and every page of the next is
    cleared anew. For programs that train; it holds for the whole process, with glibc only.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, 1 << 30)
            mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
