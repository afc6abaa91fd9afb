"""A device for tests: NumPy behind CuPy's manners, stricter where CuPy is silent.

`module` stands for the module cupy, `Undefined` is raised for what CuPy would do silently and
wrongly, `counted()` counts launches, synchronisations and copies to the device.
"""

from .array import Undefined
from .counts import Counts, counted, counts
from .kernel import COMPILER
from .module import FakeCupy

module = FakeCupy()

__all__ = ["COMPILER", "Counts", "FakeCupy", "Undefined", "counted", "counts", "module"]
