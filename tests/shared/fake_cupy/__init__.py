"""A fake device for tests: NumPy with CuPy's interface, but stricter.

`module` replaces the module cupy. `Undefined` is raised where CuPy would silently give a wrong
result. `counted()` counts launches, synchronizations and copies to the device.
"""

from .array import Undefined
from .counts import Counts, counted, counts
from .kernel import COMPILER
from .module import FakeCupy

module = FakeCupy()

__all__ = ["COMPILER", "Counts", "FakeCupy", "Undefined", "counted", "counts", "module"]
