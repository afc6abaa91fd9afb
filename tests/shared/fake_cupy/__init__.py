"""A fake device for tests: NumPy with CuPy's interface, but stricter.

`module` replaces the module cupy, `nccl` its cupy.cuda.nccl; `install` does so for a whole process.
`Undefined` is raised where CuPy would silently give a wrong
result. `counted()` counts launches, synchronizations and copies to the device.
"""

import sys

from . import nccl
from .array import Undefined
from .counts import Counts, counted, counts
from .kernel import COMPILER
from .module import FakeCupy

module = FakeCupy()


def install() -> None:
    """Make the fake device the backend "cupy" of this process, for good.

    The environment variables FAKE_GPUS and FAKE_NCCL=0 say how many it has, and that NCCL is
    missing.
    """
    import minigrad.backend

    minigrad.backend._load_cupy = lambda: module  # type: ignore[assignment]
    sys.modules |= {"cupy": module, "cupy.cuda.nccl": nccl}


__all__ = [
    "COMPILER", "Counts", "FakeCupy", "Undefined", "counted", "counts", "install", "module", "nccl"
]  # fmt: skip
