"""The commands: `python -m lm train`, `generate` and so on; the examples call them too."""

import minigrad  # noqa: F401  (first, since it sets what NumPy reads when it is imported)
